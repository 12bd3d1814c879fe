"""The lock of a job's directory on the output volume: one process at a time writes below it.

``<job name>/.lock/`` holds one file, named by its holder's token, whose first bytes change with every beat.
Names decide, and no clock: the lock is taken by renaming a directory to ``.lock``, which fails while a file
is in it. A holder that is gone loses it by the deletion of the file of its token, which no other holder has.
Whoever finds a file counts how often it looks the same.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..contract.config import TrainerConfig
from ..contract.errors import DirectoryInUse, TrainerError, Transient
from ..contract.layout import RunDirectory
from .manifest import naming

logger = logging.getLogger(__name__)

LOCK_VARIABLE = "KUBETUNE_LOCK"
"""Environment variable of the ranks on the holder's node: the file that says that the lock is held."""

BEAT_VARIABLE, GRACE_VARIABLE = "KUBETUNE_LOCK_BEAT", "KUBETUNE_LOCK_GRACE"
"""Environment variables with other seconds than those of Pace (tests)."""

_LOOKS = 30
"""Looks of the grace time. They are counted, and not the seconds: the clock goes on while the volume or this
process hangs, when a holder cannot beat either."""

_NAME = ".lock"

_OCCUPIED = {errno.EEXIST, errno.ENOTEMPTY}
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE}

_LONGEST = 300
"""Characters of a holder's file that go into a sentence."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Pace:
    """How often a holder beats, and when it counts as gone."""

    beat: float = 5.0
    """Seconds between beats: a second gang knows after one that the directory is in use."""
    grace: float = 30.0
    """Seconds without a beat: long enough for a volume that stalls, or a beat that is lost, and shorter than
    Kubernetes takes to replace the pods of a node that it does not hear of."""
    patience: float = 5.0
    """Seconds for what a process that ends does with its lock."""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Pace:
        """The pace that tests ask for, else the usual one."""
        usual = cls()
        return cls(
            beat=float(environment.get(BEAT_VARIABLE, usual.beat)),
            grace=float(environment.get(GRACE_VARIABLE, usual.grace)),
        )


def owner_of(stage: str, environment: Mapping[str, str]) -> str:
    """What another pod tells people about this one."""
    pod = environment.get("POD_NAME") or socket.gethostname()
    node = environment.get("NODE_NAME")
    return f"Pod {pod} on node {node} ({stage})" if node else f"Pod {pod} ({stage})"


@dataclass(slots=True, frozen=True)
class Hold:
    """A lock that this pod has taken; any process of the pod can confirm it."""

    file: Path

    def confirm(self) -> None:
        """Beat, and so make sure that the lock is held: called right before anything that counts is written.

        Raises:
            DirectoryInUse: it was taken over or removed.
            OSError: the volume failed.
        """
        with naming(self.file):
            try:
                # Opened anew each time, so that NFS asks its server, and never created.
                descriptor = os.open(self.file, os.O_WRONLY)
            except (FileNotFoundError, NotADirectoryError):
                raise self._lost() from None
            try:
                os.write(descriptor, _pulse())  # in place: a full volume has room for it
            finally:
                os.close(descriptor)

    def _lost(self) -> DirectoryInUse:
        directory = self.file.parent.parent
        by = next(iter(_look(self.file.parent).values()), None)
        if by is None:
            return DirectoryInUse(
                f"The lock {self.file.parent} is no longer this pod's: another one has taken it over and "
                "ended since, or somebody removed it. This pod ends without writing any more. Leave locks "
                "alone: a pod that is gone loses its lock by itself."
            )
        return DirectoryInUse(
            f"{_owner(by)} has taken over {directory} while this pod, which worked there, was suspended or "
            "cut off from the volume. This pod ends without writing any more. Nothing is to be done: the "
            "other one goes on from the last checkpoint."
        )


def confirmation(environment: Mapping[str, str]) -> Callable[[], None]:
    """What a rank calls right before it commits: only rank 0 does, in the pod that holds the lock."""
    return Hold(Path(environment[LOCK_VARIABLE])).confirm if environment["RANK"] == "0" else lambda: None


def tokens(config: TrainerConfig, environment: Mapping[str, str]) -> Callable[[], list[bytes]]:
    """How a rank finds its attempt's token, which is that of the lock: its pod holds it, or it is read on the
    volume. Only who reads the job's volume can know it."""
    if held := environment.get(LOCK_VARIABLE):
        return lambda: [Path(held).name.encode()]
    path = RunDirectory.of(config).root.parent / _NAME
    return lambda: [name.encode() for name in _look(path)]


def of(config: TrainerConfig, stage: str, environment: Mapping[str, str]) -> DirectoryLock:
    """The lock of the job's directory: what is named by the job alone has one writer then, and a run that is
    set aside does not take it along."""
    directory = RunDirectory.of(config).root.parent
    return DirectoryLock(directory, owner=owner_of(stage, environment), pace=Pace.of(environment))


