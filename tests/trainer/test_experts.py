"""Mixtures of experts: what is adapted, under which names, and what prepare says of the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubetune_trainer.base.adapters import add_lora, lora_modules
from kubetune_trainer.base.architecture import Architecture, inspect, trainable
from kubetune_trainer.base.stored_names import adapter_names
from kubetune_trainer.contract.config import AdapterConfig
from kubetune_trainer.contract.errors import InvalidInput
from tests.support.tiny_model import make_tiny_of

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),  # of the libraries
    pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys:RuntimeWarning"),  # peft's own
]

URI = "hf://org/tiny"
SIZES = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "num_experts_per_tok": 2,
}
SPARSE = {"moe_intermediate_size": 32}


def _gpt_oss() -> Any:
    from transformers import GptOssConfig, GptOssForCausalLM

    return GptOssForCausalLM(GptOssConfig(**SIZES, head_dim=32, num_local_experts=4))


def _qwen3_moe() -> Any:
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    return Qwen3MoeForCausalLM(Qwen3MoeConfig(**SIZES, **SPARSE, head_dim=32, num_experts=4))


def _deepseek_v3() -> Any:
    """The first layer is dense, the second has experts and a shared one."""
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    groups = {"n_routed_experts": 4, "n_group": 2, "topk_group": 1, "first_k_dense_replace": 1}
    ranks = {"q_lora_rank": 16, "kv_lora_rank": 16}
    heads = {"qk_rope_head_dim": 16, "qk_nope_head_dim": 16, "v_head_dim": 16}
    return DeepseekV3ForCausalLM(DeepseekV3Config(**SIZES, **SPARSE, **groups, **ranks, **heads))


MADE: dict[str, Callable[[], Any]] = {
    "deepseek_v3": _deepseek_v3,
    "gpt_oss": _gpt_oss,
    "qwen3_moe": _qwen3_moe,
}
"""Families that ``make_tiny_of`` does not know."""

ATTENTION = ("k_proj", "o_proj", "q_proj", "v_proj")
LATENT = ("kv_a_proj_with_mqa", "kv_b_proj", "o_proj", "q_a_proj", "q_b_proj")
MLP = ("down_proj", "gate_proj", "up_proj")
LEFT = ("fused tensors, which all-linear leaves out", "all-linear leaves out")

ADAPTED: dict[str, tuple[set[str], set[str], tuple[str, ...]]] = {
    "mixtral": (
        {f"self_attn.{name}" for name in ATTENTION},
        {f"block_sparse_moe.experts.*.{name}" for name in ("w1", "w2", "w3")},
        (),
    ),
    "qwen3_moe": (
        {f"self_attn.{name}" for name in ATTENTION},
        {f"mlp.experts.*.{name}" for name in MLP},
        (),
    ),
    "deepseek_v3": (
        {f"self_attn.{name}" for name in LATENT},
        {f"mlp.experts.*.{name}" for name in MLP},
        LEFT[1:],
    ),
    "gpt_oss": ({f"self_attn.{name}" for name in ATTENTION}, set(), LEFT[:1]),
    "qwen2_moe": (
        {f"self_attn.{name}" for name in ATTENTION} | {f"mlp.shared_expert.{name}" for name in MLP},
        set(),
        LEFT[:1],
    ),
    "llama4": (
        {"self_attn.o_proj", "self_attn.v_proj"}
        | {f"feed_forward.{name}" for name in MLP}
        | {f"feed_forward.shared_expert.{name}" for name in MLP},
        set(),
        LEFT,
    ),
}
"""By family: the linear layers and the experts that all-linear adapts, by their names in the checkpoint from
the layer on, and what the warnings say of the rest."""

ROUTERS = {
    "deepseek_v3": "gate",
    "gpt_oss": "router",
    "llama4": "router",
    "mixtral": "gate",
    "qwen2_moe": "shared_expert_gate",
    "qwen3_moe": "gate",
}


@pytest.fixture(scope="module", params=sorted(ADAPTED))
def found(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Architecture]:
    family, path = request.param, tmp_path_factory.mktemp(request.param)
    if family in MADE:
        MADE[family]().save_pretrained(path)
    else:
        make_tiny_of(family, path)
    return family, inspect(path, URI)


def published(architecture: Architecture, adapter: AdapterConfig) -> set[str]:
    """Modules of the published adapter from the layer on, with a star for the number of an expert."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = add_lora(AutoModelForCausalLM.from_config(architecture.config), adapter)
    assert not [name for name in lora_modules(model) if name.endswith(("gate", "router"))]
    names = {piece.name for pieces in adapter_names(model, architecture.tensors).values() for piece in pieces}
    assert all(name.startswith("base_model.model.") for name in names)
    modules = {name.partition(".layers.")[2].partition(".")[2].rpartition(".lora_")[0] for name in names}
    return {".".join("*" if part.isdigit() else part for part in name.split(".")) for name in modules}


def test_all_linear_adapts_what_servers_find_in_the_checkpoint(found: tuple[str, Architecture]) -> None:
    family, architecture = found
    linear, experts, said = ADAPTED[family]
    assert published(architecture, AdapterConfig(rank=4)) == linear | experts
    warnings = trainable(architecture, AdapterConfig(rank=4), URI).warnings
    assert len(warnings) == len(said)
    assert all(part in warning for part, warning in zip(said, warnings, strict=True))


def test_a_router_is_refused_by_name(found: tuple[str, Architecture]) -> None:
    family, architecture = found
    targets = ("v_proj" if family != "deepseek_v3" else "o_proj", ROUTERS[family])
    with pytest.raises(InvalidInput, match=f"targetModules: {ROUTERS[family]} choose or weigh experts"):
        trainable(architecture, AdapterConfig(rank=4, target_modules=targets), URI)


def test_experts_that_a_4_bit_base_keeps_in_16_bits_are_named(found: tuple[str, Architecture]) -> None:
    _, architecture = found
    plain = trainable(architecture, AdapterConfig(rank=4), URI).warnings
    warnings = trainable(architecture, AdapterConfig(type="QLoRA", rank=4), URI).warnings
    (added,) = set(warnings) - set(plain)
    assert len(warnings) == len(plain) + 1
    assert "stay in 16 bits: adapter.type QLoRA quantises linear layers only" in added
    assert ".experts.gate_up_proj" in added
