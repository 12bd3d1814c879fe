"""What a decoder layer keeps for backward, per token: arithmetic over its configuration, without torch.

Counted are the tensors that autograd saves (``torch.autograd.graph.saved_tensors_hooks``) in Llama and Qwen3
of transformers 5: inputs of linear layers, of norms and of products, once each. There is no attention matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_NORMED_HEADS = ("qwen3", "gemma3", "olmo2", "olmo3", "smollm3", "gemma4")
"""Beginnings of the ``model_type`` of families that normalise queries and keys."""
_BACKWARD_COPIES = 3
"""Gradients of the feed-forward part that are held at once."""
_END_COPIES = 6
"""Of the last hidden states: of the last norm, the learned positions, and their gradient, twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Numbers per token."""

    saved: int
    """From forward to backward, in one layer."""
    backward: int
    """While one layer goes backward, and at the end of the model."""


def layer_of(text: Any, *, full: bool, half: bool) -> Layer:
    """A layer by its configuration; ``full`` trains its own weights, ``half`` has 2 bytes a number.

    Norms compute in float32: with ``half`` they keep a copy of what comes in. Where their weight is
    trained, they also keep what they multiply it by.
    """
    hidden = text.hidden_size
    heads = getattr(text, "num_attention_heads", None) or 1
    head = getattr(text, "head_dim", None) or hidden // heads
    attended = head * (heads + (getattr(text, "num_key_value_heads", None) or heads))
    norm = 1 + full + half
    normed = norm * attended if str(getattr(text, "model_type", "")).startswith(_NORMED_HEADS) else 0
    wide = _feed_forward(text)
    return Layer(
        saved=2 * (1 + norm) * hidden + 2 * attended + normed + 4 * wide,
        backward=_BACKWARD_COPIES * wide + _END_COPIES * hidden,
    )


def _feed_forward(text: Any) -> int:
    """Width of the feed-forward part; of experts that of all that a token goes through."""
    wide: int = getattr(text, "intermediate_size", None) or 4 * text.hidden_size
    chosen = getattr(text, "num_experts_per_tok", None)
    of_expert = getattr(text, "moe_intermediate_size", None)
    if not chosen:
        return wide
    shared: int = getattr(text, "shared_expert_intermediate_size", None) or 0
    return chosen * (of_expert or wide) + shared
