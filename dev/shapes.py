"""Shapes of well-known models as transformers configurations: sizes alone, so that nothing is downloaded."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from typing import Any, Final

from kubetune_trainer.base.architecture import Architecture, trainable
from kubetune_trainer.contract.config import AdapterConfig

_QWEN3: Final = {
    "model_type": "qwen3",
    "vocab_size": 151_936,
    "head_dim": 128,
    "num_key_value_heads": 8,
    "max_position_embeddings": 40_960,
}
_LLAMA3: Final = {
    "model_type": "llama",
    "vocab_size": 128_256,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131_072,
}


def _qwen3(hidden: int, layers: int, heads: int, intermediate: int, *, tied: bool) -> dict[str, Any]:
    return _QWEN3 | _sizes(hidden, layers, heads, intermediate) | {"tie_word_embeddings": tied}


def _llama3(hidden: int, layers: int, heads: int, intermediate: int) -> dict[str, Any]:
    return _LLAMA3 | _sizes(hidden, layers, heads, intermediate) | {"tie_word_embeddings": False}


def _sizes(hidden: int, layers: int, heads: int, intermediate: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": intermediate,
    }


SHAPES: Final[Mapping[str, Mapping[str, Any]]] = {
    "Qwen3-0.6B": _qwen3(1024, 28, 16, 3072, tied=True),
    "Qwen3-1.7B": _qwen3(2048, 28, 16, 6144, tied=True),
    "Qwen3-4B": _qwen3(2560, 36, 32, 9728, tied=True),
    "Qwen3-8B": _qwen3(4096, 36, 32, 12_288, tied=False),
    "Llama-3.1-8B": _llama3(4096, 32, 32, 14_336),
    "Qwen3-14B": _qwen3(5120, 40, 40, 17_408, tied=False),
    "Qwen3-32B": _qwen3(5120, 64, 64, 25_600, tied=False),
    "Llama-3.3-70B": _llama3(8192, 80, 64, 28_672),
}
"""``config.json`` of each, as far as sizes go."""


def config_of(shape: Mapping[str, Any]) -> Any:
    """The transformers configuration of a shape."""
    from transformers import AutoConfig

    sizes = {name: value for name, value in shape.items() if name != "model_type"}
    return AutoConfig.for_model(shape["model_type"], **sizes)


def architecture_of(shape: Mapping[str, Any]) -> Architecture:
    """What prepare would find in a repository with this configuration.

    Layers are alike, so that two models tell the size of any: building 80 layers takes seconds."""
    one, two = (_model(shape, layers=layers) for layers in (1, 2))
    sizes = [sum(parameter.numel() for parameter in model.parameters()) for model in (one, two)]
    return Architecture(
        name=type(one).__name__,
        config=config_of(shape),
        parameters=sizes[0] + (shape["num_hidden_layers"] - 1) * (sizes[1] - sizes[0]),
        context=shape["max_position_embeddings"],
    )


def trained_by_lora(shape: Mapping[str, Any], *, rank: int = 16) -> int:
    """Weights of adapters of all linear layers."""
    one = Architecture(
        name="", config=config_of({**shape, "num_hidden_layers": 1}), parameters=0, context=None
    )
    adapter = AdapterConfig(type="LoRA", rank=rank)
    # It warns of a package that it does without.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers under an old name
        of_layer = trainable(one, adapter, shape["model_type"]).parameters
    return of_layer * int(shape["num_hidden_layers"])


def _model(shape: Mapping[str, Any], *, layers: int) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config_of({**shape, "num_hidden_layers": layers}))
