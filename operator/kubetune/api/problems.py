"""Turns what pydantic says about a spec into one SpecError: field path, what is wrong, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kubetune.vocabulary.errors import SpecError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_SHOWN = 80
"""Characters of a wrong value in a message."""


def as_spec_error(problems: Sequence[ErrorDetails]) -> SpecError:
    """The first problem, and how many more there are."""
    first = problems[0]
    problem, remedy = _explain(first)
    if len(problems) > 1:
        remedy += f" (and {len(problems) - 1} more)"
    return SpecError(path_of(first), problem, remedy)


def path_of(problem: ErrorDetails) -> str:
    """Where in the input it is."""
    text = ""
    for part in problem["loc"]:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part != "[key]":
            text += f".{part}" if text else part
    rule_path = problem.get("ctx", {}).get("path", "")
    return (text + rule_path).lstrip(".") or "metadata.name"


def _explain(problem: ErrorDetails) -> tuple[str, str]:
    message = problem["msg"]
    where = ".".join(part for part in problem["loc"] if isinstance(part, str))
    explain = f"see kubectl explain finetunejob.{where}"
    match problem["type"]:
        case "rule":
            wrong, _, remedy = message.rpartition("; ")
            return wrong.removeprefix(f"{path_of(problem)} "), remedy
        case "missing":
            return "is required", f"set it; {explain}"
        case "extra_forbidden":
            parent = where.rpartition(".")[0]
            return (
                "is not a field of the API",
                f"remove it or correct its name; see kubectl explain finetunejob.{parent}",
            )
        case _:
            wrong = f"{_lower(message)}, not {_shown(problem['input'])}"
            return wrong, f"correct it; {explain}"


def _lower(message: str) -> str:
    return (
        message.removeprefix("Input ").removeprefix("String ")[:1].lower()
        + (message.removeprefix("Input ").removeprefix("String ")[1:])
    )


def _shown(value: object) -> str:
    text = (
        f'"{value}"'
        if isinstance(value, str)
        else type(value).__name__
        if isinstance(value, dict)
        else str(value)
    )
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
