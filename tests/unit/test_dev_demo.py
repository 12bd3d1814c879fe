"""The demo's table of answers."""

import pytest

from dev.demo.ask import Example
from dev.demo.table import build


@pytest.mark.parametrize(("count", "shown"), [(80, 12), (12, 12), (13, 12), (3, 3), (1000, 12)])
def test_the_table_shows_as_many_rows_as_its_title_says(count: int, shown: int) -> None:
    examples = [Example(prompt=str(number), expected="gpu") for number in range(count)]
    table = build(examples, base=["access"] * count, tuned=["gpu"] * count)
    assert table.row_count == shown
    assert table.title == f"{count} held-out requests, {shown} of them shown"
    assert [column.footer for column in table.columns] == ["exact match over all", "", "0.00", "1.00"]
