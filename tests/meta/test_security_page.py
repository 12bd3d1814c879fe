"""Each promise of SECURITY.md names tests, and each of them exists."""

from __future__ import annotations

import ast
import re

from dev.paths import REPOSITORY

PAGE = (REPOSITORY / "SECURITY.md").read_text()
PROMISES = PAGE[PAGE.index("## What is promised") : PAGE.index("## What is not promised")]
ROWS = [line for line in PROMISES.splitlines() if line.startswith("| ") and not line.startswith("| promise")]


def test_every_promise_names_a_test() -> None:
    assert len(ROWS) > 20
    without = [row for row in ROWS if not re.search(r"`tests/\S+\.py::test_\w+`", row.rpartition(" | ")[2])]
    assert without == []


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(tests/\S+?)::(\w+)`", PROMISES))
    unknown = [f"{path}::{name}" for path, name in sorted(named) if name not in _tests(path)]
    assert unknown == []


def _tests(path: str) -> set[str]:
    file = REPOSITORY / path
    if not file.is_file():
        return set()
    tree = ast.parse(file.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
