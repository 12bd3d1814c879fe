"""Processes that hold the lock of a directory, and what they say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kubetune_trainer.store.lock import BEAT_VARIABLE, GRACE_VARIABLE

DEADLINE_SECONDS = 120
"""Bound of every wait."""

SOON = {BEAT_VARIABLE: "0.05", GRACE_VARIABLE: "0.3"}
"""For who takes over from a holder that is gone."""

PATIENT = {BEAT_VARIABLE: "0.05"}
"""For who finds a holder that is there: however slow the machine is, it is not taken for gone."""

_SCRIPT = """
import os, sys, threading
from pathlib import Path
from kubetune_trainer.contract.errors import TrainerError
from kubetune_trainer.store.lock import DirectoryLock, Pace, owner_of

def lost(error):
    print("lost", error.reason, error.message, flush=True)
    os._exit(error.code)

lock = DirectoryLock(Path(sys.argv[1]), owner=owner_of("test", os.environ), pace=Pace.of(os.environ))
try:
    print("ready", flush=True)
    sys.stdin.readline()
    with lock.held(lost=lost):
        print("held", flush=True)
        for line in sys.stdin:
            lock.hold.confirm()
            print("confirmed", flush=True)
    print("released", flush=True)
except TrainerError as error:
    print("refused", error.reason, error.message, flush=True)
    sys.exit(error.code)
"""


class Holder:
    """A process that takes the lock when it is told to, and confirms it when asked."""

    def __init__(self, directory: Path, name: str, pace: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT, str(directory)],
            env={**os.environ, **pace, "POD_NAME": name, "NODE_NAME": f"node-of-{name}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.said() == "ready"

    def said(self) -> str:
        """The next line that it prints; empty when it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self) -> None:
        """Let it take the lock; later, let it confirm."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> int:
        """Let it release the lock; returns its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(DEADLINE_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait(DEADLINE_SECONDS)


@contextmanager
def holder(directory: Path, name: str, pace: dict[str, str]) -> Iterator[Holder]:
    """Start one that has not taken the lock yet, and leave nothing behind."""
    started = Holder(directory, name, pace)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.wait(DEADLINE_SECONDS)
        for stream in (started.process.stdin, started.process.stdout):
            assert stream is not None
            stream.close()
