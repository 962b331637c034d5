"""The worker: takes requests from the queue, decodes, batches and runs the network."""
