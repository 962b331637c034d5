"""Training of the network and of the proposals, and its recipes."""
