"""The HTTP service, its queue and its workers."""
