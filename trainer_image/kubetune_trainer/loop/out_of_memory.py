"""What a GPU's memory did not hold is tried again in smaller pieces, from the last checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..contract.errors import OutOfMemory, PassTooLarge, first_line
from ..contract.layout import RunDirectory
from ..store import passes


@contextmanager
def smaller_after_out_of_memory(run: RunDirectory, tokens: int, *, longest: int) -> Iterator[None]:
    """Halve the passes of the next attempt when this one runs out of memory.

    ``tokens`` are those of a pass, ``longest`` those of the longest row.

    Raises:
        PassTooLarge: a smaller pass is left to try.
        OutOfMemory: not even the longest row by itself fits.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        half = passes.halve(run, tokens, longest=longest)
        if half is None:
            raise OutOfMemory(
                f"The longest row, of {longest:,} tokens, does not fit into memory: {first_line(error)}"
            ) from error
        raise PassTooLarge(
            f"Forward passes of {tokens:,} tokens did not fit into memory ({first_line(error)}). The next "
            f"attempt continues from the last checkpoint with {half:,}; what is learned stays the same."
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator, of the host or of the GPU, had nothing left."""
    text = str(error)
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text
