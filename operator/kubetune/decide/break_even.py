"""After how many requests a fine-tune has paid for itself, against a base with examples in its prompt. Pure.

Measured on the very server that answers: what it saves is the server's time per request.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from kubetune_trainer.contract.evaluation import TUNED, CandidateSummary, EvaluateSummary

from ..spec.prices import Prices

_WITH_EXAMPLES: Final = ("FewShot", "Retrieval")


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a job has taken so far."""

    gpu_seconds: int
    pod_seconds: int


def break_even(
    found: EvaluateSummary, taken: Taken, prices: Prices | None, *, server_gpus: int
) -> int | None:
    """Return the number of requests; None where none is saved, or one cannot be weighed with the other.

    By cost where there are prices, else by GPU-seconds, or by pod-seconds where no GPU was used at all.
    """
    saved = _seconds_saved(found)
    if saved is None or saved <= 0:
        return None
    spent: Decimal
    if prices is not None and (prices.gpu_hour or prices.pod_hour):
        spent = prices.gpu_hour * taken.gpu_seconds + prices.pod_hour * taken.pod_seconds
        per_request = saved * (prices.gpu_hour * server_gpus + prices.pod_hour)
    elif taken.gpu_seconds and server_gpus:
        spent, per_request = Decimal(taken.gpu_seconds), saved * server_gpus
    elif not taken.gpu_seconds and not server_gpus:
        spent, per_request = Decimal(taken.pod_seconds), saved
    else:
        return None
    return math.ceil(spent / per_request) if per_request else None


def _seconds_saved(found: EvaluateSummary) -> Decimal | None:
    """Seconds of the server that the tuned model takes less than the best baseline with examples."""
    candidates = {candidate.name: candidate for candidate in found.candidates}
    others = [candidates[name] for name in _WITH_EXAMPLES if name in candidates]
    if TUNED not in candidates or not others:
        return None
    best = max(others, key=lambda candidate: Decimal(candidate.score))
    return _seconds(best) - _seconds(candidates[TUNED])


def _seconds(candidate: CandidateSummary) -> Decimal:
    return Decimal(candidate.seconds_per_request)
