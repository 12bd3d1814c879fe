"""From a FineTuneJob's spec to what will run: configuration, container resources, sources. Pure."""
