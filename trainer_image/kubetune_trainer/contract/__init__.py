"""What the trainer and the operator agree on: configuration, messages, exit codes, the volume's layout."""
