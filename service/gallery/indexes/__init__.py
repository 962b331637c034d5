"""Nearest-neighbour search over the templates of a collection."""
