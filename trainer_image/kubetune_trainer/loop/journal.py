"""What rank 0 tells the world about each step: the files on the volume and the numbers on the port."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field

from ..gang.nccl_debug import NcclDebug
from .evaluation import Score
from .guards import SpeedGuard
from .progress import Reports
from .records import Records
from .volume_room import VolumeRoom

logger = logging.getLogger(__name__)


@dataclass(slots=True, frozen=True, kw_only=True)
class Journal:
    """Writes to both, so that they always agree."""

    reports: Reports
    records: Records
    room: VolumeRoom
    nccl: NcclDebug | None = None
    """None where NCCL is not used."""
    speed: SpeedGuard = field(default_factory=SpeedGuard)

    def stepped(self, *, tokens: int, seconds: float, values: dict[str, float], diverges: str | None) -> None:
        """One optimizer step is done; ``diverges`` says how learning does, if it does."""
        if self.nccl is not None and (transport := self.nccl.transport()) is not None:
            self.reports.connected(transport)
        self.room.look()
        step = int(values["step"])
        slow = self.speed.observe(step, tokens / max(seconds, 1e-9))
        for kind, sentence in (("divergence", diverges), ("speed", slow)):
            if self.reports.warn(kind, sentence):
                logger.warning("%s", sentence)
        speed = self.reports.stepped(tokens=tokens, seconds=seconds, values=values)
        self.records.add(**values, tokens=tokens, tokens_per_second=speed, seconds=round(seconds, 4))
        logger.info(
            "step %d of %d: loss %.4f, %d tokens per second",
            step,
            self.reports.progress.total_steps,
            values["loss"],
            speed,
        )

    def evaluated(self, *, step: int, sample: Score, full: Score | None, seconds: float) -> None:
        """Validation rows were scored: the sample, and at some steps all of them."""
        values = _named("validation", sample)
        if full is not None:
            values |= _named("full_validation", full)
        scored = full or sample
        self.reports.evaluated(
            loss=sample.mean_loss,
            full_loss=full.mean_loss if full else None,
            seconds_per_row=seconds / scored.rows,
        )
        self.records.add(step=step, **values)
        self.records.save()
        logger.info(
            "%s: validation loss %.4f, perplexity %.2f, on %d rows in %.2f seconds",
            f"step {step}" if step else "base model",
            scored.mean_loss,
            math.exp(min(scored.mean_loss, 50.0)),
            scored.rows,
            seconds,
        )

    def saved(self, *, step: int, seconds: float, size: int) -> None:
        """A checkpoint is published."""
        self.reports.saved(step=step, seconds=seconds)
        self.room.look(changed=True)
        self.records.save()
        logger.info("step %d: checkpoint of %d bytes in %.2f seconds", step, size, seconds)


def _named(prefix: str, score: Score) -> dict[str, float]:
    values = {"loss": score.mean_loss, **score.mean_metrics}
    return {f"{prefix}_{name}": value for name, value in values.items()}
