"""Training methods: what a batch is, what is optimised, what is told of it."""
