"""Makes photos of faces in profile, which the training sets lack, out of faces that look a little aside."""
