"""Runs other programs: quietly into a log, or for their output. Errors say what ran and which log to read.

Standard library only: the preflight uses it before anything is installed.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dev.errors import DevError

_TAIL = 15  # lines of a failed command's output that the error repeats
_REMEDIES = {
    "go": "install Go 1.26 or later from https://go.dev/dl and put it on PATH",
    "modprobe": "apt-get install kmod",
    "apt-get": "use Debian 12",
}


class CommandError(DevError):
    """A command that failed. The message has its last lines and names the log."""


class MissingProgramError(DevError):
    """A program that is not on this machine. The message says how to get it."""


def which(program: str) -> str | None:
    """Return the path of a program, found where commands are found."""
    return shutil.which(program, path=_environment(None)["PATH"])


def run(
    argv: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Run a command with its output appended to `log`."""
    command = [str(part) for part in argv]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        start = sink.tell()
        sink.write(f"$ {' '.join(command)}\n".encode())
        sink.flush()
        code = _start(command, env=env, cwd=cwd, stdout=sink, stderr=subprocess.STDOUT).returncode
    if code:
        raise CommandError(f"{command[0]} exited {code}; its output is in {log}:\n{tail(log, start=start)}")


def output(
    argv: Sequence[str | Path],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a command and return what it prints."""
    command = [str(part) for part in argv]
    result = _start(command, env=env, cwd=cwd, stdin=stdin or "", capture_output=True)
    if result.returncode:
        raise CommandError(f"{' '.join(command)} exited {result.returncode}:\n{result.stderr.strip()}")
    return result.stdout


def succeeds(argv: Sequence[str | Path]) -> bool:
    """Tell whether a command exits 0, whatever it prints."""
    return _start([str(part) for part in argv], capture_output=True).returncode == 0


def ended(argv: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    """Run a command whose exit status is part of its answer; return it with what the command printed."""
    return _start([str(part) for part in argv], capture_output=True)


def tail(log: Path, *, start: int = 0, lines: int = _TAIL) -> str:
    """Return the last lines of a log, none of them from before the offset `start`."""
    if not log.exists():
        return "(no log)"
    with log.open("rb") as source:
        source.seek(start)
        text = source.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])


def _start(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str = "",
    **streams: Any,
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, input=stdin, text=True, env=_environment(env), cwd=cwd, check=False, **streams
        )
    except FileNotFoundError:
        if which(command[0]) is not None:  # it is the working directory that is not there
            raise
        remedy = _REMEDIES.get(command[0], f"apt-get install {command[0]}")
        if "/" in command[0]:
            remedy = "it was there and is gone, so delete its folder and run this again"
        raise MissingProgramError(f"The program {command[0]} is missing: {remedy}.") from None


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    """Return the environment of commands: after a plain `su`, PATH lacks the administrators' programs."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
    return {**os.environ, "PATH": path, **(extra or {})}
