"""Cross entropy of an output layer whose logits are in memory for a chunk of positions at a time.

The gradient with respect to the logits, softmax minus one-hot, is known as soon as they are, so that forward
computes the gradients of its inputs at once, chunk by chunk, and backward only scales them. Nothing is
computed twice (Wijmans et al., "Cut Your Losses in Large-Vocabulary Language Models", 2024, compute more to
hold less). torch's own ``linear_cross_entropy`` tells no accuracies, which would need the logits once more.
"""

from __future__ import annotations

from typing import Any

import torch
from typing_extensions import override

from .chunks import chunk_bytes
from .logit_change import LogitChange


class ChunkedCrossEntropy(torch.autograd.Function):
    """Summed cross entropy in float32, and how many targets rank first.

    Arguments: hidden states [positions, hidden], weight [vocabulary, hidden], bias [vocabulary] or None,
    targets [positions], and the LogitChange of the model. Returns float32 of shape [2]; only the first, the
    loss, has a gradient.
    """

    @staticmethod
    @override
    def forward(ctx: Any, hidden: Any, weight: Any, bias: Any, targets: Any, change: LogitChange) -> Any:
        chunk = chunk_bytes(on_gpu=hidden.device.type != "cpu")
        rows = max(1, chunk // (4 * weight.shape[0]))
        needed = ctx.needs_input_grad
        grad_hidden = torch.empty_like(hidden) if needed[0] else None
        # The sum over chunks is taken in float32: in bfloat16 it would lose what late chunks add.
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if needed[1] else None
        grad_bias = torch.zeros_like(bias, dtype=torch.float32) if bias is not None and needed[2] else None
        found = torch.zeros(2, dtype=torch.float32, device=hidden.device)
        for start in range(0, len(targets), rows):
            part, labels = hidden[start : start + rows], targets[start : start + rows]
            logits = torch.nn.functional.linear(part, weight, bias).float()
            slope = _changed(logits, change)
            found[1] += (logits.argmax(-1) == labels).sum()
            at = labels.unsqueeze(1)
            correct = logits.gather(1, at)
            normaliser = logits.logsumexp(-1, keepdim=True)
            found[0] += (normaliser - correct).sum()
            if not any(needed):
                continue
            gradient = logits.sub_(normaliser).exp_()
            gradient.scatter_add_(1, at, -torch.ones_like(correct))
            if slope is not None:
                gradient.mul_(slope)
            narrow = gradient.to(weight.dtype)
            if grad_hidden is not None:
                torch.mm(narrow, weight, out=grad_hidden[start : start + rows])
            if grad_weight is not None:
                grad_weight += narrow.T @ part
            if grad_bias is not None:
                grad_bias += gradient.sum(0)
        ctx.save_for_backward(
            grad_hidden,
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None if grad_bias is None else grad_bias.to(bias.dtype),
        )
        return found

    @staticmethod
    @override
    def backward(ctx: Any, *gradients: Any) -> Any:
        scale = gradients[0][0]
        return (*(None if held is None else held * scale for held in ctx.saved_tensors), None, None)


def _changed(logits: Any, change: LogitChange) -> Any:
    """Change logits in their place; return the derivative by what they were, None where it is 1."""
    if change.scale != 1:
        logits.mul_(change.scale)
    if change.cap is None:
        return None if change.scale == 1 else change.scale
    logits.div_(change.cap).tanh_()
    slope = logits.square().neg_().add_(1).mul_(change.scale)
    logits.mul_(change.cap)
    return slope
