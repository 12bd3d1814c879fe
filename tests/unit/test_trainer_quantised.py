"""Quantised repositories: known by their own files, and refused with the name of the one to take."""

from __future__ import annotations

from typing import Any

import pytest

from kubetune_trainer.base.checkpoint import Stored
from kubetune_trainer.base.quantised import quantisation, require_plain, require_plain_tensors
from kubetune_trainer.contract.errors import ModelUnavailable

PUBLISHED: dict[str, tuple[dict[str, Any], str, str]] = {
    "hf://Qwen/Qwen3-8B-FP8": (
        {
            "activation_scheme": "dynamic",
            "fmt": "e4m3",
            "quant_method": "fp8",
            "weight_block_size": [128, 128],
        },
        "fp8",
        "probably hf://Qwen/Qwen3-8B.",
    ),
    "hf://Qwen/Qwen2.5-7B-Instruct-AWQ": (
        {"bits": 4, "group_size": 128, "quant_method": "awq", "version": "gemm", "zero_point": True},
        "awq, 4 bits",
        "probably hf://Qwen/Qwen2.5-7B-Instruct.",
    ),
    "hf://Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4@main": (
        {"bits": 4, "group_size": 128, "desc_act": False, "quant_method": "gptq", "sym": True},
        "gptq, 4 bits",
        "probably hf://Qwen/Qwen2.5-7B-Instruct.",
    ),
    "hf://unsloth/Llama-3.2-1B-Instruct-bnb-4bit": (
        {
            "_load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "load_in_4bit": True,
            "quant_method": "bitsandbytes",
        },
        "bitsandbytes, 4 bits",
        "probably hf://unsloth/Llama-3.2-1B-Instruct.",
    ),
    "hf://unsloth/Qwen3-14B-unsloth-bnb-4bit": (
        {"load_in_4bit": True, "llm_int8_skip_modules": ["lm_head"], "quant_method": "bitsandbytes"},
        "bitsandbytes, 4 bits",
        "probably hf://unsloth/Qwen3-14B.",
    ),
    "hf://acme/phi-int8": (
        {"load_in_8bit": True, "llm_int8_threshold": 6.0, "quant_method": "bitsandbytes"},
        "bitsandbytes, 8 bits",
        "probably hf://acme/phi.",
    ),
    "hf://openai/gpt-oss-20b": (
        {"modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"], "quant_method": "mxfp4"},
        "mxfp4",
        "Use hf://unsloth/gpt-oss-20b-BF16, which has",
    ),
    "hf://unsloth/gpt-oss-120b-unsloth-bnb-4bit": (
        {"load_in_4bit": True, "quant_method": "bitsandbytes"},
        "bitsandbytes, 4 bits",
        "Use hf://unsloth/gpt-oss-120b-BF16, which has",
    ),
    "hf://unsloth/gpt-oss-20b": (
        {"modules_to_not_convert": ["lm_head"], "quant_method": "mxfp4"},
        "mxfp4",
        "Use hf://unsloth/gpt-oss-20b-BF16, which has",
    ),
    "hf://meta-llama/Llama-3.1-405B-Instruct-FP8": (
        {"activation_scale_ub": 1200.0, "modules_to_not_convert": ["lm_head"], "quant_method": "fbgemm_fp8"},
        "fbgemm_fp8",
        "probably hf://meta-llama/Llama-3.1-405B-Instruct.",
    ),
    "hf://RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16": (
        {"config_groups": {}, "format": "pack-quantized", "quant_method": "compressed-tensors"},
        "compressed-tensors, pack-quantized",
        "probably called Meta-Llama-3.1-8B-Instruct at its makers'",
    ),
    "hf://RedHatAI/Qwen3-8B-FP8-dynamic": (
        {"config_groups": {}, "format": "float-quantized", "quant_method": "compressed-tensors"},
        "compressed-tensors, float-quantized",
        "probably called Qwen3-8B at its makers'",
    ),
    "hf://nvidia/Llama-3.3-70B-Instruct-NVFP4": (
        {"producer": {"name": "modelopt"}, "quant_algo": "NVFP4", "quant_method": "modelopt"},
        "modelopt, NVFP4",
        "probably called Llama-3.3-70B-Instruct at its makers'",
    ),
    "hf://mlx-community/Qwen3-8B-4bit": (
        {"bits": 4, "group_size": 64},
        "mlx, 4 bits",
        "probably called Qwen3-8B at its makers'",
    ),
    "hf://deepseek-ai/DeepSeek-R1": (
        {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8"},
        "fp8",
        "whose name often ends with -BF16.",
    ),
    "pvc://models/llama-awq": (
        {"quant_method": "awq"},
        "awq",
        "Use the 16-bit weights that it was made from.",
    ),
}
"""Repositories, what their config.json says, the format, and what is to be taken."""


@pytest.mark.parametrize("uri", PUBLISHED)
def test_the_format_and_the_repository_to_take_are_named(uri: str) -> None:
    said, found, instead = PUBLISHED[uri]
    with pytest.raises(ModelUnavailable) as caught:
        require_plain(uri, {"model_type": "llama", "quantization_config": said})
    assert caught.value.message.startswith(f"spec.model.uri: {uri} is quantised ({found}). Use ")
    assert instead in caught.value.message


def test_quantisation_is_found_wherever_it_is_said() -> None:
    fp8 = {"quant_method": "fp8"}
    assert quantisation({"text_config": {"quantization_config": fp8}}) == "fp8"
    assert (
        quantisation({"compression_config": {"quant_method": "compressed-tensors"}}) == "compressed-tensors"
    )
    assert quantisation({"quantization": {"group_size": 64, "bits": 4}}) == "mlx, 4 bits"
    assert quantisation({"quantization_config": "fp8"}) == "an unknown format"
    assert quantisation({"quantization_config": {"kind": 3}}) == "unknown format"
    exported = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8"}}
    assert quantisation({"model_type": "llama"}, exported) == "modelopt, FP8"


@pytest.mark.parametrize("config", [{}, {"quantization_config": None}, {"quantization_config": {}}])
def test_plain_weights_are_taken(config: dict[str, Any]) -> None:
    assert quantisation(config) is None
    require_plain("hf://google/gemma-3-12b-it-qat-q4_0-unquantized", config)


def test_types_of_tensors_tell_what_no_file_says() -> None:
    plain = {"a": Stored("BF16", (4, 4)), "b": Stored("I64", (1, 4)), "c": Stored("U8", (4,))}
    mask = {"gpt_neox.layers.0.attention.bias": Stored("U8", (1, 1, 2048, 2048))}
    require_plain_tensors("hf://EleutherAI/pythia-160m", {**plain, **mask})
    for kind in ("F8_E4M3", "U8", "I32", "F4"):
        with pytest.raises(ModelUnavailable, match=rf"hf://acme/m is quantised \(d has the type {kind}\)"):
            require_plain_tensors("hf://acme/m", {**plain, "d": Stored(kind, (4, 4))})
