"""Environments of clients that are not ours: programs for OpenAI's API, each with what it was locked with.

They stay apart from .venv, whose versions they would change, and are made when a test asks for one.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dev import paths, progress, shell
from dev.cluster.lock import locked


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What an environment is made of."""

    wants: str
    """Requirements, one a line."""
    options: tuple[str, ...] = ()
    """Of `uv pip compile`."""


CLIENTS: Final[Mapping[str, Client]] = {
    "openai-1": Client(wants="openai==1.109.1"),  # the last of 1.x
    "dspy": Client(wants="dspy"),
    "llama-index": Client(
        wants="llama-index-finetuning\nllama-index-llms-openai\nmistralai<2",  # it imports what 2 has moved
        options=(
            "--overrides=requirements/clients-llama-index-overrides.txt",
            "--constraints=requirements/torch.txt",  # it imports torch: the one that .venv has on this disk
        ),
    ),
}
"""By name. OpenAI's newest client is in .venv."""


def lock_file(name: str) -> Path:
    """Return the path of a client's lock."""
    return paths.REPOSITORY / "requirements" / f"clients-{name}.txt"


def python(name: str) -> Path:
    """Return the Python of a client's environment, and make it first where there is none of this lock."""
    lock = lock_file(name)
    digest = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:12]
    all_of_them = paths.cache() / "clients"
    folder = all_of_them / f"{name}-{digest}"
    complete, found = folder / "complete", folder / "bin" / "python"
    with locked(f"client {name}"):
        if not complete.exists():
            for former in all_of_them.glob(f"{name}-*"):
                shutil.rmtree(former)
            uv = Path(sys.prefix) / "bin" / "uv"
            with progress.step(f"Make the environment of the client {name}"):
                shell.output([uv, "venv", "--quiet", "--python", sys.executable, folder])
                shell.output([uv, "pip", "sync", "--quiet", "--require-hashes", "--python", found, lock])
            complete.touch()
    return found
