"""What is to be said of an evaluation beside its verdict. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from ..contract.evaluation import EvaluationConfig
from ..scoring.report import CandidateReport, Unstable

_CUT = 0.1
"""Part of the answers that may end at the limit."""


def found(
    config: EvaluationConfig,
    candidates: Sequence[CandidateReport],
    *,
    rows: int,
    leaked: int,
    unstable: Unstable,
    ungraded: Mapping[str, int],
    general_rows: int = 0,
    general_ungraded: Mapping[str, int] = MappingProxyType({}),
) -> Iterator[str]:
    """Sentences, the weightiest first; ``ungraded`` counts questions by the judge's metric, of each set."""
    if leaked:
        yield (
            f"{leaked:,} of {rows:,} questions stand in the training rows as well: their scores say how well "
            "they were memorised."
        )
    limit = config.generation.max_tokens
    for each in candidates:
        if each.cut > _CUT * rows:
            yield (
                f"{each.cut:,} of {rows:,} answers of {each.name} ended at generation.maxTokens {limit}, and "
                "are scored as far as they go: raise it if answers may be as long."
            )
    yield from _left_out(ungraded, f"{rows:,} questions")
    yield from _left_out(general_ungraded, f"{general_rows:,} questions of gate.mustNotRegress")
    if unstable.differ:
        yield (
            f"{unstable.differ} of {unstable.asked} questions that the tuned model was asked twice were "
            "answered otherwise the second time: its answers depend on what the server computes beside, and "
            "so do scores."
        )


def _left_out(ungraded: Mapping[str, int], of: str) -> Iterator[str]:
    for metric, count in ungraded.items():
        yield f"{count:,} of {of} are left out of {metric}: its judge gave no grade for an answer to them."
