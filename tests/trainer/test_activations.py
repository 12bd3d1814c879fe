"""What the estimate says that a layer keeps for backward is what autograd saves."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from dev.shapes import config_of
from kubetune_trainer.contract.config import AdapterConfig
from kubetune_trainer.loop.attempt import adapted
from kubetune_trainer.sizing.activations import layer_of

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # peft's
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

ROWS, TOKENS = 2, 64


def shape(kind: str, *, layers: int) -> dict[str, Any]:
    return {
        "model_type": kind,
        "hidden_size": 64,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "intermediate_size": 192,
        "vocab_size": 64,
        "max_position_embeddings": TOKENS,
        "tie_word_embeddings": False,
    }


def saved_bytes(kind: str, adapter: Literal["LoRA", "Full"], dtype: str, *, layers: int) -> int:
    """Of a forward pass, each storage once, and no weights."""
    import torch
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_config(
        config_of(shape(kind, layers=layers)), dtype=getattr(torch, dtype)
    )
    model = adapted(base, AdapterConfig(type=adapter, rank=1), dtype)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    found: dict[int, int] = {}
    kept = []  # else another tensor could get the place of one that is gone

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            found[storage.data_ptr()] = storage.nbytes()
            kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(input_ids=torch.zeros(ROWS, TOKENS, dtype=torch.long), use_cache=False)
    return sum(found.values())


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
@pytest.mark.parametrize("adapter", ["LoRA", "Full"])
@pytest.mark.parametrize(("dtype", "width"), [("float32", 4), ("bfloat16", 2)])
def test_a_layer_keeps_what_is_estimated(
    kind: str, adapter: Literal["LoRA", "Full"], dtype: str, width: int
) -> None:
    one, two = (saved_bytes(kind, adapter, dtype, layers=layers) for layers in (1, 2))
    layer = layer_of(config_of(shape(kind, layers=1)), full=adapter == "Full", half=width == 2)
    assert ROWS * TOKENS * width * layer.saved == pytest.approx(two - one, rel=0.08)
