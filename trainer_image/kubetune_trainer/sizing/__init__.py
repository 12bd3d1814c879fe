"""What a run needs, before it holds a GPU: memory, room on the volume, looks at the validation rows."""
