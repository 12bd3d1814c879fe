"""Resolves the dependencies again and writes requirements/*.txt: pins with hashes, one file per environment.

uv keeps the pins of a file that exists as far as they still fit: delete a file to upgrade all of it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dev import clients, paths, progress, shell

_FOLDER = paths.REPOSITORY / "requirements"
_COMPILE = (
    "pip",
    "compile",
    "--quiet",
    "--generate-hashes",
    "--no-annotate",
    "--no-header",
    "--python-version=3.11",
    "--python-platform=x86_64-manylinux_2_28",
)
# Versions differ between the two images: torch itself does not import it on Python 3.11.
_NOT_IN_TORCH_LAYER = "setuptools"


def lock() -> None:
    """Write all files, those that constrain others first."""
    project = "pyproject.toml"
    _compile("dev.txt", project, "--extra=operator", "--extra=trainer", "--extra=gateway", "--group=dev")
    # What the images get is what was tested: no version that dev.txt does not have.
    tested = "--constraints=requirements/dev.txt"
    _compile("operator.txt", project, "--extra=operator", tested)
    _compile("gateway.txt", project, "--extra=gateway", tested)
    _compile("trainer.txt", project, "--extra=trainer", tested)
    _compile("uv.txt", "-", tested, stdin="uv")
    _compile(
        "torch.txt",
        "-",
        "--constraints=requirements/trainer.txt",
        f"--no-emit-package={_NOT_IN_TORCH_LAYER}",
        stdin="torch",
    )
    # The serving image has the same torch layer, with the versions of torch's own dependencies.
    _compile(
        "serving-cpu.txt",
        "requirements/serving-cpu.in",
        "--overrides=requirements/serving-cpu-overrides.txt",
        "--constraints=requirements/torch.txt",
    )
    for name, client in clients.CLIENTS.items():
        _compile(clients.lock_file(name).name, "-", *client.options, stdin=client.wants)
    progress.note(
        "Other versions may train otherwise: run `make test` before you commit. Its fine-tune of the demo "
        "(tests/cluster/test_demo_job.py) must win 0.3 of exact match, and lose 30 % of the validation loss."
    )


def _compile(name: str, *arguments: str, stdin: str | None = None) -> None:
    with progress.step(f"requirements/{name}"):
        uv = Path(sys.prefix) / "bin" / "uv"
        shell.output(
            [uv, *_COMPILE, *arguments, "--output-file", _FOLDER / name], stdin=stdin, cwd=paths.REPOSITORY
        )
