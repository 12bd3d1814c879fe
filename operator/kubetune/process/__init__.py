"""The operator as a process: composition, settings, health, metrics, logs."""
