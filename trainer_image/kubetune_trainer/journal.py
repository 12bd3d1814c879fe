"""What rank 0 tells the world about each step: the files on the volume and the numbers on the port."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

from .progress import Reports
from .records import Records

logger = logging.getLogger(__name__)


@dataclass(slots=True, frozen=True, kw_only=True)
class Journal:
    """Writes to both, so that they always agree."""

    reports: Reports
    records: Records

    def stepped(self, *, tokens: int, seconds: float, values: dict[str, float]) -> None:
        """One optimizer step is done."""
        speed = self.reports.stepped(tokens=tokens, seconds=seconds, values=values)
        self.records.add(**values, tokens=tokens, tokens_per_second=speed, seconds=round(seconds, 4))
        logger.info(
            "step %d of %d: loss %.4f, %d tokens per second",
            values["step"],
            self.reports.progress.total_steps,
            values["loss"],
            speed,
        )

    def evaluated(self, *, step: int, loss: float, accuracy: float) -> None:
        """The validation rows were scored."""
        self.reports.evaluated(loss)
        self.records.add(step=step, validation_loss=loss, validation_mean_token_accuracy=accuracy)
        self.records.save()
        logger.info("step %d: validation loss %.4f, perplexity %.2f", step, loss, math.exp(min(loss, 50.0)))

    def saved(self, *, step: int, seconds: float, size: int) -> None:
        """A checkpoint is published."""
        self.reports.saved(step=step, seconds=seconds)
        self.records.save()
        logger.info("step %d: checkpoint of %d bytes in %.2f seconds", step, size, seconds)
