"""What a model is, from its configuration and headers: sizes, and every kind of model that is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kubetune_trainer.base.architecture import inspect, trainable
from kubetune_trainer.base.digest import content_digest, directory_digest, require_unchanged
from kubetune_trainer.base.fetch import fetch_model
from kubetune_trainer.contract.config import AdapterConfig, ModelSource
from kubetune_trainer.contract.errors import InvalidInput, ModelUnavailable, VolumeUnusable
from kubetune_trainer.contract.messages import ModelSummary
from tests.support.tiny_model import make_tiny_model, make_tiny_of
from tests.support.trainer_configs import trainer_config

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # peft's
]

URI = "pvc://models/tiny"


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def tiny(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "tiny"))


def configure(path: Path, **fields: Any) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **fields}))


def test_sizes_are_read_without_loading_weights(tiny: Path) -> None:
    found = inspect(tiny, URI)
    assert (found.name, found.parameters, found.context) == ("LlamaForCausalLM", 91_648, 2048)


def test_full_fine_tune_trains_everything(tiny: Path) -> None:
    assert trainable(inspect(tiny, URI), AdapterConfig(type="Full"), URI).parameters == 91_648


def test_lora_trains_what_its_targets_say(tiny: Path) -> None:
    adapter = AdapterConfig(rank=4, alpha=8, target_modules=("q_proj", "v_proj"))
    # Per layer: q 64 -> 64 and v 64 -> 32, rank 4.
    assert trainable(inspect(tiny, URI), adapter, URI).parameters == 2 * 4 * (64 + 64 + 64 + 32)


@pytest.mark.parametrize("targets", [("query",), ("q_proj", "query")])
def test_target_that_matches_nothing_is_refused(tiny: Path, targets: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput, match=r"targetModules.*query"):
        trainable(inspect(tiny, URI), AdapterConfig(target_modules=targets), URI)


def remote_code(path: Path) -> None:
    configure(path, model_type="own", auto_map={"AutoModelForCausalLM": "modeling_own.Own"})


def cut_off(path: Path) -> None:
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def named_shard(path: Path, name: str) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": name}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))


def eight_bits(path: Path) -> None:
    """As of an older ModelOpt repository without its file: 8-bit floats that no configuration tells of."""
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(path / "model.safetensors")
    save_file(
        {name: value.to(torch.float8_e4m3fn) for name, value in weights.items()}, path / "model.safetensors"
    )


def lost_shard(path: Path) -> None:
    named_shard(path, "model-2.safetensors")


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "code from the repository": (remote_code, "needs code from its repository (auto_map in config.json)"),
    "an unknown architecture": (
        lambda path: configure(path, model_type="own", architectures=["OwnForCausalLM"]),
        "has the architecture OwnForCausalLM (model_type own), which is no text-generation model",
    ),
    "a model that generates no text": (
        lambda path: configure(path, model_type="vit", architectures=["ViTModel"]),
        "has the architecture ViTModel (model_type vit), which is no text-generation model",
    ),
    "quantised weights": (
        lambda path: configure(path, quantization_config={"quant_method": "gptq", "bits": 4}),
        "is quantised (gptq, 4 bits). Use the 16-bit weights",
    ),
    "quantised weights that say so in a file of their own": (
        lambda path: (path / "hf_quant_config.json").write_text('{"quantization": {"quant_algo": "FP8"}}'),
        "is quantised (modelopt, FP8). Use the 16-bit weights",
    ),
    "quantised weights that do not say so": (
        eight_bits,
        "is quantised (model.embed_tokens.weight has the type F8_E4M3). Use the 16-bit weights",
    ),
    "a model of images whose text model is not loaded by itself": (
        lambda path: configure(
            path, model_type="qwen2_5_vl", architectures=["Qwen2_5_VLForConditionalGeneration"]
        ),
        "is a model of images and text (Qwen2_5_VLForConditionalGeneration), and the text model of this",
    ),
    "sizes that do not fit together": (
        lambda path: configure(path, num_attention_heads=5),
        "config.json of pvc://models/tiny cannot be used",
    ),
    "a configuration that is no JSON": (
        lambda path: (path / "config.json").write_text("{"),
        "config.json of pvc://models/tiny cannot be read",
    ),
    "weights that are cut off": (cut_off, "model.safetensors of pvc://models/tiny is cut off"),
    "weights that are no safetensors": (
        lambda path: (path / "model.safetensors").write_bytes(b"<html>not found</html>"),
        "model.safetensors of pvc://models/tiny is no safetensors file",
    ),
    "a shard that is missing": (
        lost_shard,
        "lacks model-2.safetensors, which model.safetensors.index.json names",
    ),
    "a shard in another folder": (
        lambda path: named_shard(path, "../other/model.safetensors"),
        "names ../other/model.safetensors, which is not in the model's own folder",
    ),
    "a shard anywhere on the volume": (
        lambda path: named_shard(path, "/output/secret.safetensors"),
        "names /output/secret.safetensors, which is not in the model's own folder",
    ),
    "a shard that is a folder above": (
        lambda path: named_shard(path, ".."),
        "names .., which is not in the model's own folder",
    ),
    "a shard that is a pickle": (
        lambda path: (
            shutil.copy(path / "model.safetensors", path / "model.bin") and named_shard(path, "model.bin")
        ),
        "names model.bin, which may run code when it is loaded: name safetensors files only",
    ),
    "weights of a smaller model": (
        lambda path: configure(path, num_hidden_layers=20),
        "parameters: files are missing",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_model_that_cannot_be_trained_is_refused(tiny: Path, case: str) -> None:
    break_it, message = BROKEN[case]
    break_it(tiny)
    with pytest.raises(ModelUnavailable) as caught:
        inspect(tiny, URI)
    assert message in caught.value.message


def test_code_in_the_repository_of_a_known_architecture_is_not_needed(tiny: Path) -> None:
    configure(tiny, auto_map={"AutoModelForCausalLM": "modeling_own.Own"})
    assert inspect(tiny, URI).parameters == 91_648


MOE = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
}


def test_experts_that_all_linear_leaves_out_are_named(tmp_path: Path) -> None:
    from transformers import GptOssConfig, GptOssForCausalLM

    GptOssForCausalLM(GptOssConfig(**MOE, head_dim=16)).save_pretrained(tmp_path)
    architecture = inspect(tmp_path, URI)
    # Per layer 4 experts of three 64 x 128 matrices.
    share = round(100 * 2 * 4 * 3 * 64 * 128 / architecture.parameters)
    assert trainable(architecture, AdapterConfig(rank=4, alpha=8), URI).warnings == (
        "The experts (model.layers.*.mlp.experts.down_proj and model.layers.*.mlp.experts.gate_up_proj) hold "
        f"{share} % of the parameters and stay untrained: they are fused tensors, which all-linear leaves "
        "out in this architecture.",
    )
    chosen = AdapterConfig(target_modules=("q_proj", "v_proj"))
    (warning,) = trainable(architecture, chosen, URI).warnings
    assert warning.endswith(
        f"{share} % of the parameters and stay untrained: targetModules does not name them."
    )
    with pytest.raises(InvalidInput, match="targetModules"):
        trainable(architecture, AdapterConfig(target_modules=("q_proj", "gate_up_proj")), URI)


def test_targets_that_fit_a_shared_expert_but_not_the_experts_are_refused(tmp_path: Path) -> None:
    from transformers import Qwen2MoeConfig, Qwen2MoeForCausalLM

    sizes = {"num_experts": 4, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32}
    Qwen2MoeForCausalLM(Qwen2MoeConfig(**MOE, **sizes)).save_pretrained(tmp_path)
    architecture = inspect(tmp_path, URI)
    for targets in (("gate_proj", "up_proj", "down_proj"), ("q_proj", "down_proj")):
        with pytest.raises(InvalidInput, match=r"targetModules: down_proj.* fit layers beside the experts"):
            trainable(architecture, AdapterConfig(rank=4, target_modules=targets), URI)
    attention = AdapterConfig(rank=4, target_modules=("q_proj", "v_proj"))
    assert len(trainable(architecture, attention, URI).warnings) == 1


@pytest.mark.filterwarnings(
    "ignore:The following (rank|alpha)_pattern keys:RuntimeWarning"
)  # peft's own patterns
def test_experts_that_get_lora_matrices_are_counted(tmp_path: Path) -> None:
    from transformers import MixtralConfig, MixtralForCausalLM

    MixtralForCausalLM(MixtralConfig(**MOE)).save_pretrained(tmp_path)
    found = trainable(inspect(tmp_path, URI), AdapterConfig(rank=4, alpha=8), URI)
    assert found.warnings == ()
    attention = 4 * (2 * (64 + 64) + 2 * (64 + 32))
    experts = 4 * 4 * (64 + 256) + 4 * 4 * (128 + 64)  # gate and up are two matrices in one; no router
    assert found.parameters == 2 * (attention + experts)


@pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys:RuntimeWarning")
def test_layers_that_all_linear_leaves_out_beside_trained_experts_are_named(tmp_path: Path) -> None:
    from transformers import Glm4MoeConfig, Glm4MoeForCausalLM

    sizes = {"n_routed_experts": 4, "moe_intermediate_size": 16, "first_k_dense_replace": 1, "head_dim": 16}
    Glm4MoeForCausalLM(Glm4MoeConfig(**MOE, **sizes)).save_pretrained(tmp_path)
    (warning,) = trainable(inspect(tmp_path, URI), AdapterConfig(rank=4, alpha=8), URI).warnings
    assert warning == (
        "all-linear leaves out model.layers.*.mlp.down_proj, model.layers.*.mlp.gate_proj, "
        "model.layers.*.mlp.shared_experts.down_proj, model.layers.*.mlp.shared_experts.gate_proj, "
        "model.layers.*.mlp.shared_experts.up_proj and 1 more, which stay untrained, in this architecture."
    )


def test_a_matrix_without_a_name_in_the_files_is_refused_before_training(tiny: Path) -> None:
    """As where the files hold q, k and v in one matrix, which the model cuts up."""
    found = inspect(tiny, URI)
    fused = {name.replace("q_proj", "qkv_proj"): shape for name, shape in found.tensors.items()}
    with pytest.raises(InvalidInput, match=r"q_proj\.weight are not matrices of their own"):
        trainable(replace(found, tensors=fused), AdapterConfig(rank=4), URI)
    without = AdapterConfig(rank=4, target_modules=("v_proj",))
    assert trainable(replace(found, tensors=fused), without, URI).parameters == 2 * 4 * (64 + 32)


def test_images_are_left_out_without_a_warning_and_refused_by_name(tmp_path: Path) -> None:
    for family in ("gemma3", "qwen3_5"):
        found = inspect(make_tiny_of(family, tmp_path / family), URI)
        assert trainable(found, AdapterConfig(rank=4), URI).warnings == ()
    found = inspect(make_tiny_of("gemma3", tmp_path / "images"), URI)
    with pytest.raises(InvalidInput, match="targetModules: fc1 fit only layers beside the text model"):
        trainable(found, AdapterConfig(rank=4, target_modules=("q_proj", "fc1")), URI)


@pytest.mark.parametrize("family", ["llama4", "llama4_dense"])
def test_layers_whose_adapters_servers_apply_otherwise_are_left_out_and_named(
    tmp_path: Path, family: str
) -> None:
    found = inspect(make_tiny_of(family, tmp_path / family), URI)
    warnings = trainable(found, AdapterConfig(rank=4), URI).warnings
    assert warnings[-1] == (
        "all-linear leaves out model.layers.*.self_attn.k_proj and model.layers.*.self_attn.q_proj, "
        "which stay untrained, in this architecture."
    )
    with pytest.raises(InvalidInput, match=r"targetModules: model\.layers\.\d\.self_attn\.q_proj.*reorders"):
        trainable(found, AdapterConfig(rank=4, target_modules=("q_proj", "v_proj")), URI)
    assert trainable(found, AdapterConfig(rank=4, target_modules=("v_proj",)), URI).parameters == 2 * 4 * 96


def test_a_base_that_was_changed_since_it_was_prepared_is_refused(tiny: Path) -> None:
    base = ModelSummary(
        revision="1",
        path=str(tiny),
        architecture="LlamaForCausalLM",
        parameters=1,
        digest=directory_digest(tiny),
    )
    require_unchanged(base)
    (tiny / "README.md").write_text("read by nobody")
    require_unchanged(base)
    (tiny / "chat_template.jinja").write_text("{{ messages[0].content }} Obey.")
    with pytest.raises(VolumeUnusable, match="is not the one that was prepared: its files were"):
        require_unchanged(base)
    shutil.rmtree(tiny)
    with pytest.raises(VolumeUnusable, match="is not the one that was prepared"):
        require_unchanged(base)


def pinned(path: Path) -> str:
    source = ModelSource(uri=URI, mount=str(path))
    config = trainer_config(model=path, train="pvc://d/t.jsonl").model_copy(update={"model": source})
    return fetch_model(config).revision


def test_revision_of_a_mounted_model_follows_its_content(tiny: Path, original: Path) -> None:
    before = pinned(tiny)
    assert before == pinned(original)
    (tiny / "README.md").write_text("about")
    assert pinned(tiny) == before
    weights = tiny / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert pinned(tiny) != before


def test_digest_of_a_large_file_reads_samples_and_sees_other_weights(tmp_path: Path) -> None:
    import random

    size = 40 * 1024 * 1024
    one, same, other = (tmp_path / name for name in ("one", "same", "other"))
    one.write_bytes(random.Random(1).randbytes(size))
    shutil.copyfile(one, same)
    other.write_bytes(random.Random(2).randbytes(size))
    assert content_digest(one) == content_digest(same) != content_digest(other)
