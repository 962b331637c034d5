"""Encryption at rest: the master key, the keys it wraps, and the cipher of the queue."""