class DirectoryLock:
    """The lock of one directory, for one process that takes it, keeps it and releases it."""

    def __init__(self, directory: Path, *, owner: str, pace: Pace) -> None:
        self._directory = directory
        self._path = directory / _NAME
        self._owner = owner
        self._pace = pace
        token = os.urandom(16).hex()  # which the ranks sign with too
        self._candidate = directory / f".lock-{token}"
        self.hold = Hold(self._path / token)
        self._problem: TrainerError | None = None
        self._released = False

    @contextlib.contextmanager
    def held(
        self,
        *,
        lost: Callable[[TrainerError], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> Iterator[None]:
        """Hold the lock. ``lost`` is called in another thread when this process must not write any more.

        Raises:
            DirectoryInUse: another process holds it; or this one had lost it when it failed.
            OSError: the volume failed.
        """
        try:
            self._take(sleep)
            threading.Thread(target=self._keep, args=(lost,), name="lock", daemon=True).start()
            try:
                yield
            except Exception:
                if (problem := self.problem()) is not None:
                    raise problem  # noqa: B904 - files vanish under who lost the lock; it has a cause of its own
                raise
        finally:
            self._patiently(self.release)

    def problem(self) -> TrainerError | None:
        """Why this process must not write any more; None while it holds the lock."""
        self._patiently(self._check)
        return self._problem

    def _check(self) -> None:
        with contextlib.suppress(OSError):  # which says nothing about who holds it
            try:
                self.hold.confirm()
            except DirectoryInUse as error:
                self._problem = self._problem or error

    def release(self) -> None:
        """Let the next one in at once; never touches the lock of another holder.

        A handler of signals may call it, wherever this process is: it waits for no thread.
        """
        self._released = True
        shutil.rmtree(self._candidate, ignore_errors=True)
        try:
            self.hold.file.unlink(missing_ok=True)
            self._clear()
        except OSError as error:  # the next one waits for the grace time
            logger.warning("The lock %s stays: %s", self._path, error)

    def _patiently(self, action: Callable[[], None]) -> None:
        """A volume that does not answer must not keep a process from saying why it ends, and from ending."""
        thread = threading.Thread(target=action, name="lock", daemon=True)
        thread.start()
        thread.join(self._pace.patience)

    def _take(self, sleep: Callable[[float], None]) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        seen: dict[str, str] = {}
        looks = 0
        while True:
            found = _look(self._path)
            if not found and self._install():
                return
            for name, text in found.items():
                if name in seen and seen[name] != text:
                    raise self._in_use(text, time.monotonic() - started)
            if found != seen:
                seen, looks = found, 0
                for text in found.values():
                    logger.info(
                        "%s has the lock of %s: this pod watches for up to %g seconds whether it is gone",
                        _owner(text),
                        self._directory,
                        self._pace.grace,
                    )
            elif looks >= _LOOKS:
                for name, text in found.items():
                    logger.info("%s is gone: its lock of %s is taken over", _owner(text), self._directory)
                    (self._path / name).unlink(missing_ok=True)
                looks = 0
                continue
            looks += 1
            sleep(self._pace.grace / _LOOKS)

    def _install(self) -> bool:
        """Take the lock if it is free; of several that try, one does."""
        self._candidate.mkdir(exist_ok=True)
        with naming(self._candidate):
            (self._candidate / self.hold.file.name).write_bytes(_pulse() + f"\n{self._owner}\n".encode())
        try:
            self._clear()  # for file systems that do not rename onto an empty directory
            self._candidate.rename(self._path)
        except OSError as error:
            # A network file system may repeat a rename that was done, and then say that it failed.
            if error.errno not in _OCCUPIED and not self.hold.file.exists():
                raise
        return self.hold.file.exists()

    def _clear(self) -> None:
        """Remove the directory, unless a file is in it."""
        try:
            self._path.rmdir()
        except OSError as error:
            if error.errno not in _OCCUPIED | {errno.ENOENT}:
                raise

    def _keep(self, lost: Callable[[TrainerError], None]) -> None:
        renewed = time.monotonic()
        while True:
            time.sleep(self._pace.beat)
            if self._released:
                return
            try:
                self.hold.confirm()
                renewed = time.monotonic()
            except DirectoryInUse as error:
                self._problem = error
            except OSError as error:
                if time.monotonic() - renewed < self._pace.grace:
                    continue
                self._problem = Transient(
                    f"The lock {self.hold.file} could not be renewed for {self._pace.grace:g} seconds, so "
                    f"that another pod may have taken it: {error.strerror}."
                )
                self._problem.__cause__ = error
            if self._released:  # meanwhile, which looks like a loss
                return
            if self._problem is not None:
                lost(self._problem)
                return

    def _in_use(self, text: str, seconds: float) -> DirectoryInUse:
        return DirectoryInUse(
            f"{_owner(text)} writes to {self._directory}: it renewed its lock in the {seconds:.1f} seconds "
            "for which this pod watched. This pod ends, so that they do not write at the same time. It is "
            "tried again; if it lasts, delete that pod or the Job that it belongs to."
        )


def _pulse() -> bytes:
    return os.urandom(8).hex().encode()  # always as long, and never the same


def _look(path: Path) -> dict[str, str]:
    """What each file in the lock says. There may be others than a holder's: NFS renames what is open."""
    found = {}
    try:
        for name in os.listdir(path):
            found[name] = (path / name).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        if error.errno not in _GONE:
            raise
        return {}  # it is just being released, or taken by another
    return found


def _owner(text: str) -> str:
    """Who wrote a file of the lock."""
    said = "".join(character for character in text[:_LONGEST].partition("\n")[2] if character.isprintable())
    return said or "A pod that left no name"
