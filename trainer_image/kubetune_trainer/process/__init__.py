"""The processes of a training pod: the launcher, its ranks, and how they end."""
