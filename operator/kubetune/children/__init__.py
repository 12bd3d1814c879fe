"""Builders of a job's children, one kind of child per file. Pure: the same input gives an equal manifest."""
