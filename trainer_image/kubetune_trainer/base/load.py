"""Loads the base model's weights from disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contract.errors import ModelUnavailable
from ..store.manifest import naming

if TYPE_CHECKING:
    import torch


def preferred_dtype(device: torch.device) -> torch.dtype:
    """bf16 where the device computes in it, else float32: an emulated bf16 is several times slower.

    Intel's cores compute in bf16 with AMX. Where a virtual machine hides that, they have only their AVX-512
    instructions for it, and a step takes 1.45 times as long as in float32.
    """
    import torch

    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    features = torch.cpu.get_capabilities()
    fast = ["amx_bf16", "bf16"]
    if not str(features.get("cpu_name", "")).startswith("Intel"):
        fast.append("avx512_bf16")
    return torch.bfloat16 if any(features.get(name) for name in fast) else torch.float32


def load_base(path: Path, dtype: torch.dtype) -> Any:
    """Load the base model's safetensors; TrainingArguments must exist first, since ZeRO-3 splits while
    loading.

    Raises:
        ModelUnavailable: the directory is not one that transformers can load without remote code.
        OSError: the volume did not let it be read.
    """
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(
            path, dtype=dtype, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        _require_readable(path)  # transformers takes a file that the volume does not give for a missing one
        raise ModelUnavailable(f"The base model in {path} cannot be loaded: {error}") from error


def _require_readable(directory: Path) -> None:
    """Let the volume's own errors through, so that they are tried again."""
    try:
        for path in directory.iterdir():
            if path.is_file():
                with naming(path), path.open("rb") as file:
                    file.read(1)
    except FileNotFoundError:
        pass
