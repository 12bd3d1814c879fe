"""Whether a server answers as training measured: a decision over log-probabilities, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final, Literal

State = Literal["Same", "Mismatch", "Unproven"]


@dataclass(frozen=True)
class Question:
    """One token after a prompt, and its log-probability (nats) as training measured it in float32."""

    prompt: tuple[int, ...]
    token: int
    base: float
    tuned: float


@dataclass(frozen=True)
class Record:
    """What training left beside the weights: ``canary.json``."""

    architecture: str
    questions: tuple[Question, ...]
    rounded: bool = False
    """The base was trained in another dtype than it is stored in, and served from."""


@dataclass(frozen=True)
class Distance:
    """How far two rows of log-probabilities are apart, or may be."""

    median: float
    largest: float

    def within(self, tolerated: Distance) -> bool:
        """Whether it is no more than that."""
        return self.median <= tolerated.median and self.largest <= tolerated.largest

    @property
    def said(self) -> str:
        """In words."""
        return f"{self.largest:.4g} at most, {self.median:.4g} in the median"


TOLERATED: Final[Mapping[str, Distance]] = {
    "float32": Distance(median=1e-3, largest=1e-3),
    "float": Distance(median=1e-3, largest=1e-3),
}
"""By the server's dtype: engines in float32 differ by 5e-5."""

TOLERATED_ROUNDED: Final = Distance(median=0.01, largest=0.5)
"""Of all others, and where the dtype is not known: bfloat16 alone makes up to 0.4."""

_MIXTURES: Final = ("moe", "mixtral", "deepseekv", "gptoss", "dbrx", "jamba", "llama4", "arctic", "grok")
"""In names of architectures whose experts an adapter's arithmetic may have chosen otherwise."""


@dataclass(frozen=True)
class Verdict:
    """What is to be said of a server; distances are absent where they were not measured."""

    verdict: State
    message: str
    tuned: Distance | None = None
    """Of the served model to what training measured of it."""
    base: Distance | None = None
    """Of the served base to what training measured of it."""
    learned: Distance | None = None
    """Of tuned model and base, as training measured both."""

    def manifest(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def decide(record: Record, *, dtype: str, tuned: Sequence[float], base: Sequence[float] | None) -> Verdict:
    """Judge log-probabilities that a server gave, in the order of the record's questions.

    ``base`` is None where the server has no base beside the model.
    """
    tolerated = TOLERATED_ROUNDED if record.rounded else TOLERATED.get(dtype, TOLERATED_ROUNDED)
    known = [question.tuned for question in record.questions]
    known_base = [question.base for question in record.questions]
    learned = _between(known, known_base)
    off = _between(tuned, known)
    base_off = None if base is None else _between(base, known_base)
    number = len(known)

    def say(verdict: State, message: str) -> Verdict:
        return Verdict(verdict, message, tuned=_finite(off), base=_finite(base_off), learned=learned)

    def off_by(distance: Distance) -> str:
        return f"{number} answers are {distance.said} off what training measured"

    if not all(map(math.isfinite, (*tuned, *(base or ())))):
        return say("Mismatch", "The server answers with probabilities that are no numbers.")
    if base is not None and not learned.within(tolerated):
        moved = _between(tuned, base)
        # Where little was learned both distances are noise: the nearer one counts.
        if moved.within(tolerated) and sum(_apart(tuned, base)) < sum(_apart(tuned, known)):
            text = f"Its {number} answers and the base's are {moved.said} apart; training measured"
            return say("Mismatch", f"The adapter has no effect. {text} {learned.said}.")
    may_be = f"may be {tolerated.said}"
    if base_off is not None and not base_off.within(tolerated):
        text = f"The base model's {off_by(base_off)}, and {may_be}"
        if _is_mixture(record.architecture):
            why = f"an adapter alone can do that to experts. The tuned model's are {off.said} off"
            return say("Unproven", f"{text}: {why}.")
        return say("Mismatch", f"{text}: it is not the base that was trained on.")
    if not off.within(tolerated):
        return say("Mismatch", f"The served model's {off_by(off)}, and {may_be}.")
    if learned.within(tolerated):
        text = f"Training changed its {number} answers by {learned.said}: servers may differ by as much"
        return say("Unproven", f"{text} ({tolerated.said}).")
    return say("Same", f"Its {off_by(off)}; the base's, as trained on, are {learned.said} off its own.")


def _is_mixture(architecture: str) -> bool:
    return any(sign in architecture.lower() for sign in _MIXTURES)


def _apart(some: Sequence[float], others: Sequence[float]) -> list[float]:
    return [abs(one - other) for one, other in zip(some, others, strict=True)]


def _between(some: Sequence[float], others: Sequence[float]) -> Distance:
    apart = _apart(some, others)
    return Distance(median=median(apart), largest=max(apart))


def _finite(distance: Distance | None) -> Distance | None:
    """JSON has no other numbers."""
    known = distance is not None and math.isfinite(distance.median) and math.isfinite(distance.largest)
    return distance if known else None
