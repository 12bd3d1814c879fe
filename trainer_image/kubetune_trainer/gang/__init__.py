"""The ranks of one attempt: collectives for more than tensors, and the agreement to stop."""
