"""What CI runs fails when the tests fail, and when their cluster cannot be taken down."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from dev.paths import REPOSITORY


@pytest.mark.parametrize(
    ("test", "clean", "status", "printed"),
    [
        (0, 0, 0, "tests ran\n"),
        (2, 0, 2, "tests ran\n"),
        (0, 2, 1, "tests ran\nmake clean-cluster failed:\nleft: a mount\n"),
        (2, 1, 2, "tests ran\nmake clean-cluster failed:\nleft: a mount\n"),
    ],
)
def test_it_fails_when_tests_or_clean_up_fail(
    tmp_path: Path, test: int, clean: int, status: int, printed: str
) -> None:
    make = tmp_path / "make"
    make.write_text(
        "#!/bin/sh\n"
        f'[ "$1" = test ] && echo tests ran && exit {test}\n'
        f'echo "left: a mount" >&2\nexit {clean}\n'
    )
    make.chmod(0o755)
    result = subprocess.run(
        [REPOSITORY / ".ci" / "run"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stdout) == (status, printed)
