"""Supervised fine-tuning: cross entropy of each learned token, and of no other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from .chunks import chunk_bytes
from .method import Batch, Loss, Row, Size

if TYPE_CHECKING:
    import torch

IGNORED = -100
"""Label of a token that is not learned."""

_LOGIT_BYTES = 12  # in the model's type and in float32, with a gradient of each
_CHUNK_COPIES = 4  # logits, what is computed from them, a cap's slope, the gradient in the weights' type


class SFT:
    """Rows have ``input_ids`` and as many ``labels``, which are IGNORED or the token itself.

    The loss is computed at the learned positions and nowhere else: the output layer is the largest matrix of
    a small model, and most tokens of a chat are not learned. The numbers are those of the full logits, up to
    rounding.

    There is no attention mask. Rows are padded on the right and models are causal, so that no token of a row
    sees padding; a mask would only keep transformers from the fast kernels of attention.
    """

    metrics: ClassVar[tuple[str, ...]] = ("mean_token_accuracy",)
    filler: ClassVar[Row] = {"input_ids": [0], "labels": [IGNORED]}

    def __init__(self, model: Any) -> None:
        from .output_layer import OutputLayer

        self._output = OutputLayer(model)

    def collate(self, rows: Sequence[Row]) -> Batch:
        """Pad rows on the right, and list the positions whose next token is learned, with that token.

        ``positions`` and ``targets`` have one dimension, and count over the flattened batch."""
        import torch

        lengths = [len(row["input_ids"]) for row in rows]
        input_ids = torch.zeros(len(rows), max(lengths), dtype=torch.int64)  # any token will do as padding
        labels = torch.full_like(input_ids, IGNORED)
        for index, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            input_ids[index, :length] = torch.tensor(row["input_ids"])
            labels[index, : length - 1] = torch.tensor(row["labels"][1:], dtype=torch.int64)
        flat = labels.flatten()
        positions = torch.nonzero(flat != IGNORED).squeeze(1)
        return {
            "input_ids": input_ids,
            "positions": positions,
            "targets": flat[positions],
            "tokens": torch.tensor(sum(lengths)),
        }

    def size(self, batches: Sequence[Batch]) -> Size:
        """Learned tokens are what counts."""
        return Size(
            weight=sum(len(batch["targets"]) for batch in batches),
            tokens=sum(int(batch["tokens"]) for batch in batches),
        )

    def loss(self, model: Any, batch: Batch) -> Loss:
        """Summed cross entropy, and how many learned tokens rank first."""
        found = self._output.loss(
            model, {"input_ids": batch["input_ids"]}, batch["positions"], batch["targets"]
        )
        return Loss(total=found[0], metrics={"mean_token_accuracy": found[1].detach()})

    def logits(self, model: Any, batch: Batch) -> torch.Tensor:
        """Run the model and return logits of shape [positions, vocabulary] in float32."""
        return self._output.logits(model, {"input_ids": batch["input_ids"]}, batch["positions"])

    @staticmethod
    def head_bytes(tokens: int, text: Any, *, on_gpu: bool) -> int:
        """Any row may be learned whole."""
        whole: int = _LOGIT_BYTES * tokens * text.vocab_size
        return min(whole, _CHUNK_COPIES * chunk_bytes(on_gpu=on_gpu))
