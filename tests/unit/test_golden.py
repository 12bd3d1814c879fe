"""Every case of tests/data yields the children and the status that were reviewed."""

from __future__ import annotations

import pytest

from tests.support.golden import DATA, cases, expected, load


@pytest.mark.parametrize("name", cases())
def test_a_case_yields_what_was_reviewed(name: str) -> None:
    for file, text in expected(load(name)).items():
        assert (DATA / name / file).read_text() == text, (
            "run `python -m tests.support.golden --write` and review"
        )


@pytest.mark.parametrize("name", cases())
def test_a_status_that_was_written_is_computed_again_equal(name: str) -> None:
    case = load(name)
    again = case.with_status(case.status, seconds_later=5)
    assert again.status == case.status
