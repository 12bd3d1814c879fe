"""How many sequences the server holds at once; what is more is told to come again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from .asgi import RefusedError

RETRY_AFTER: Final = 2
"""Seconds; clients of OpenAI's add their own, growing pauses."""


class Admission:
    """Counts sequences; used by one event loop, so that nothing happens between a look and a step."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Hold one sequence, and those that it grows by, while the context lasts.

        Raises RefusedError (429) when there is no room now.
        """
        place = Place(self)
        place.grow(1)
        try:
            yield place
        finally:
            self.held -= place.sequences


class Place:
    """What one request holds."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.sequences = 0

    def grow(self, sequences: int) -> None:
        """Hold so many in all, or as many as before.

        Raises RefusedError: 429 when there is no room now, 400 when there never is.
        """
        limit, held = self._admission.limit, self._admission.held
        if sequences > limit:
            raise RefusedError(
                400,
                f"The request asks for {sequences} answers at once (n times prompts); this server holds at "
                f"most {limit}. Send several smaller requests.",
                param="n",
                code="too_many_sequences",
            )
        more = max(0, sequences - self.sequences)
        if held + more > limit:
            raise RefusedError(
                429,
                f"This server has {held} of at most {limit} answers in hand; ask again after "
                f"{RETRY_AFTER} s.",
                kind="rate_limit_error",
                code="rate_limit_exceeded",
                headers=((b"retry-after", str(RETRY_AFTER).encode()),),
            )
        self._admission.held += more
        self.sequences += more
