"""The process: settings from the environment, composition, ports, logs, how it ends."""
