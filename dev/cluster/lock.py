"""Lets one command at a time change the cluster."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from dev import paths, progress


@contextmanager
def cluster_lock() -> Iterator[None]:
    """Wait until no other command changes the cluster, and keep others out during the block."""
    path = paths.cache() / "cluster.lock"  # beside the state, which `down` deletes
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.note("Another command is changing the cluster: waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
