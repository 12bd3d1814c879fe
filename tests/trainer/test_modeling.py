"""The loss is that of the full logits, targets are what was asked for, and experts are not forgotten."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from kubetune_trainer.contract.config import AdapterConfig
from kubetune_trainer.contract.errors import InvalidInput, ModelUnavailable
from kubetune_trainer.methods.method import Size
from kubetune_trainer.methods.sft import IGNORED, SFT
from tests.support.tiny_model import make_tiny_model
from tests.support.training_runs import make_rows

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),  # of the libraries
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"))


def load(path: Path) -> Any:
    import torch

    from kubetune_trainer.base.load import load_base

    return load_base(path, torch.float32)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": True}, "bfloat16"),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": False}, "float32"),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": False, "amx_bf16": False}, "float32"),
        ({"cpu_name": "AMD EPYC", "avx512_bf16": True, "amx_bf16": False}, "bfloat16"),
        ({"cpu_name": "AMD EPYC", "avx512_bf16": False}, "float32"),
        ({"bf16": True}, "bfloat16"),
        ({}, "float32"),
    ],
)
def test_a_processor_trains_in_the_type_that_it_is_faster_in(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, Any], expected: str
) -> None:
    import torch

    from kubetune_trainer.base.load import preferred_dtype

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert preferred_dtype(torch.device("cpu")) == getattr(torch, expected)


def test_the_loss_is_the_one_of_the_full_logits(path: Path) -> None:
    import torch

    rows = make_rows(6)
    width = max(len(row["labels"]) for row in rows)
    labels = torch.tensor([row["labels"] + [IGNORED] * (width - len(row["labels"])) for row in rows])
    model = load(path)
    method = SFT(model)
    batch = method.collate(rows)
    full = model(input_ids=batch["input_ids"], labels=labels).loss
    full.backward()
    expected = model.model.embed_tokens.weight.grad.clone()

    model.zero_grad()
    logits = method.logits(model, batch)
    loss = method.loss(model, batch).total / method.size([batch]).weight
    loss.backward()
    assert logits.shape == (int((labels[:, 1:] != IGNORED).sum()), model.config.vocab_size)
    torch.testing.assert_close(loss, full)
    torch.testing.assert_close(model.model.embed_tokens.weight.grad, expected, rtol=1e-4, atol=1e-6)


def test_a_filler_has_no_loss_and_no_gradient(path: Path) -> None:
    model = load(path)
    method = SFT(model)
    batch = method.collate([method.filler])
    assert method.size([batch]) == Size(weight=0, tokens=1)
    loss = method.loss(model, batch).total
    loss.backward()
    assert loss.item() == 0
    assert all(not parameter.grad.any() for parameter in model.parameters() if parameter.grad is not None)


def test_the_first_token_is_never_predicted_and_padding_not_counted(path: Path) -> None:
    method = SFT(load(path))
    batch = method.collate([{"input_ids": [5, 6, 7], "labels": [5, 6, 7]}, {"input_ids": [8], "labels": [8]}])
    assert batch["targets"].tolist() == [6, 7]
    assert batch["positions"].tolist() == [0, 1]
    assert method.size([batch, batch]) == Size(weight=4, tokens=8)


def test_all_linear_leaves_the_output_layer_alone(path: Path) -> None:
    from kubetune_trainer.base.adapters import add_lora, lora_modules, trainable_parameters

    model = add_lora(load(path), AdapterConfig(rank=4))
    modules = lora_modules(model)
    assert len(modules) == 2 * 7
    assert all(".layers." in name for name in modules)
    per_layer = 64 * 4 + 64 * 4 + 2 * (64 + 32) * 4 + 2 * 64 * 4 + 3 * (64 + 128) * 4
    assert trainable_parameters(model) == 2 * (per_layer - 64 * 4 - 64 * 4 + 2 * 64 * 4)


def test_frozen_weights_stay_out_of_checkpoints(path: Path) -> None:
    from kubetune_trainer.base.adapters import add_lora

    model = add_lora(load(path), AdapterConfig(rank=4))
    assert all(".lora_" in name for name in model.state_dict())


@pytest.mark.parametrize("targets", [("q_proj", "w_proj"), ("w_proj",)])
def test_a_target_that_fits_nothing_is_refused(path: Path, targets: tuple[str, ...]) -> None:
    from kubetune_trainer.base.adapters import add_lora

    with pytest.raises(InvalidInput, match=r"targetModules.*w_proj"):
        add_lora(load(path), AdapterConfig(rank=4, target_modules=targets))


@pytest.mark.filterwarnings("ignore:Model has .tie_word_embeddings=True")  # PEFT's, which we refuse
@pytest.mark.parametrize("target", ["embed_tokens", "lm_head"])
def test_a_target_that_no_server_adapts_is_refused(path: Path, target: str) -> None:
    from kubetune_trainer.base.adapters import add_lora

    with pytest.raises(InvalidInput, match=rf"targetModules: .*{target} hold the token embeddings"):
        add_lora(load(path), AdapterConfig(rank=4, target_modules=("q_proj", target)))


def test_an_output_layer_of_its_own_is_adapted(tmp_path: Path) -> None:
    from kubetune_trainer.base.adapters import add_lora, lora_modules

    model = load(make_tiny_model(tmp_path, tie_word_embeddings=False))
    assert "lm_head" in lora_modules(add_lora(model, AdapterConfig(rank=4, target_modules=("lm_head",))))


def test_a_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        load(tmp_path)


def test_a_model_that_the_volume_does_not_give_is_tried_again(path: Path, tmp_path: Path) -> None:
    broken = tmp_path / "model"
    shutil.copytree(path, broken)
    (broken / "config.json").unlink()
    (broken / "config.json").symlink_to("/proc/self/mem")  # every read fails with EIO
    with pytest.raises(OSError, match="Input/output error"):
        load(broken)


@pytest.mark.filterwarnings("ignore:The following .*_pattern keys:RuntimeWarning")  # PEFT's own patterns
def test_experts_that_stay_untrained_are_named() -> None:
    from transformers import MixtralConfig, MixtralForCausalLM

    from kubetune_trainer.base.adapters import add_lora, untrained_experts

    config = MixtralConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_local_experts=2,
    )
    attention = AdapterConfig(rank=4, target_modules=("q_proj", "v_proj"))
    assert untrained_experts(add_lora(MixtralForCausalLM(config), attention)) == [
        "model.layers.0.mlp.experts.gate_up_proj",
        "model.layers.0.mlp.experts.down_proj",
    ]
    assert untrained_experts(add_lora(MixtralForCausalLM(config), AdapterConfig(rank=4))) == []
