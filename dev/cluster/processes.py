"""Starts programs that outlive this command, and finds and stops them again. Owns the pid files.

A pid says nothing once its process is gone and the number is used again, so a pid file holds the start time
too. Every process also carries `MARKER` in its environment, and so do its children: whatever was lost track
of can be found.
"""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dev import shell
from dev.cluster.files import ensure_file
from dev.cluster.procfs import environment, start_time
from dev.errors import DevError

MARKER = "KUBETUNE_DEV_ROOT"  # the state folder of the instance that a process belongs to
_KILL_SECONDS = 30.0
# Nothing of the caller's: no proxy or certificate bundle of theirs may leak into the cluster.
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}


class StuckError(DevError):
    """Processes that even SIGKILL does not end, as happens when a disk or a mount hangs."""


class NotRunningError(DevError):
    """A program that should be running has ended. The message names its log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Daemon:
    """One program that runs in the background, on behalf of the instance whose state is in `root`."""

    name: str
    root: Path
    argv: Sequence[str | Path]
    env: Mapping[str, str] = field(default_factory=dict)
    reads: Sequence[Path] = ()
    """Configuration files: when one changes, `ensure` restarts the program."""

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return _log(self.root, self.name)

    def pid(self) -> int | None:
        """Return the process's id if it runs."""
        return find(self.root, self.name)

    def ensure(self) -> bool:
        """Start it unless it runs with this very configuration. Tell whether it was started."""
        pid, fingerprint = _load(self.root, self.name)
        if pid is not None:
            if fingerprint == self._fingerprint():
                return False
            self.stop()
        self._start()
        return True

    def check(self) -> None:
        """Raise `NotRunningError` if it has ended."""
        _check(self.root, self.name)

    def stop(self, *, seconds: float = 10.0) -> None:
        """Ask it to end, and kill it if it takes too long."""
        stop(self.root, self.name, seconds=seconds)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.check()
        send(self.root, self.name, number)

    def _start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as sink:
            process = subprocess.Popen(
                [str(part) for part in self.argv],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**_ENVIRONMENT, **self.env, MARKER: str(self.root)},
                cwd="/",
                start_new_session=True,  # Ctrl-C in the terminal is not for it
            )
        # It is waited for through its pid file, by whichever command comes next, and never as a child.
        process.returncode = 0
        record = {"pid": process.pid, "started": start_time(process.pid), "fingerprint": self._fingerprint()}
        ensure_file(_record(self.root, self.name), json.dumps(record))

    def _fingerprint(self) -> str:
        digest = hashlib.sha256(json.dumps([[str(part) for part in self.argv], dict(self.env)]).encode())
        for path in self.reads:
            digest.update(path.read_bytes())
        return digest.hexdigest()


def find(root: Path, name: str) -> int | None:
    """Return the process id of a program of an instance if it runs."""
    return _load(root, name)[0]


def check_all(root: Path) -> None:
    """Raise `NotRunningError` if a program of an instance has ended that was not stopped."""
    for record in sorted((root / "run").glob("*.json")):
        _check(root, record.stem)


def _check(root: Path, name: str) -> None:
    if find(root, name) is None:
        log = _log(root, name)
        raise NotRunningError(f"{name} has ended; its log is {log}:\n{shell.tail(log)}")


def _log(root: Path, name: str) -> Path:
    return root / "logs" / f"{name}.log"


def send(root: Path, name: str, number: signal.Signals) -> None:
    """Send a signal to a program of an instance, if it runs."""
    pid = find(root, name)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def stop(root: Path, name: str, *, seconds: float = 10.0) -> None:
    """Ask a program of an instance to end, and kill it if it takes too long. No matter if it does not run."""
    send(root, name, signal.SIGTERM)
    send(root, name, signal.SIGCONT)  # a paused process hears the first signal only after this one
    if not _gone_within(root, name, seconds):
        send(root, name, signal.SIGKILL)
        if not _gone_within(root, name, _KILL_SECONDS):
            raise StuckError(f"{name} does not die: see /proc/{find(root, name)}/stack")
    _record(root, name).unlink(missing_ok=True)


def _gone_within(root: Path, name: str, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while find(root, name) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _record(root: Path, name: str) -> Path:
    return root / "run" / f"{name}.json"


def _load(root: Path, name: str) -> tuple[int | None, str]:
    try:
        record = json.loads(_record(root, name).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None, ""
    pid, started = int(record["pid"]), record["started"]
    alive = started is not None and start_time(pid) == started  # None: it ended before it could be looked at
    return (pid if alive else None), str(record["fingerprint"])


def marked(root: Path) -> Iterator[int]:
    """Find the processes of the instance whose state is in `root`, whether or not a pid file knows them."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and environment(int(entry.name)).get(MARKER) == str(root):
            yield int(entry.name)


def kill_marked(root: Path) -> None:
    """Kill every process of an instance, those included that start meanwhile."""
    deadline = time.monotonic() + _KILL_SECONDS
    while found := [pid for pid in marked(root) if start_time(pid) is not None]:
        if time.monotonic() > deadline:
            raise StuckError(f"processes {found} of {root} do not die: see /proc/<pid>/stack")
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
