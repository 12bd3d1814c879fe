"""SIGTERM: before training it ends the rank at once, while training every rank agrees to stop after the
same step.

A rank that stopped on its own would leave the others in a collective; the usual case is one pod being
drained."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from ..contract.errors import Preempted
from .peers import Peers

_SENTENCE = (
    "SIGTERM: the pod was evicted, preempted or deleted; the next attempt goes on from the last checkpoint."
)


class StopFlag:
    """This rank's wish to stop, and what all ranks have agreed on."""

    def __init__(self, leave: Callable[[Preempted], None]) -> None:
        """``leave`` ends the process at once; it is called from another thread."""
        self._leave = leave
        self._lock = threading.Lock()
        self._asked = False
        self._stepping = False
        self.agreed = False

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

    def agree(self, peers: Peers) -> bool:
        """Ask all ranks at the end of a step; True on all of them once one was asked to stop."""
        self.agreed = self.agreed or peers.any(self._asked)
        return self.agreed

    def raise_if_agreed(self) -> None:
        """End the attempt as preempted.

        Raises:
            Preempted: the ranks have agreed to stop.
        """
        if self.agreed:
            raise Preempted(_SENTENCE)

    def _wait(self) -> None:
        signal.sigwait({signal.SIGTERM})
        with self._lock:
            self._asked = True
            if not self._stepping:
                # There is nothing to save yet, and loading a model may take longer than the grace period.
                self._leave(Preempted(_SENTENCE))
