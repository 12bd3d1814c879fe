"""Loads the base model's weights from disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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


def load_base(path: Path, dtype: torch.dtype | Literal["auto"], *, four_bit: bool = False) -> Any:
    """Load the base model's safetensors; TrainingArguments must exist first, since ZeRO-3 splits while
    loading.

    ``dtype`` "auto" is that of the files. With ``four_bit`` linear layers are quantised to NF4, with double
    quantisation, and compute in ``dtype``; embeddings, norms, the output layer and fused experts stay in it.

    Raises:
        ModelUnavailable: the directory is not one that transformers can load without remote code.
        OSError: the volume did not let it be read.
    """
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            quantization_config=_nf4(dtype) if four_bit else None,
        )
        for module in model.modules() if four_bit else ():
            # On such CPUs an evaluation would rearrange the weights, and training cannot read them then.
            module.support_avx512bf16_for_cpu = False
        return model
    except (OSError, ValueError, KeyError) as error:
        _require_readable(path)  # transformers takes a file that the volume does not give for a missing one
        raise ModelUnavailable(f"The base model in {path} cannot be loaded: {error}") from error


def _nf4(dtype: torch.dtype | Literal["auto"]) -> Any:
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def _require_readable(directory: Path) -> None:
    """Let the volume's own errors through, so that they are tried again."""
    try:
        for path in directory.iterdir():
            if path.is_file():
                with naming(path), path.open("rb") as file:
                    file.read(1)
    except FileNotFoundError:
        pass
