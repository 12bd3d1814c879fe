"""GPUs that one vLLM server of the result needs, said and checked before training: arithmetic, without torch.

A server loads the full base in bfloat16, also of an adapter that was trained beside 4-bit weights, and splits
it by attention heads (tensor parallelism). Whatever it splits into must divide evenly: vLLM does not start
otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..base.architecture import Architecture
from ..contract.config import TrainerConfig
from ..contract.errors import DoesNotFit, InvalidInput, name_list
from .gpus import memory_bytes

MOST_GPUS = 8
"""GPUs of the nodes that there are to rent; a server is one pod, and does not span nodes."""

SHARE = 0.9
"""Of a GPU's memory that vLLM takes (--gpu-memory-utilization), unless the spec says otherwise."""

REST_BYTES = 3_000_000_000
"""Of each GPU beside weights and cache: the CUDA context and graphs, activations of 8,192 tokens, logits of
256 sequences, adapter, NCCL's buffers. An assumption, to be careful: no server was measured on a GPU."""

_WIDTH = 2
"""Bytes of a weight and of a number in the cache: bfloat16."""

_POWERS = (1, 2, 4, 8)
_OTHERS = (3, 5, 6, 7)
"""Only where no power of two will do: they leave an odd rest of a node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMemory:
    """What a server needs, in bytes, over all its GPUs."""

    weights: int
    cache: int
    """Keys and values of one row of the longest."""
    cache_splits: int
    """Into how many parts the cache divides: on more GPUs than that its parts are there several times."""

    def on_each(self, gpus: int) -> int:
        """Bytes on each of so many GPUs."""
        return self.weights // gpus + self.cache // min(gpus, self.cache_splits) + REST_BYTES


def server_memory(architecture: Architecture, *, tokens: int) -> ServerMemory:
    """Memory of a server that holds one row of so many tokens."""
    text = architecture.config.get_text_config()
    stored = sum(math.prod(shape) for shape in architecture.tensors.values())
    if latent := _values(text, "kv_lora_rank"):  # one latent vector for all heads
        per_token, splits = max(latent) + max(_values(text, "qk_rope_head_dim"), default=0), 1
    else:
        splits = max(_key_value_heads(text))
        per_token = 2 * splits * _head_size(text)
    return ServerMemory(
        # The checkpoint has towers for images too, which training does not load, but a server on GPUs does.
        weights=_WIDTH * max(architecture.parameters, stored),
        cache=_WIDTH * per_token * text.num_hidden_layers * tokens,
        cache_splits=splits,
    )


def serving_gpus(config: TrainerConfig, architecture: Architecture) -> int:
    """GPUs of one server: those that the spec asks for, else the fewest that hold the model.

    0 where nobody says how much memory they have, or no number up to 8 will do and no server is asked for.

    Raises:
        InvalidInput: the model does not split evenly over spec.serving.gpus.
        DoesNotFit: spec.serving.gpus are too few, or no node has enough of them.
    """
    serving, limit = config.serving, memory_bytes(config)
    text = architecture.config.get_text_config()
    given = serving.gpus if serving else None
    if given == 0:
        return 0
    longest = (serving and serving.max_model_len) or config.dataset.max_length
    tokens = min(longest, architecture.context or longest)
    share = float(serving.gpu_memory_utilization) if serving and serving.gpu_memory_utilization else SHARE
    needed = server_memory(architecture, tokens=tokens)
    dividing = [gpus for gpus in (*_POWERS, *_OTHERS) if not _undivided(text, gpus)]
    fitting = [gpus for gpus in dividing if limit is None or needed.on_each(gpus) <= share * limit]
    if given is not None:
        _require_divided(text, given, fitting or dividing)
        if limit is not None and needed.on_each(given) > share * limit:
            use = f"Set it to {fitting[0]}" if fitting else "Use GPUs with more memory"
            raise DoesNotFit(
                f"spec.serving.gpus {given} is too few: {_needs(needed, given, tokens, share, limit)}. {use}."
            )
        return given
    if limit is None:
        return 0
    if serving is not None and not fitting:
        most = max(dividing)
        raise DoesNotFit(
            f"spec.serving: no node of up to {MOST_GPUS} GPUs holds a server of this model, which splits "
            f"over {most} at most: {_needs(needed, most, tokens, share, limit)}. Remove spec.serving to "
            "train only, use a smaller model or GPUs with more memory."
        )
    return fitting[0] if fitting else 0


def _needs(needed: ServerMemory, gpus: int, tokens: int, share: float, limit: int) -> str:
    weights, cache = needed.weights / 1e9, needed.cache / 1e9
    each = f"{needed.on_each(gpus) / 1e9:.0f} GB on each"
    return (
        f"{weights:.0f} GB of weights in bfloat16, {cache:.1f} GB for a row of {tokens:,} tokens and "
        f"{REST_BYTES / 1e9:.0f} GB beside them make {each}, of which a server may use "
        f"{share * limit / 1e9:.0f} of {limit / 1e9:.0f} GB"
    )


def _require_divided(text: Any, gpus: int, better: list[int]) -> None:
    if undivided := _undivided(text, gpus):
        raise InvalidInput(
            f"spec.serving.gpus {gpus} do not share the model evenly: {name_list(undivided)}. "
            f"Set it to {better[0]}, or leave it out."
        )


def _undivided(text: Any, gpus: int) -> list[str]:
    """What does not split evenly, as vLLM counts it: key-value heads are copied where there are fewer."""
    found = [
        f"it has {heads} attention heads" for heads in _values(text, "num_attention_heads") if heads % gpus
    ]
    found += [
        f"it has {pairs} key-value heads" for pairs in _key_value_heads(text) if pairs % gpus and gpus % pairs
    ]
    for field in ("intermediate_size", "moe_intermediate_size"):
        found += [f"its {field} is {width}" for width in _values(text, field) if width % gpus]
    return found


def _key_value_heads(text: Any) -> list[int]:
    return _values(text, "num_key_value_heads") or _values(text, "num_attention_heads") or [1]


def _head_size(text: Any) -> int:
    """Of the largest head."""
    given, hidden = _values(text, "head_dim"), max(_values(text, "hidden_size"), default=0)
    return max(given) if given else hidden // max([1, *_values(text, "num_attention_heads")])


def _values(text: Any, field: str) -> list[int]:
    """A size of the model, or all that it has where layers differ; none where it has no such field."""
    try:
        found = [getattr(text, field, None)]
    except Exception:  # transformers refuses to give one value for layers that differ
        found = [getattr(layer, field, None) for layer in text.per_layer_config]
    flat = [size for value in found for size in (value if isinstance(value, list | tuple) else [value])]
    return sorted({size for size in flat if isinstance(size, int) and size > 0})
