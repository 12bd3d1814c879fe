"""What cannot be served as it was trained is refused, in a sentence that says what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubetune_trainer.contract.messages import ExitCode, Reason
from tests.support import trained_elsewhere as elsewhere
from tests.support.chat_templates import CHATML
from tests.support.prepare_runs import Prepare, Prepared
from tests.support.tiny_model import make_tiny_model

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # peft's
]

PREFIX = "base_model.model."


def message(prepared: Prepared) -> str:
    assert prepared.code == ExitCode.INVALID_INPUT
    return prepared.message.message


def without(*names: str) -> Callable[[Path, Path], None]:
    def remove(folder: Path, _: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return remove


def settings(**fields: Any) -> Callable[[Path, Path], None]:
    return lambda folder, _: elsewhere.change_settings(folder, **fields)


def tensors(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path, Path], None]:
    return lambda folder, _: elsewhere.change_tensors(folder, change(elsewhere.tensors_of(folder)))


def trained(**config: Any) -> Callable[[Path, Path], None]:
    """An adapter that real PEFT writes with other settings."""

    def write(folder: Path, base: Path) -> None:
        shutil.rmtree(folder)
        elsewhere.lora(base, folder, **config)

    return write


def of_kind(name: str, **config: Any) -> Callable[[Path, Path], None]:
    """An adapter of another kind than LoRA, as PEFT writes it."""

    def write(folder: Path, base: Path) -> None:
        import peft
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(base)
        shutil.rmtree(folder)
        peft.get_peft_model(model, getattr(peft, name)(task_type="CAUSAL_LM", **config)).save_pretrained(
            folder
        )

    return write


def pickled(folder: Path, _: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


def cut_off(folder: Path, _: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def only_checkpoints(folder: Path, base: Path) -> None:
    shutil.rmtree(folder)
    for step in (10, 500):
        elsewhere.lora(base, folder / f"checkpoint-{step}")


def sharded_by_fsdp(folder: Path, _: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    (folder / "pytorch_model_fsdp_0").mkdir()
    (folder / "pytorch_model_fsdp_0" / "__0_0.distcp").write_bytes(b"")


def sharded_by_deepspeed(folder: Path, _: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    (folder / "global_step10").mkdir()
    (folder / "global_step10" / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt").write_bytes(b"")


def not_gathered(weights: dict[str, Any]) -> dict[str, Any]:
    return {name: tensor[:0] for name, tensor in weights.items()}


def not_finite(weights: dict[str, Any]) -> dict[str, Any]:
    weights[min(weights)][0, 0] = float("nan")
    return weights


def without_effect(weights: dict[str, Any]) -> dict[str, Any]:
    return {name: tensor * ("lora_A" in name) for name, tensor in weights.items()}


def too_narrow(weights: dict[str, Any]) -> dict[str, Any]:
    return {name: t[:, :32].clone() if "lora_A" in name else t for name, t in weights.items()}


def other_layers(weights: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("layers.1.", "layers.7."): tensor for name, tensor in weights.items()}


def half(weights: dict[str, Any]) -> dict[str, Any]:
    return {
        name: tensor for name, tensor in weights.items() if "layers.0.self_attn.q_proj.lora_B" not in name
    }


def tinkers_own(weights: dict[str, Any]) -> dict[str, Any]:
    pair = {
        matrix: weights[f"{PREFIX}model.layers.0.self_attn.q_proj.{matrix}.weight"]
        for matrix in ("lora_A", "lora_B")
    }
    return weights | {f"{PREFIX}model.unembed_tokens.{m}.weight": t.clone() for m, t in pair.items()}


def archived(folder: Path, _: Path) -> None:
    shutil.make_archive(str(folder.parent / "adapter"), "tar", folder)
    for path in folder.iterdir():
        path.unlink()
    shutil.move(folder.parent / "adapter.tar", folder / "adapter.tar")


def of_gguf(folder: Path, base: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    shutil.copy(base / "config.json", folder)
    (folder / "model-q4.gguf").write_bytes(b"GGUF")


def quantised(folder: Path, base: Path) -> None:
    shutil.rmtree(folder)
    elsewhere.full(base, folder)
    path = folder / "config.json"
    said = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": said}))


def of_another_size(folder: Path, _: Path) -> None:
    shutil.rmtree(folder)
    make_tiny_model(folder, num_hidden_layers=3)


def template_of_unknown_tokens(folder: Path, base: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>"]})
    tokenizer.chat_template = CHATML.replace("<|im_start|>", "<|turn|>")
    tokenizer.save_pretrained(folder)


MERGE = "Merge it into the base where it was trained"
REFUSED: dict[str, tuple[Callable[[Path, Path], None], str, str]] = {
    "DoRA": (trained(use_dora=True), "uses DoRA (use_dora), which vLLM does not serve", MERGE),
    "magnitudes of DoRA that the settings hide": (
        lambda folder, base: (trained(use_dora=True)(folder, base), settings(use_dora=False)(folder, base))[
            0
        ],
        "has magnitudes of DoRA",
        MERGE,
    ),
    "whole modules": (trained(modules_to_save=["embed_tokens"]), "(modules_to_save)", MERGE),
    "whole modules that the settings hide": (
        lambda f, b: (trained(modules_to_save=["embed_tokens"])(f, b), settings(modules_to_save=None)(f, b))[
            0
        ],
        "has whole weights beside LoRA",
        MERGE,
    ),
    "single tokens": (trained(trainable_token_indices=[1, 2]), "(trainable_token_indices)", MERGE),
    "biases": (trained(bias="all"), "trained biases (bias: all)", MERGE),
    "an adapted table of embeddings": (
        trained(target_modules=["embed_tokens", "q_proj"]),
        "adapts token embeddings",
        MERGE,
    ),
    "an adapted output layer": (
        trained(target_modules=["lm_head", "q_proj"]),
        "lm_head hold token embeddings or the output layer",
        MERGE,
    ),
    "a high rank": (trained(r=520), "has the rank 520, and vLLM serves 512 at most", MERGE),
    "IA3": (of_kind("IA3Config"), "is an adapter of the kind IA3, and vLLM serves LoRA", MERGE),
    "prompt tuning": (
        of_kind("PromptTuningConfig", num_virtual_tokens=4),
        "is an adapter of the kind PROMPT_TUNING, and vLLM serves LoRA",
        "Train a LoRA adapter",
    ),
    "a classifier": (settings(task_type="SEQ_CLS"), "was trained for SEQ_CLS", "task_type CAUSAL_LM"),
    "PiSSA": (settings(init_lora_weights="pissa_niter_16"), "began with pissa", "initial_model_for_weight"),
    "an activated LoRA": (settings(alora_invocation_tokens=[1]), "(alora_invocation_tokens)", MERGE),
    "settings without rank": (settings(r=None), "has no r in adapter_config.json", "Correct the file"),
    "settings of another rank": (
        settings(r=8),
        "has the rank 4 in model.layers.0.mlp.down_proj, where adapter_config.json says 8",
        "Put the adapter_config.json that it was saved with",
    ),
    "settings that are no JSON": (
        lambda folder, _: (folder / "adapter_config.json").write_text("{"),  # type: ignore[dict-item]
        "adapter_config.json of",
        "cannot be read",
    ),
    "no settings": (
        without("adapter_config.json"),
        "has adapter_model.safetensors, but no adapter_config.json",
        "Put the one that it was saved with beside it",
    ),
    "no weights": (
        without("adapter_model.safetensors"),
        "but no adapter_model.safetensors; it has README.md and adapter_config.json",
        "Save the adapter with save_pretrained",
    ),
    "pickled weights": (
        pickled,
        "has its weights only as adapter_model.bin, which can run code",
        "save_pretrained writes adapter_model.safetensors",
    ),
    "weights that are cut off": (cut_off, "has a damaged adapter_model.safetensors", "Copy or save it again"),
    "checkpoints alone": (
        only_checkpoints,
        "has nothing to adopt itself, but in checkpoint-10 and checkpoint-500",
        "Name one, such as pvc://inputs/adapter/checkpoint-500",
    ),
    "shards of FSDP": (sharded_by_fsdp, "has shards of FSDP or DeepSpeed", "accelerate merge-weights"),
    "shards of DeepSpeed": (sharded_by_deepspeed, "has shards of FSDP or DeepSpeed", "zero_to_fp32.py"),
    "weights of ZeRO-3 that were not gathered": (tensors(not_gathered), "has empty tensors", "stage3_gather"),
    "a number that is none": (tensors(not_finite), "hold NaN or infinite numbers", "lora_A"),
    "an adapter that changes nothing": (
        tensors(without_effect),
        "every LoRA B matrix is zero",
        "after training",
    ),
    "matrices that are too narrow": (
        tensors(too_narrow),
        "have a shape that does not fit the base model's files",
        "was trained on",
    ),
    "layers that the base has not": (
        tensors(other_layers),
        "are no matrices of the base model",
        "set spec.model to its base",
    ),
    "half of a pair": (tensors(half), "has only one of lora_A and lora_B", "Save the adapter again"),
    "Tinker's own names": (tensors(tinkers_own), "names that Tinker gives", "build_lora_adapter"),
    "an archive": (archived, "holds the archive adapter.tar", "Extract it"),
    "GGUF": (of_gguf, "has its weights as GGUF", "16-bit safetensors weights"),
    "a quantised model": (quantised, "is quantised (bitsandbytes, 4 bits)", "Save it in 16 bits"),
    "a model of another size": (
        of_another_size,
        "was not made from spec.model, pvc://inputs/tiny-llama: its num_hidden_layers is 3, and not 2",
        "Set spec.model to the model",
    ),
    "a template of tokens that the base has not": (
        template_of_unknown_tokens,
        "tokens that the tokenizer of pvc://inputs/tiny-llama has not (<|turn|>)",
        MERGE,
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_served_as_it_was_trained_is_refused_with_what_to_do(
    what: str, base: Path, tmp_path: Path, prepare: Prepare
) -> None:
    change, *words = REFUSED[what]
    folder = elsewhere.lora(base, tmp_path / "adapter")
    change(folder, base)
    prepared = prepare(model=base, adopt=folder)
    said = message(prepared)
    assert prepared.message.reason is Reason.ADAPTER_INVALID
    for word in words:
        assert word in said
    assert not prepared.run.adapter.exists()
    assert not list(prepared.run.root.glob(".*adapter*"))


def test_a_folder_that_is_not_there_is_said_to_be_so(base: Path, tmp_path: Path, prepare: Prepare) -> None:
    prepared = prepare(model=base, adopt=tmp_path / "nothing")
    assert prepared.message.reason is Reason.MODEL_UNAVAILABLE
    assert message(prepared) == "pvc://inputs/nothing is no directory on the claim. Correct artifact.uri."
