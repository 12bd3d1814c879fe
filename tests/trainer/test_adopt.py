"""Adapters and models of other trainers are adopted, and answer as they were trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubetune_trainer.base.checkpoint import tensor_shapes
from tests.support import trained_elsewhere as elsewhere
from tests.support.prepare_runs import Prepare
from tests.support.tiny_model import make_tiny_of

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # peft's
]

PREFIX = "base_model.model."


def logits(base: Path, adapter: Path | None = None) -> Any:
    """What a model answers to a few tokens, in float32."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    with torch.no_grad():
        return model.eval()(torch.arange(16)[None]).logits


LAYOUTS: dict[str, Callable[[Path, Path], Path]] = {
    "TRL": elsewhere.trl,
    "axolotl": elsewhere.axolotl,
    "LLaMA-Factory": elsewhere.llama_factory,
    "Unsloth": elsewhere.unsloth,
    "Tinker": elsewhere.tinker,
}


@pytest.mark.parametrize("trainer", LAYOUTS)
def test_folders_of_other_trainers_are_adopted_and_answer_as_they_were_trained(
    trainer: str, base: Path, tmp_path: Path, prepare: Prepare
) -> None:
    import torch

    folder = LAYOUTS[trainer](base, tmp_path / "adapter")
    prepared = prepare(model=base, adopt=folder)
    artifact = prepared.summary.artifact
    assert artifact is not None
    assert (artifact.type, artifact.rank, artifact.warnings) == ("LoRA", 4, ())
    assert artifact.path == prepared.run.relative(prepared.run.adapter)
    ours, theirs, plain = logits(base, prepared.run.adapter), logits(base, folder), logits(base)
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert not torch.allclose(ours, plain, atol=1e-2)
    names = {name.removesuffix(".weight") for name in tensor_shapes(base, "base")}
    adopted = {
        key.removeprefix(PREFIX).rsplit(".", 2)[0] for key in elsewhere.tensors_of(prepared.run.adapter)
    }
    assert adopted <= names


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of arguments that TRL sets itself
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_trainer_of_trl_leaves_what_is_adopted(base: Path, tmp_path: Path, prepare: Prepare) -> None:
    trl = pytest.importorskip("trl")
    from datasets import Dataset
    from peft import LoraConfig

    rows = [{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Red"}]}] * 8
    folder = tmp_path / "out"
    settings = trl.SFTConfig(
        output_dir=str(folder), max_steps=2, save_steps=1, learning_rate=0.1, report_to=[], use_cpu=True
    )
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = trl.SFTTrainer(
        str(base), args=settings, train_dataset=Dataset.from_list(rows), peft_config=lora
    )
    trainer.train()
    trainer.save_model()
    prepared = prepare(model=base, adopt=folder)
    assert prepared.summary.artifact is not None
    assert prepared.summary.artifact.warnings == ()
    assert prepare(model=base, adopt=folder / "checkpoint-1", name="of-a-checkpoint").code == 0


def test_a_full_model_is_adopted_with_its_shards(base: Path, tmp_path: Path, prepare: Prepare) -> None:
    import torch

    folder = elsewhere.full(base, tmp_path / "full", max_shard_size="200KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    prepared = prepare(model=base, adopt=folder)
    artifact = prepared.summary.artifact
    assert artifact is not None
    assert (artifact.type, artifact.rank, artifact.chat_content) == ("Full", None, "string")
    assert torch.equal(logits(prepared.run.model), logits(folder))


def test_a_full_model_without_tokenizer_gets_that_of_the_base(
    base: Path, tmp_path: Path, prepare: Prepare
) -> None:
    folder = elsewhere.full(base, tmp_path / "full")
    for path in folder.glob("*token*"):
        path.unlink()
    prepared = prepare(model=base, adopt=folder)
    assert prepared.summary.artifact is not None
    assert (prepared.run.model / "tokenizer.json").exists()


def test_names_of_wrappers_and_of_another_prefix_are_put_right(
    base: Path, tmp_path: Path, prepare: Prepare
) -> None:
    import torch

    plain = elsewhere.lora(base, tmp_path / "plain")
    folder = tmp_path / "wrapped"
    shutil.copytree(plain, folder)
    renamed = {
        name.replace(f"{PREFIX}model.", f"{PREFIX}language_model.model._fsdp_wrapped_module.").replace(
            ".weight", ".default.weight"
        ): tensor
        for name, tensor in elsewhere.tensors_of(folder).items()
    }
    elsewhere.change_tensors(folder, renamed)
    prepared = prepare(model=base, adopt=folder)
    assert elsewhere.tensors_of(prepared.run.adapter).keys() == elsewhere.tensors_of(plain).keys()
    assert torch.allclose(logits(base, prepared.run.adapter), logits(base, plain), atol=1e-5)


@pytest.mark.parametrize("rslora", [False, True])
def test_modules_with_a_rank_and_alpha_of_their_own_become_an_adapter_of_one(
    rslora: bool, base: Path, tmp_path: Path, prepare: Prepare
) -> None:
    import torch

    patterns = {"rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 8}, "alpha_pattern": {"v_proj": 3}}
    folder = elsewhere.lora(base, tmp_path / "adapter", use_rslora=rslora, **patterns)
    prepared = prepare(model=base, adopt=folder)
    assert prepared.summary.artifact is not None
    assert prepared.summary.artifact.rank == 8
    settings = json.loads((prepared.run.adapter / "adapter_config.json").read_text())
    told = {name: settings[name] for name in ("r", "use_rslora", "rank_pattern", "alpha_pattern")}
    assert told == {"r": 8, "use_rslora": False, "rank_pattern": {}, "alpha_pattern": {}}
    ranks = {min(tensor.shape) for tensor in elsewhere.tensors_of(prepared.run.adapter).values()}
    assert ranks == {8}
    assert torch.allclose(logits(base, prepared.run.adapter), logits(base, folder), atol=1e-5)


def test_tensors_of_several_types_become_one(base: Path, tmp_path: Path, prepare: Prepare) -> None:
    import torch

    folder = elsewhere.lora(base, tmp_path / "adapter")
    weights = elsewhere.tensors_of(folder)
    elsewhere.change_tensors(
        folder, {name: t.bfloat16() if "lora_A" in name else t for name, t in weights.items()}
    )
    prepared = prepare(model=base, adopt=folder)
    assert {t.dtype for t in elsewhere.tensors_of(prepared.run.adapter).values()} == {torch.float32}


@pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys:RuntimeWarning")  # peft's own
def test_experts_with_twice_the_rank_are_published_one_by_one_with_their_effect(
    tmp_path: Path, prepare: Prepare
) -> None:
    import torch

    base = make_tiny_of("mixtral", tmp_path / "mixtral")
    folder = elsewhere.lora(
        base,
        tmp_path / "adapter",
        target_modules=["q_proj", "v_proj"],
        target_parameters=["gate_up_proj", "down_proj"],
        rank_pattern={r".*\.gate_up_proj": 8},  # as PEFT itself does for all-linear
        alpha_pattern={r".*\.gate_up_proj": 16},
    )
    prepared = prepare(model=base, adopt=folder)
    assert prepared.summary.artifact is not None
    assert prepared.summary.artifact.rank == 8
    assert torch.allclose(logits(base, prepared.run.adapter), logits(base, folder), atol=1e-4)
    assert not torch.allclose(logits(base, folder), logits(base), atol=1e-2)


FAMILIES = {
    "gemma3": "language_model.model.layers.0.self_attn.q_proj",
    "qwen3_5": "model.language_model.layers.0.linear_attn.in_proj_qkv",
    "llama4": "language_model.model.layers.1.feed_forward.shared_expert.up_proj",
    "mixtral": "model.layers.1.block_sparse_moe.experts.3.w3",
}
"""A module of each family that is adapted, as its checkpoint calls it."""

TARGETS: dict[str, dict[str, Any]] = {
    "gemma3": {"target_modules": "all-linear"},  # the vision tower too, which text does not train
    "qwen3_5": {"target_modules": ["in_proj_qkv", "q_proj", "up_proj"]},
    "llama4": {"target_modules": ["o_proj", "up_proj"]},
    "mixtral": {"target_modules": ["q_proj", "v_proj"], "target_parameters": ["gate_up_proj", "down_proj"]},
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_names_that_transformers_gives_become_those_of_the_files(
    family: str, tmp_path: Path, prepare: Prepare
) -> None:
    base = make_tiny_of(family, tmp_path / family)
    folder = elsewhere.lora(base, tmp_path / "adapter", **TARGETS[family])
    prepared = prepare(model=base, adopt=folder)
    assert prepared.code == 0, prepared.message.message
    names = {name.removesuffix(".weight") for name in tensor_shapes(base, "base")}
    adopted = {
        key.removeprefix(PREFIX).rsplit(".", 2)[0] for key in elsewhere.tensors_of(prepared.run.adapter)
    }
    assert FAMILIES[family] in adopted
    assert adopted <= names
    assert not any("vision" in name for name in adopted)
