"""One attempt at training: steps, looks, checkpoints, what is told meanwhile."""
