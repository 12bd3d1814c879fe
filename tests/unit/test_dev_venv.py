"""When dev/venv.sh makes .venv anew, and when it keeps the one that is there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from dev.paths import REPOSITORY

PYTHON = """#!/bin/sh
case "$*" in
*base_prefix*) echo "{prefix}" ;;
"-m venv --clear .venv") rm -rf .venv && mkdir -p .venv/bin && cp "$0" "${{0%/*}}/pip" .venv/bin ;;
esac
"""
INSTALLER = """#!/bin/sh
[ -x .venv/bin/uv ] || cp "$0" .venv/bin/uv
"""


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose Python is below /usr, with programs that only do what the script counts on."""
    write_program(tmp_path / "pip", INSTALLER)
    write_program(tmp_path / "python", PYTHON.format(prefix="/usr"))
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "python.sh").write_text(f"echo {tmp_path}/python\n")
    shutil.copy(REPOSITORY / "dev" / "venv.sh", tmp_path / "dev")
    return tmp_path


def is_kept(checkout: Path) -> bool:
    """Run the script; tell whether what somebody has put into .venv is still there."""
    kept = checkout / ".venv" / "kept"
    if kept.parent.is_dir():
        kept.touch()
    result = subprocess.run(["bash", "dev/venv.sh"], cwd=checkout, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert (checkout / ".venv" / "bin" / "python").exists()
    return kept.exists()


def test_the_first_run_makes_it_and_the_second_keeps_it(checkout: Path) -> None:
    assert not is_kept(checkout)
    assert is_kept(checkout)


@pytest.mark.parametrize("python", [PYTHON.format(prefix="/opt/other"), None], ids=["another", "gone"])
def test_one_that_was_made_by_another_python_or_by_one_that_is_gone_is_made_anew(
    checkout: Path, python: str | None
) -> None:
    assert not is_kept(checkout)
    made_by = checkout / ".venv" / "bin" / "python"
    made_by.unlink()
    if python is None:
        made_by.symlink_to("/nowhere/python3.11")
    else:
        write_program(made_by, python)
    assert not is_kept(checkout)
