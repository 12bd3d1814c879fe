"""A training method that is none of the project's: it learns every token, whatever its label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812 - its customary name

from kubetune_trainer.methods.method import Batch, Loss, Row, Size


class EveryToken:
    """Cross entropy of all tokens; it tells the mean probability that the model gave them."""

    metrics: ClassVar[tuple[str, ...]] = ("mean_probability",)
    filler: ClassVar[Row] = {"input_ids": [0]}

    def __init__(self, model: Any) -> None:
        pass

    def collate(self, rows: Sequence[Row]) -> Batch:
        """Tokens of each row, with -1 after its end."""
        lines = [torch.tensor(row["input_ids"], dtype=torch.int64) for row in rows]
        return {"lines": torch.nn.utils.rnn.pad_sequence(lines, batch_first=True, padding_value=-1)}

    def size(self, batches: Sequence[Batch]) -> Size:
        """All tokens but the first of each row."""
        return Size(
            weight=sum(int((batch["lines"][:, 1:] >= 0).sum()) for batch in batches),
            tokens=sum(int((batch["lines"] >= 0).sum()) for batch in batches),
        )

    def loss(self, model: Any, batch: Batch) -> Loss:
        """Sums over all tokens."""
        lines = batch["lines"]
        logits = model(input_ids=lines.clamp(min=0), use_cache=False).logits[:, :-1].float()
        losses = F.cross_entropy(logits.transpose(1, 2), lines[:, 1:], reduction="none", ignore_index=-1)
        probabilities = torch.exp(-losses.detach())[lines[:, 1:] >= 0]
        return Loss(total=losses.sum(), metrics={"mean_probability": probabilities.sum()})

    @staticmethod
    def head_bytes(tokens: int, text: Any, *, on_gpu: bool) -> int:
        """As for any head."""
        whole: int = 10 * tokens * text.vocab_size
        return whole
