"""One reader a data set: files on disk to samples."""
