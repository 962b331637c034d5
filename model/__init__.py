"""The network, its training and its two-stage inference; torch, numpy and OpenCV only."""
