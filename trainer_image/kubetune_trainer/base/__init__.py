"""The base model: fetched, understood from its configuration, loaded, adapted."""
