"""Adapters and models that were trained elsewhere: checked, and brought into the form that servers read."""
