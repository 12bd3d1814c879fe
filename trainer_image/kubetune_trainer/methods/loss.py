"""The token loss: cross entropy at the learned positions only, without logits for any other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class LearnedPositions:
    """Lets the output layer see only the hidden states that the loss needs.

    A hook in front of the layer selects them, so that it works with every architecture, with LoRA on the
    layer and with ZeRO-3, whose own hooks gather the weights. The numbers are those of the full logits,
    up to rounding."""

    def __init__(self, model: Any) -> None:
        self._positions: torch.Tensor | None = None
        model.get_output_embeddings().register_forward_pre_hook(self._select)

    def logits(self, model: Any, batch: dict[str, Any]) -> torch.Tensor:
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

    def _select(self, _: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self._positions is None:
            return None
        hidden = arguments[0]
        return (hidden.flatten(0, 1).index_select(0, self._positions).unsqueeze(0), *arguments[1:])


def summed_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross entropy, summed: dividing by the tokens of the whole global batch is the caller's."""
    import torch.nn.functional as F  # noqa: N812 - its customary name

    return F.cross_entropy(logits, targets, reduction="sum")
