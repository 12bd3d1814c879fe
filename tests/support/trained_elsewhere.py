"""Output folders as other trainers leave them: their files and names, around tiny adapters of real PEFT.

Each function writes one folder for the base model in ``base``, and returns it.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.chat_templates import CHATML

ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def lora(
    base: Path, directory: Path, *, seed: int = 1, base_name: str | None = None, **settings: Any
) -> Path:
    """An adapter of PEFT whose B matrices are not zero; ``settings`` are those of LoraConfig."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    config: dict[str, Any] = {
        "task_type": "CAUSAL_LM",
        "r": 4,
        "lora_alpha": 8,
        "target_modules": [*ALL_LINEAR],
    }
    with _quiet():
        adapted = peft.get_peft_model(model, peft.LoraConfig(**(config | settings)))
    random = torch.Generator().manual_seed(seed)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name and "vision" not in name:
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=random, dtype=parameter.dtype)
    with _quiet():
        adapted.save_pretrained(directory)
    if base_name is not None:
        change_settings(directory, base_model_name_or_path=base_name)
    return directory


@contextmanager
def _quiet() -> Iterator[None]:
    """Without PEFT's own advice on what is refused here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def change_settings(directory: Path, **fields: Any) -> None:
    """Write other values into adapter_config.json."""
    path = directory / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def tensors_of(directory: Path, name: str = "adapter_model.safetensors") -> dict[str, Any]:
    """The tensors of a file."""
    from safetensors.torch import load_file

    return load_file(directory / name)


def change_tensors(directory: Path, tensors: Mapping[str, Any]) -> None:
    """Write other tensors into an adapter's file."""
    from safetensors.torch import save_file

    save_file(dict(tensors), directory / "adapter_model.safetensors", {"format": "pt"})


def tokenizer_files(
    base: Path, directory: Path, *, template: str | None = CHATML, eos: str | None = None
) -> None:
    """The base's tokenizer as a trainer saves it: with its own template and end."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = template
    if eos is not None:
        tokenizer.eos_token = eos
    tokenizer.save_pretrained(directory)


def trl(base: Path, directory: Path) -> Path:
    """SFTTrainer's output_dir after save_model, with checkpoints beside the result."""
    lora(base, directory)
    tokenizer_files(base, directory)
    (directory / "training_args.bin").write_bytes(b"\x80\x04N.")
    (directory / "README.md").write_text("---\nlibrary_name: peft\n---\n# Model Card\n")
    for step in (5, 10):
        checkpoint = lora(base, directory / f"checkpoint-{step}", seed=step)
        (checkpoint / "optimizer.pt").write_bytes(b"\x80\x04N.")
        (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return directory


def axolotl(base: Path, directory: Path) -> Path:
    """axolotl's output_dir: the base's config.json beside the adapter, and the merged model."""
    lora(base, directory, lora_dropout=0.05)
    shutil.copy(base / "config.json", directory)
    tokenizer_files(base, directory, eos="<|im_end|>")
    (directory / "README.md").write_text("---\nlibrary_name: peft\n---\n")
    (directory / "debug.log").write_text("")
    full(base, directory / "merged")
    lora(base, directory / "checkpoint-10")
    return directory


def llama_factory(base: Path, directory: Path) -> Path:
    """LLaMA-Factory's output_dir: results of the run, and a template of its own for the base."""
    lora(base, directory, use_rslora=True)
    tokenizer_files(base, directory, template=f"{{{{ bos_token }}}}{CHATML}")
    for name in ("all_results.json", "train_results.json", "trainer_state.json"):
        (directory / name).write_text(json.dumps({"train_loss": 0.5}))
    (directory / "trainer_log.jsonl").write_text('{"current_steps": 1}\n')
    (directory / "training_loss.png").write_bytes(b"\x89PNG")
    (directory / "training_args.bin").write_bytes(b"\x80\x04N.")
    return directory


UNSLOTH_TARGETS = (
    r"(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense).*?"
    r"(?:k_proj|v_proj|q_proj|o_proj|gate_proj|up_proj|down_proj).*?)|"
    r"(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense)\."
    r"(?:(?:k_proj|v_proj|q_proj|o_proj|gate_proj|up_proj|down_proj)))"
)


def unsloth(base: Path, directory: Path) -> Path:
    """Unsloth's save_pretrained: targets as an expression, and its own quantised copy as the base."""
    named = f"unsloth/{base.name}-unsloth-bnb-4bit"
    lora(base, directory, target_modules=UNSLOTH_TARGETS, base_name=named)
    change_settings(directory, auto_mapping={"base_model_class": "LlamaForCausalLM", "unsloth_fixed": True})
    tokenizer_files(base, directory)
    return directory


def tinker(base: Path, directory: Path) -> Path:
    """Tinker's archive, extracted, of matrices that have PEFT's names: no tokenizer, few settings."""
    lora(base, directory)
    (directory / "README.md").unlink()
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base.name,
        "r": 4,
        "lora_alpha": 8,
        "target_modules": "all-linear",
        "bias": "none",
    }
    (directory / "adapter_config.json").write_text(json.dumps(settings))
    return directory


def full(base: Path, directory: Path, *, seed: int = 1, **saving: Any) -> Path:
    """A full fine-tune of the base, with its tokenizer; ``saving`` goes to save_pretrained."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    random = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data += 0.01 * torch.randn(parameter.shape, generator=random, dtype=parameter.dtype)
    model.save_pretrained(directory, **saving)
    tokenizer_files(base, directory)
    return directory
