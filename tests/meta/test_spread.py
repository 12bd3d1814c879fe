"""How tests are spread over processes names files, which may move."""

from __future__ import annotations

from dev.paths import REPOSITORY
from tests.conftest import IN_TURN, IN_TURN_FILES, LONGEST


def test_the_files_that_have_a_place_exist() -> None:
    named = {*IN_TURN_FILES, *LONGEST} - {IN_TURN}
    assert [name for name in sorted(named) if not (REPOSITORY / name).is_file()] == []
