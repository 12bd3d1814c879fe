"""Lets one command at a time change one thing."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from dev import paths, progress


@contextmanager
def locked(what: str, *, shared: bool = False) -> Iterator[None]:
    """Wait until no other command changes `what`, and keep others out during the block.

    `shared` lets others in that say the same.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    folder = paths.cache() / "locks"  # not in the state, which `down` deletes
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / what).open("w") as lock:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.note(f"Another command is at work on the {what}: waiting for it.")
            fcntl.flock(lock, kind)
        yield
