"""Scores the validation rows with the model as it is, on all ranks together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..data.sampler import Batching
from ..gang.peers import Peers
from ..gang.stop import StopFlag
from ..methods.method import Batch, Loss, Method
from ..sizing.looks import ValidationPlan
from .prepared_rows import Rows

Scorer = Callable[[Batch], Loss]
"""Runs the model on a batch that is not on its device yet."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Score:
    """Sums over some rows."""

    loss: float
    metrics: dict[str, float]
    """By the method's names."""
    weight: int
    rows: int

    @property
    def mean_loss(self) -> float:
        """Loss per unit of weight: a learned token, for SFT."""
        return self.loss / max(1, self.weight)

    @property
    def mean_metrics(self) -> dict[str, float]:
        """The same of the metrics."""
        return {name: total / max(1, self.weight) for name, total in self.metrics.items()}

    def __add__(self, other: Score) -> Score:
        return Score(
            loss=self.loss + other.loss,
            metrics={name: total + other.metrics[name] for name, total in self.metrics.items()},
            weight=self.weight + other.weight,
            rows=self.rows + other.rows,
        )


@dataclass(slots=True, frozen=True, kw_only=True)
class Evaluation:
    """The validation rows of one rank's attempt."""

    rows: Rows
    method: Method
    plan: ValidationPlan
    batching: Batching
    peers: Peers
    stop: StopFlag
    seed: int

    def score(self, scorer: Scorer, *, whole: bool) -> tuple[Score, Score | None] | None:
        """Score the sample, and if ``whole`` all rows.

        Every rank must call it. The ranks agree after each batch whether to stop, since scoring all rows may
        take longer than a pod's grace period: then it is None on all of them.
        """
        sample, rest = self.plan.split(self.seed)
        score = self._sum(sample, scorer)
        if score is None or not whole:
            return None if score is None else (score, None)
        others = self._sum(rest, scorer)
        return None if others is None else (score, score + others)

    def _sum(self, indices: Sequence[int], scorer: Scorer) -> Score | None:
        import torch

        names = ("loss", *self.method.metrics)
        sums = {name: torch.zeros((), dtype=torch.float64, device=self.peers.device) for name in names}
        weight = 0
        for part in self.batching.passes(indices, self.rows.lengths, self.peers.rank):
            batch = self.method.collate([self.rows[index] for index in part])
            weight += self.method.size([batch]).weight
            with torch.no_grad():
                found = scorer(batch)
            for name, value in {"loss": found.total, **found.metrics}.items():
                sums[name] += value
            if self.stop.agree(self.peers):
                return None
        told = self.peers.gather([weight, {name: value.item() for name, value in sums.items()}])
        totals = {name: sum(said[name] for _, said in told) for name in names}
        return Score(
            loss=totals.pop("loss"),
            metrics=totals,
            weight=sum(count for count, _ in told),
            rows=len(indices),
        )
