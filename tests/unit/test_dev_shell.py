"""Running other programs: what fails is said so that a person can act."""

from pathlib import Path

import pytest

from dev import shell
from dev.errors import DevError

MISSING = "kubetune-no-such-program"


def test_a_missing_program_is_named_with_what_to_do(tmp_path: Path) -> None:
    calls = [
        lambda: shell.output([MISSING]),
        lambda: shell.succeeds([MISSING]),
        lambda: shell.run([MISSING], log=tmp_path / "log"),
    ]
    for call in calls:
        with pytest.raises(DevError, match=f"{MISSING} is missing: apt-get install {MISSING}"):
            call()


def test_a_program_that_went_away_is_named_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(shell.MissingProgramError, match="is gone"):
        shell.output([tmp_path / "kubectl"])


def test_administrators_programs_are_found_without_their_folders_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shell.which("ldconfig") == "/usr/sbin/ldconfig" or shell.which("ldconfig") == "/sbin/ldconfig"


def test_a_missing_working_directory_is_not_taken_for_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        shell.output(["true"], cwd=tmp_path / "gone")


def test_a_failure_repeats_the_last_lines_and_names_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(shell.CommandError, match=f"exited 3; its output is in {log}:\n.*\nwords"):
        shell.run(["sh", "-c", "echo words; exit 3"], log=log)


def test_a_commands_output_and_input_are_text() -> None:
    assert shell.output(["cat"], stdin="words") == "words"
    assert shell.succeeds(["true"])
    assert not shell.succeeds(["false"])
