"""GPUs of a server from the model's size, by hand; and the refusals, each before a GPU is held."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kubetune_trainer.base.architecture import Architecture
from kubetune_trainer.contract.config import TrainerConfig
from kubetune_trainer.contract.errors import DoesNotFit, InvalidInput
from kubetune_trainer.sizing.serving import REST_BYTES, server_memory, serving_gpus
from tests.support.trainer_configs import trainer_config

GB = 1_000_000_000


def model(billions: float, *, layers: int = 80, context: int | None = 131_072, **text: Any) -> Architecture:
    """A model with the heads of Llama 3 70B, unless said otherwise."""
    shape = {"hidden_size": 8192, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 128}
    found = SimpleNamespace(num_hidden_layers=layers, **(shape | {"intermediate_size": 28_672} | text))
    return Architecture(
        name="LlamaForCausalLM",
        config=SimpleNamespace(get_text_config=lambda: found),
        parameters=round(billions * GB),
        context=context,
    )


def config(
    *, gpu: int | None, serving: dict[str, Any] | None = None, max_length: int = 1024
) -> TrainerConfig:
    return trainer_config(
        model="hf://acme/m",
        train="pvc://d/t.jsonl",
        dataset={"max_length": max_length},
        gpu_memory_bytes=None if gpu is None else gpu * GB,
        serving=serving,
    )


def test_memory_of_a_70b() -> None:
    needed = server_memory(model(70), tokens=1000)
    assert needed.weights == 140 * GB
    assert needed.cache == 2 * 2 * 80 * 8 * 128 * 1000  # keys and values, 2 bytes, 80 layers of 8 heads
    assert needed.on_each(4) == 35 * GB + needed.cache // 4 + REST_BYTES
    assert needed.on_each(16) == 140 * GB // 16 + needed.cache // 8 + REST_BYTES, "8 heads make 8 parts"


def test_one_latent_vector_stands_for_all_heads() -> None:
    latent = model(16, layers=27, kv_lora_rank=512, qk_rope_head_dim=64)
    needed = server_memory(latent, tokens=1000)
    assert (needed.cache, needed.cache_splits) == (2 * (512 + 64) * 27 * 1000, 1)


def test_towers_that_training_does_not_load_are_served() -> None:
    with_tower = Architecture(
        name="Gemma3ForConditionalGeneration",
        config=model(4).config,
        parameters=4 * GB,
        context=None,
        tensors={"language": (4000, 1_000_000), "vision": (500, 1_000_000)},
    )
    assert server_memory(with_tower, tokens=1).weights == 9 * GB


@pytest.mark.parametrize(
    ("billions", "gigabytes", "gpus"),
    [
        (8, 24, 1),  # 16 + 3 of 21.6
        (8, 16, 2),
        (70, 141, 2),  # 140 + 3 of 127
        (70, 80, 4),
        (70, 24, 8),
        (0.135, 24, 1),
    ],
)
def test_the_smallest_power_of_two_that_holds_the_model(billions: float, gigabytes: int, gpus: int) -> None:
    assert serving_gpus(config(gpu=gigabytes, serving={}), model(billions)) == gpus
    assert serving_gpus(config(gpu=gigabytes), model(billions)) == gpus, "also while no server is asked for"


def test_long_rows_and_a_smaller_share_take_more_gpus() -> None:
    eight, options = model(8, layers=32), {"max_model_len": 32_768}
    assert serving_gpus(config(gpu=24, serving={}), eight) == 1
    assert serving_gpus(config(gpu=24, serving=options), eight) == 2
    assert serving_gpus(config(gpu=24, serving={}, max_length=32_768), eight) == 2
    bounded = model(8, layers=32, context=2048)
    assert serving_gpus(config(gpu=24, serving={}, max_length=32_768), bounded) == 1
    assert serving_gpus(config(gpu=24, serving={"gpu_memory_utilization": "0.5"}), eight) == 2


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ({"num_attention_heads": 28, "num_key_value_heads": 4}, 4),
        ({"num_attention_heads": 12, "num_key_value_heads": 12}, 4),
        ({"num_attention_heads": 6, "num_key_value_heads": 6, "intermediate_size": 27_648}, 3),
        ({"num_attention_heads": 64, "num_key_value_heads": 2}, 4),  # each is on two GPUs
        ({"num_attention_heads": 12, "num_key_value_heads": 12, "intermediate_size": 27_654}, 3),
    ],
)
def test_what_is_split_divides_by_the_gpus(text: dict[str, Any], gpus: int) -> None:
    assert serving_gpus(config(gpu=80, serving={}), model(70, **text)) == gpus


@pytest.mark.parametrize(
    ("serving", "gpu", "text", "error", "sentence"),
    [
        (
            {"gpus": 3},
            80,
            {},
            InvalidInput,
            "spec.serving.gpus 3 do not share the model evenly: it has 64 attention heads, it has 8 "
            "key-value heads and its intermediate_size is 28672. Set it to 4, or leave it out.",
        ),
        ({"gpus": 3}, None, {}, InvalidInput, "Set it to 1, or leave it out."),
        (
            {"gpus": 16},
            80,
            {"num_attention_heads": 40},
            InvalidInput,
            "spec.serving.gpus 16 do not share the model evenly: it has 40 attention heads. Set it to 4",
        ),
        (
            {"gpus": 1},
            80,
            {},
            DoesNotFit,
            "spec.serving.gpus 1 is too few: 140 GB of weights in bfloat16, 0.3 GB for a row of 1,024 tokens "
            "and 3 GB beside them make 143 GB on each, of which a server may use 72 of 80 GB. Set it to 4.",
        ),
        ({"gpus": 8}, 16, {}, DoesNotFit, "Use GPUs with more memory."),
        (
            {},
            16,
            {},
            DoesNotFit,
            "spec.serving: no node of up to 8 GPUs holds a server of this model, which splits over 8 at most",
        ),
        ({}, 40, {"num_attention_heads": 2, "num_key_value_heads": 2}, DoesNotFit, "splits over 2 at most"),
    ],
)
def test_refusals(
    serving: dict[str, Any],
    gpu: int | None,
    text: dict[str, Any],
    error: type[InvalidInput],
    sentence: str,
) -> None:
    with pytest.raises(error) as raised:
        serving_gpus(config(gpu=gpu, serving=serving), model(70, **text))
    assert type(raised.value) is error
    assert sentence in str(raised.value)


def test_what_is_asked_for_and_will_do_is_taken() -> None:
    assert serving_gpus(config(gpu=80, serving={"gpus": 8}), model(70)) == 8
    assert serving_gpus(config(gpu=24, serving={"gpus": 16}), model(70)) == 16, "some nodes have more"
    assert serving_gpus(config(gpu=None, serving={"gpus": 2}), model(70)) == 2
    assert serving_gpus(config(gpu=16, serving={"gpus": 0}), model(70)) == 0, "on CPU"


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert serving_gpus(config(gpu=None, serving={}), model(70)) == 0
    assert serving_gpus(config(gpu=16), model(70)) == 0, "a job that only trains is not refused"
