"""Benchmarks: each is run by hand and prints what it measured, with the command's own settings."""
