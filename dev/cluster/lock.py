"""Lets one command at a time change one thing."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from dev import paths, progress


@contextmanager
def locked(what: str) -> Iterator[None]:
    """Wait until no other command changes `what`, and keep others out during the block."""
    folder = paths.cache() / "locks"  # not in the state, which `down` deletes
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / what).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.note(f"Another command is at work on the {what}: waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
