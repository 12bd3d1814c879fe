"""SIGTERM: before training it ends the rank at once, while training every rank agrees to stop after the
same step, and whether a checkpoint is saved there.

A rank that stopped on its own would leave the others in a collective; the usual case is one pod being
drained."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable

from ..contract.config import GRACE_SECONDS
from ..contract.errors import Preempted
from .peers import Peers

_SENTENCE = (
    "SIGTERM: the pod was evicted, preempted or deleted; the next attempt goes on from the last checkpoint."
)

_SAVE_FACTOR = 2
"""Of what the last save took, that must be left of the grace period: the volume may be busy, for other pods
of a node that is drained save as well."""

_ENDING_SECONDS = 5
"""What the processes need to end."""


class StopFlag:
    """This rank's wish to stop, and what all ranks have agreed on."""

    def __init__(
        self, leave: Callable[[Preempted], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``leave`` ends the process at once; it is called from another thread."""
        self._leave = leave
        self._clock = clock
        self._lock = threading.Lock()
        self._asked_at: float | None = None
        self._stepping = False
        self.agreed = False
        self.saves = False
        """Whether the ranks have agreed to save a checkpoint now."""

    def listen(self) -> None:
        """Wait for SIGTERM in a thread; call it before any other thread starts.

        A handler would run only when the main thread is back in Python, and it may be waiting for a peer
        in C++."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=self._wait, name="sigterm", daemon=True).start()

    def stepping(self) -> None:
        """From now on steps end regularly, and the ranks agree at their ends."""
        with self._lock:
            self._stepping = True

    def agree(self, peers: Peers, *, save: bool = False, save_seconds: float | None = None) -> bool:
        """Ask all ranks at the end of a step; True on all of them once one was asked to stop.

        ``save`` is this rank's wish for a checkpoint, of which one is enough. A save takes ``save_seconds``,
        None if nobody knows: when the ranks stop, they save if the grace period is long enough.
        """
        if self.agreed:
            return True
        asked_at = self._asked_at
        late = asked_at is not None and not self._leaves_time(asked_at, save_seconds)
        self.agreed, save, late = peers.any_of([asked_at is not None, save, late])
        self.saves = not late if self.agreed else save
        return self.agreed

    def _leaves_time(self, asked_at: float, save_seconds: float | None) -> bool:
        left = GRACE_SECONDS - (self._clock() - asked_at)
        needed = math.inf if save_seconds is None else _SAVE_FACTOR * save_seconds + _ENDING_SECONDS
        return needed <= left

    def raise_if_agreed(self) -> None:
        """End the attempt as preempted.

        Raises:
            Preempted: the ranks have agreed to stop.
        """
        if self.agreed:
            raise Preempted(_SENTENCE)

    def _wait(self) -> None:
        signal.sigwait({signal.SIGTERM})
        self.ask()

    def ask(self) -> None:
        """Wish to stop."""
        with self._lock:
            self._asked_at = self._clock()
            if not self._stepping:
                # There is nothing to save yet, and loading a model may take longer than the grace period.
                self._leave(Preempted(_SENTENCE))
