"""Which children a job needs next, from what is desired and observed. Pure."""
