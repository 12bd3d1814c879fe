"""Runs other programs: quietly into a log, or for their output. Errors say what ran and which log to read."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from dev.errors import DevError

_TAIL = 15  # lines of a failed command's output that the error repeats


class CommandError(DevError):
    """A command that failed. The message has its last lines and names the log."""


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
        code = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=_environment(env),
            cwd=cwd,
            check=False,
        ).returncode
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
    result = subprocess.run(
        command,
        input=stdin if stdin is not None else "",
        capture_output=True,
        text=True,
        env=_environment(env),
        cwd=cwd,
        check=False,
    )
    if result.returncode:
        raise CommandError(f"{' '.join(command)} exited {result.returncode}:\n{result.stderr.strip()}")
    return result.stdout


def succeeds(argv: Sequence[str | Path]) -> bool:
    """Tell whether a command exits 0, whatever it prints."""
    command = [str(part) for part in argv]
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, env=_environment(None), check=False
    )
    return result.returncode == 0


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    """Return the environment of commands: after a plain `su`, PATH lacks the administrators' programs."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
    return {**os.environ, "PATH": path, **(extra or {})}


def tail(log: Path, *, start: int = 0, lines: int = _TAIL) -> str:
    """Return the last lines of a log, none of them from before the offset `start`."""
    if not log.exists():
        return "(no log)"
    with log.open("rb") as source:
        source.seek(start)
        text = source.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])
