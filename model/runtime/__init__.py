"""From photos to faces: proposals, the network's passes, refinement and quality."""
