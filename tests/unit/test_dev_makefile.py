"""What the targets of the Makefile run, in which order, and for which cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dev.paths import REPOSITORY

STUB = '#!/bin/sh\necho "$(basename "$0") $* [$KUBETUNE_KUBECONFIG]"\n'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile among programs that only say how they were called."""
    for name in ("Makefile", "dev/venv.sh", "dev/python.sh", "requirements/dev.txt", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    (tmp_path / "dev" / "venv.sh").write_text("echo venv\n")
    python = tmp_path / "system-python"
    (tmp_path / "dev" / "python.sh").write_text(f"echo {python}\n")
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for program in (
        python,
        *(programs / name for name in ("python", "pytest", "ruff", "mypy", "lint-imports")),
    ):
        program.write_text(STUB)
        program.chmod(0o755)
    return tmp_path


def make(checkout: Path, target: str) -> list[str]:
    result = subprocess.run(
        ["make", "--silent", "-j4", target],
        cwd=checkout,
        env={**os.environ, "KUBETUNE_KUBECONFIG": "elsewhere"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_the_preflight_speaks_before_anything_is_installed(checkout: Path) -> None:
    assert make(checkout, "demo") == [
        "system-python -m dev.cluster.preflight [elsewhere]",
        "venv",
        "python -m dev demo [elsewhere]",
    ]


def test_building_images_needs_less(checkout: Path) -> None:
    assert make(checkout, "images")[0] == "system-python -m dev.cluster.preflight images [elsewhere]"


def test_tests_use_the_local_cluster_whatever_the_environment_names(checkout: Path) -> None:
    lines = make(checkout, "test")
    assert lines[0] == "system-python -m dev.cluster.preflight []"
    assert "python -m dev cluster []" in lines
    assert lines[-1] == "pytest -n 4 -m not gpu []"


@pytest.mark.parametrize("target", ["uninstall", "clean-caches"])
def test_what_the_cluster_uses_goes_after_it(checkout: Path, target: str) -> None:
    assert [line.removesuffix(" [elsewhere]") for line in make(checkout, target)] == [
        "venv",
        "python -m dev down",
        "python -m dev check-clean",
        f"python -m dev {target}",
    ]


def test_every_target_is_listed(checkout: Path) -> None:
    listed = {line.split()[0] for line in make(checkout, "help")}
    phony = next(line for line in (REPOSITORY / "Makefile").read_text().splitlines() if ".PHONY" in line)
    assert listed == set(phony.split()[1:]) - {"lint"}
