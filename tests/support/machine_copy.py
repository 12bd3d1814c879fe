"""Copies of this machine to install into and to break: overlays of its root, in memory, gone with a process.

Commands run in a copy with processes and mounts of their own; nothing of the real root is changed.
"""

from __future__ import annotations

import filecmp
import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev.paths import REPOSITORY

CACHE = "/run/copy-cache"
"""What XDG_CACHE_HOME is in a copy: like all of /run outside of the overlay, and so no difference."""

_HIDDEN = ("var/lib/cni", "var/lib/kubelet", "var/log/containers")
"""Where a cluster that runs on this machine keeps things, which no copy is to see."""

_HOLD = """
set -e
mount -t tmpfs -o size=4G tmpfs {folder}
echo mounted
while sleep 1000; do :; done  # and not exec: the first process takes in the orphans
"""
_MOUNT = """
set -e
cd {folder}
mkdir -p {name}/upper {name}/work {name}/root
mount -t overlay overlay -o lowerdir={lower},upperdir=$PWD/{name}/upper,workdir=$PWD/{name}/work {name}/root
mount -t proc proc {name}/root/proc
mount --rbind /dev {name}/root/dev
mount -t tmpfs -o mode=1777 tmpfs {name}/root/tmp
for path in run sys {hidden}; do
  mkdir -p {name}/root/$path
  mount -t tmpfs tmpfs {name}/root/$path
done
mkdir -p {name}/root/sys/fs/cgroup {name}/root{checkout}
# It may lie in /tmp, or on another disk than the root, which an overlay of the root does not have.
mount --bind {checkout} {name}/root{checkout}
mount -o remount,bind,ro {name}/root{checkout}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineCopy:
    """One copy of this machine's root, upon a lower one."""

    holder: int
    """The process that holds the namespaces."""
    folder: Path
    name: str
    lower: tuple[MachineCopy, ...] = ()

    def run(self, *argv: str, network: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a command in the copy: with this machine's network, which apt needs, or with an empty one."""
        alone = () if network else ("unshare", "--net")
        root = self.folder / self.name / "root"
        return _enter(self.holder, "chroot", str(root), *alone, *argv)

    def must(self, *argv: str, network: bool = False) -> str:
        """Run a command that has to succeed; returns all that it printed."""
        result = self.run(*argv, network=network)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout + result.stderr

    def python(self, code: str, *, network: bool = False) -> subprocess.CompletedProcess[str]:
        """Run code with this checkout's tools."""
        return self.run(str(REPOSITORY / ".venv" / "bin" / "python"), "-c", code, network=network)

    def dev(self, command: str) -> str:
        """Run a command of this checkout's tools, without a network; returns all that it printed."""
        return self.must(str(REPOSITORY / ".venv" / "bin" / "python"), "-m", "dev", command)

    def fresh(self, name: str) -> MachineCopy:
        """Make a copy of this copy, which must not change from here on."""
        beneath = (self, *self.lower)
        copy = MachineCopy(holder=self.holder, folder=self.folder, name=name, lower=beneath)
        layers = [str(self.folder / each.name / "upper") for each in beneath]
        _mount(copy, ":".join([*layers, "/"]))
        return copy

    def differences(self) -> dict[str, str]:
        """What is not as in the copy beneath: paths, each with what happened to it."""
        view = Path(f"/proc/{self.holder}/root{self.folder}")
        return dict(_differences(view / self.name / "upper", view / self.lower[0].name / "root"))


@contextmanager
def machine_copy(folder: Path) -> Iterator[MachineCopy]:
    """Make a copy, mounted at an empty folder for its own processes only."""
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    with subprocess.Popen(
        [*command, "bash", "-c", _HOLD.format(folder=folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "mounted\n"
            [child] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            copy = MachineCopy(holder=int(child), folder=folder, name="base")
            _mount(copy, "/")
            yield copy
        finally:
            process.kill()


def _mount(copy: MachineCopy, lower: str) -> None:
    script = _MOUNT.format(
        folder=copy.folder, name=copy.name, lower=lower, hidden=" ".join(_HIDDEN), checkout=REPOSITORY
    )
    result = _enter(copy.holder, "bash", "-c", script)
    assert result.returncode == 0, result.stderr


def _enter(holder: int, *argv: str) -> subprocess.CompletedProcess[str]:
    proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    return subprocess.run(
        ["nsenter", f"--target={holder}", "--mount", "--pid", *argv],
        capture_output=True,
        text=True,
        env={
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LC_ALL": "C",
            "DEBIAN_FRONTEND": "noninteractive",
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONDONTWRITEBYTECODE": "1",
            "XDG_CACHE_HOME": CACHE,
            **proxies,
        },
    )


def _differences(upper: Path, base: Path) -> Iterator[tuple[str, str]]:
    """Compare an overlay's changes with what is beneath; what was changed and changed back is none."""
    for folder, names, files in os.walk(upper):
        relative = Path(folder).relative_to(upper)
        for name in [*names, *files]:
            path = relative / name
            place = Path("/", path)  # also those on the way to the checkout
            if (
                str(path) not in _HIDDEN
                and not REPOSITORY.is_relative_to(place)
                and (what := _difference(upper / path, base / path))
            ):
                yield f"/{path}", what


def _difference(ours: Path, below: Path) -> str | None:
    mine = ours.lstat()
    if stat.S_ISCHR(mine.st_mode) and mine.st_rdev == 0:  # how an overlay writes down what is gone
        return "removed" if os.path.lexists(below) else None
    if not os.path.lexists(below):
        return "added"
    if _owner(mine) != _owner(below.lstat()):
        return "mode or owner"
    if ours.is_symlink():
        return "content" if ours.readlink() != below.readlink() else None
    if ours.is_file():
        return None if filecmp.cmp(ours, below, shallow=False) else "content"
    return None


def _owner(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mode, status.st_uid, status.st_gid
