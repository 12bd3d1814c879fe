"""Lets a model's output layer compute a loss in the place of logits.

It happens within the layer's own forward: ZeRO-3 gathers the weights there, and nowhere else.
"""

from __future__ import annotations

from typing import Any

import torch

from .chunked_loss import ChunkedCrossEntropy
from .logit_change import PROBE, LogitChange, change_of


class OutputLayer:
    """The output layer of a model, at the positions that are asked for."""

    def __init__(self, model: Any) -> None:
        self._layer = model.get_output_embeddings()
        self._forward = self._layer.forward
        self._layer.forward = self._answer
        self._positions: torch.Tensor | None = None
        self._targets: torch.Tensor | None = None
        self._probing = False
        self._change: LogitChange | None = None
        # A layer with matrices of an adapter beside it computes more than a product.
        self._is_known: bool | None = None if type(self._layer) is torch.nn.Linear else False

    def logits(self, model: Any, inputs: dict[str, Any], positions: torch.Tensor) -> torch.Tensor:
        """Run the model; logits [positions, vocabulary] in float32."""
        self._positions = positions
        try:
            output = model(**inputs, use_cache=False)
        finally:
            self._positions = None
        logits: torch.Tensor = output.logits.squeeze(0).float()
        return logits

    def loss(
        self, model: Any, inputs: dict[str, Any], positions: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """Run the model; [summed cross entropy, how many targets rank first] in float32."""
        if not self._makes_logits_in_a_known_way(model, inputs):
            logits = self.logits(model, inputs, positions)
            total = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
            return torch.stack([total, (logits.detach().argmax(-1) == targets).sum().float()])
        answers: list[torch.Tensor] = []
        # What the model makes of the answer is not wanted. The hook comes after those of ZeRO-3, which let
        # backward find the weights gathered.
        hook = self._layer.register_forward_hook(lambda _, inputs, output: answers.append(output))
        self._targets = targets
        try:
            self.logits(model, inputs, positions)
        finally:
            self._targets = None
            hook.remove()
        return answers[0].flatten()

    def _makes_logits_in_a_known_way(self, model: Any, inputs: dict[str, Any]) -> bool:
        """Whether it is known how the model changes logits. All ranks ask the first time, with one token."""
        if self._is_known is None:
            first = {name: value[:1, :1] for name, value in inputs.items()}
            self._probing, was_training = True, model.training
            try:
                with torch.no_grad():
                    model.eval()  # routers and dropout draw nothing
                    found = model(**first, use_cache=False).logits.flatten()
            finally:
                self._probing = False
                model.train(was_training)
            self._change = change_of(found.tolist())
            self._is_known = self._change is not None
        return self._is_known

    def _answer(self, hidden: torch.Tensor) -> torch.Tensor:
        if self._probing:
            return torch.tensor([[PROBE]], device=hidden.device)
        if self._positions is not None:
            hidden = hidden.flatten(0, 1).index_select(0, self._positions).unsqueeze(0)
        if self._targets is None:
            logits: torch.Tensor = self._forward(hidden)
            return logits
        weight, bias = self._layer.weight, self._layer.bias
        if not torch.is_grad_enabled():  # a Function is told of gradients that nobody will ask for
            weight, bias = weight.detach(), None if bias is None else bias.detach()
        apply: Any = ChunkedCrossEntropy.apply
        both: torch.Tensor = apply(hidden.squeeze(0), weight, bias, self._targets, self._change)
        return both.view(1, 1, 2)
