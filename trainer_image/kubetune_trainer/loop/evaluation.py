"""Scores the validation rows with the model as it is, on all ranks together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..data.sampler import Batching, evaluation_batches
from ..gang.peers import Peers
from ..gang.stop import StopFlag
from ..sizing.looks import ValidationPlan
from .batches import Rows, collate

if TYPE_CHECKING:
    import torch

Scorer = Callable[[dict[str, Any]], "tuple[torch.Tensor, torch.Tensor]"]
"""Summed loss, and number of learned tokens that rank first, of a batch."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Score:
    """Sums over the learned tokens of some rows."""

    loss: float
    correct: int
    learned: int
    rows: int

    @property
    def mean_loss(self) -> float:
        """Loss per learned token."""
        return self.loss / max(1, self.learned)

    @property
    def accuracy(self) -> float:
        """Share of learned tokens that rank first."""
        return self.correct / max(1, self.learned)

    def __add__(self, other: Score) -> Score:
        return Score(
            loss=self.loss + other.loss,
            correct=self.correct + other.correct,
            learned=self.learned + other.learned,
            rows=self.rows + other.rows,
        )


@dataclass(slots=True, frozen=True, kw_only=True)
class Evaluation:
    """The validation rows of one rank's attempt."""

    rows: Rows
    plan: ValidationPlan
    batching: Batching
    peers: Peers
    stop: StopFlag
    seed: int

    def score(self, step: int, scorer: Scorer) -> tuple[Score, Score | None] | None:
        """Score the sample, and at some steps all rows.

        Every rank must call it. The ranks agree after each batch whether to stop, since scoring all rows may
        take longer than a pod's grace period: then it is None on all of them.
        """
        sample, rest = self.plan.split(self.seed)
        score = self._sum(sample, scorer)
        if score is None or not self.plan.scores_all(step):
            return None if score is None else (score, None)
        others = self._sum(rest, scorer)
        return None if others is None else (score, score + others)

    def _sum(self, indices: Sequence[int], scorer: Scorer) -> Score | None:
        import torch

        device = self.peers.device
        loss = torch.zeros((), dtype=torch.float64, device=device)
        correct = torch.zeros((), dtype=torch.int64, device=device)
        learned = 0
        for part in evaluation_batches(self.rows.lengths, indices, self.batching, rank=self.peers.rank):
            batch = collate([self.rows[index] for index in part])
            learned += len(batch["targets"])
            with torch.no_grad():
                batch_loss, batch_correct = scorer(batch)
            loss += batch_loss
            correct += batch_correct
            if self.stop.agree(self.peers):
                return None
        sums = self.peers.gather((loss.item(), int(correct), learned))
        losses, corrects, counts = zip(*sums, strict=True)
        return Score(loss=sum(losses), correct=sum(corrects), learned=sum(counts), rows=len(indices))
