"""The subcommand prepare: everything that can fail before a GPU is held."""
