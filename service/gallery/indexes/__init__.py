"""Nearest-neighbour search over the templates of a collection: in memory, exact."""
