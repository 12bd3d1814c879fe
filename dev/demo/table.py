"""The table at the end of the demo."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from dev.demo.ask import Example, exact_match, normalise

_ROWS = 12  # of the held-out rows, evenly spread; the scores are over all of them


def build(examples: Sequence[Example], *, base: Sequence[str], tuned: Sequence[str]) -> Table:
    """Expected, base model's and tuned model's answers, and both scores in the footer."""
    shown = len(_shown(len(examples)))
    table = Table(title=f"{len(examples)} held-out requests, {shown} of them shown", show_footer=True)
    table.add_column("request", footer="exact match over all")
    table.add_column("expected")
    table.add_column("base model", footer=f"{exact_match(base, examples):.2f}")
    table.add_column("tuned model", footer=f"{exact_match(tuned, examples):.2f}")
    for index in _shown(len(examples)):
        example = examples[index]
        table.add_row(
            example.prompt,
            example.expected,
            _coloured(base[index], example),
            _coloured(tuned[index], example),
        )
    return table


def _shown(count: int) -> list[int]:
    """Return the indices of the rows to show."""
    return [number * count // _ROWS for number in range(_ROWS)] if count > _ROWS else [*range(count)]


def _coloured(answer: str, example: Example) -> str:
    text = " ".join(answer.split()).replace("[", "(")[:40]  # brackets would be read as markup
    return (
        f"[green]{text}[/green]" if normalise(answer) == normalise(example.expected) else f"[red]{text}[/red]"
    )
