"""Supervised fine-tuning: cross entropy of each learned token, and of no other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from .method import Batch, Loss, Row, Size

if TYPE_CHECKING:
    import torch

IGNORED = -100
"""Label of a token that is not learned."""

_LOGIT_BYTES = 10  # logits at 2 bytes, their float32 copy and its gradient


class SFT:
    """Rows have ``input_ids`` and as many ``labels``, which are IGNORED or the token itself.

    The loss is computed at the learned positions and nowhere else: the output layer is the largest matrix of
    a small model, and most tokens of a chat are not learned. A hook in front of that layer selects their
    hidden states, so that it works with every architecture, with LoRA on the layer and with ZeRO-3, whose own
    hooks gather the weights. The numbers are those of the full logits, up to rounding.
    """

    metrics: ClassVar[tuple[str, ...]] = ("mean_token_accuracy",)
    filler: ClassVar[Row] = {"input_ids": [0], "labels": [IGNORED]}

    def __init__(self, model: Any) -> None:
        self._positions: torch.Tensor | None = None
        model.get_output_embeddings().register_forward_pre_hook(self._select)

    def collate(self, rows: Sequence[Row]) -> Batch:
        """Pad rows on the right, and list the positions whose next token is learned, with that token.

        ``positions`` and ``targets`` have one dimension, and count over the flattened batch."""
        import torch

        width = max(len(row["input_ids"]) for row in rows)
        input_ids = torch.zeros(len(rows), width, dtype=torch.int64)  # padding is masked: any token will do
        attention_mask = torch.zeros_like(input_ids)
        labels = torch.full_like(input_ids, IGNORED)
        for index, row in enumerate(rows):
            length = len(row["input_ids"])
            input_ids[index, :length] = torch.tensor(row["input_ids"])
            attention_mask[index, :length] = 1
            labels[index, : length - 1] = torch.tensor(row["labels"][1:], dtype=torch.int64)
        flat = labels.flatten()
        positions = torch.nonzero(flat != IGNORED).squeeze(1)
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "positions": positions,
            "targets": flat[positions],
        }

    def size(self, batches: Sequence[Batch]) -> Size:
        """Learned tokens are what counts."""
        return Size(
            weight=sum(len(batch["targets"]) for batch in batches),
            tokens=sum(int(batch["attention_mask"].sum()) for batch in batches),
        )

    def loss(self, model: Any, batch: Batch) -> Loss:
        """Summed cross entropy, and how many learned tokens rank first."""
        import torch
        import torch.nn.functional as F  # noqa: N812 - its customary name

        logits, targets = self.logits(model, batch), batch["targets"]
        with torch.no_grad():
            correct = (logits.argmax(-1) == targets).sum()
        total = F.cross_entropy(logits, targets, reduction="sum")
        return Loss(total=total, metrics={"mean_token_accuracy": correct})

    def logits(self, model: Any, batch: Batch) -> torch.Tensor:
        """Run the model and return logits of shape [positions, vocabulary] in float32."""
        self._positions = batch["positions"]
        try:
            output = model(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
            )
        finally:
            self._positions = None
        logits: torch.Tensor = output.logits.squeeze(0).float()
        return logits

    @staticmethod
    def head_bytes(tokens: int, vocabulary: int) -> int:
        """Logits of all tokens: any row may be learned whole."""
        return _LOGIT_BYTES * tokens * vocabulary

    def _select(self, _: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self._positions is None:
            return None
        hidden = arguments[0]
        return (hidden.flatten(0, 1).index_select(0, self._positions).unsqueeze(0), *arguments[1:])
