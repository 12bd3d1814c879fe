"""The demo's tables."""

from __future__ import annotations

from typing import Any

import pytest

from dev.demo import table


def _row(number: int) -> dict[str, Any]:
    said = {"Tuned": ("gpu", 1.0), "Base": ("no [idea]", 0.0)}
    candidates = {
        name: {"answer": text, "scores": {"ExactMatch": score}} for name, (text, score) in said.items()
    }
    prompt = [{"role": "user", "content": str(number)}]
    return {"prompt": prompt, "expected": "gpu", "candidates": candidates}


@pytest.mark.parametrize(("count", "shown"), [(80, 12), (12, 12), (13, 12), (3, 3), (1000, 12)])
def test_the_table_of_answers_shows_as_many_rows_as_its_title_says(count: int, shown: int) -> None:
    found = table.answers([_row(number) for number in range(count)], "ExactMatch")
    assert found.row_count == shown
    assert found.title == f"{shown} of {count} held-out requests"
    assert [column.header for column in found.columns] == ["request", "expected", "Tuned", "Base"]


def test_brackets_of_an_answer_are_no_markup() -> None:
    found = table.answers([_row(1)], "ExactMatch")
    assert list(found.columns[3].cells) == ["[red]no (idea][/red]"]


def test_the_table_of_scores_has_every_candidate() -> None:
    numbers = {"score": "0.8125", "low": "0.7195", "high": "0.8902", "promptTokens": 33}
    evaluation = {
        "metric": "ExactMatch",
        "rows": 80,
        "candidates": [{"name": "Tuned", **numbers}, {"name": "Base", **numbers, "wins": 65, "losses": 0}],
    }
    found = table.scores(evaluation)
    assert found.title == "ExactMatch over 80 held-out requests"
    assert [list(column.cells) for column in found.columns] == [
        ["Tuned", "Base"],
        ["0.81", "0.81"],
        ["0.72 to 0.89", "0.72 to 0.89"],
        ["", "65 / 0"],
        ["33", "33"],
    ]
