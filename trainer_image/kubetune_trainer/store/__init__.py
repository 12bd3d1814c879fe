"""What lies on the output volume: manifests, checkpoints, resuming, the lock, and a volume's errors."""
