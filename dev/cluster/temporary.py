"""Owns the folders of temporary instances: each names the process that it must not outlive.

A killed test run cannot clean up; the name lets a later `down` know that nobody else uses the folder.
"""

import os
import tempfile
from pathlib import Path

from dev.cluster.files import ensure_file
from dev.cluster.procfs import start_time

_PREFIX = "kubetune-control-plane-"
_OWNER = "owner"


def folder() -> Path:
    """Make a folder that belongs to this process."""
    made = Path(tempfile.mkdtemp(prefix=_PREFIX))
    ensure_file(made / _OWNER, _identify(os.getpid()))
    return made


def abandoned_folders() -> list[Path]:
    """Return the folders whose process is gone."""
    folders = sorted(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"))
    return [each for each in folders if _is_abandoned(each)]


def _is_abandoned(candidate: Path) -> bool:
    try:
        owner = (candidate / _OWNER).read_text()
    except FileNotFoundError:  # being made or deleted right now
        return False
    return _identify(int(owner.partition(":")[0])) != owner


def _identify(pid: int) -> str:
    """Name a process in a way that no later one shares."""
    return f"{pid}:{start_time(pid)}"
