"""Repositories with quantised weights: known by what they say of themselves, and refused by name.

An adapter fits the weights that it was trained beside. Training would turn quantised ones into 16 bits, and
the server, given the same repository, would serve the quantised ones with kernels of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from ..contract.errors import ModelUnavailable
from .checkpoint import Stored

EXPORTED: Final = "hf_quant_config.json"
"""Where NVIDIA's ModelOpt says what config.json of its older repositories does not."""

_COPIES: Final = {
    "gpt-oss-20b": "unsloth/gpt-oss-20b-BF16",
    "gpt-oss-120b": "unsloth/gpt-oss-120b-BF16",
    "DeepSeek-V3": "unsloth/DeepSeek-V3-bf16",
}
"""16-bit copies, by the name of a model that its makers publish quantised only."""

_REPACKERS: Final = frozenset({
    "casperhansen", "hugging-quants", "lmstudio-community", "mlx-community", "neuralmagic", "nvidia",
    "RedHatAI", "TheBloke",
})  # fmt: skip
"""Who publishes other people's models quantised, and not in 16 bits."""

_FORMAT = (
    r"(?:unsloth-bnb|bnb|mlx|fp[48]|nvfp4(?:a16)?|mxfp[48]|nf4|awq|gptq|gguf|hqq|aqlm|exl[23]|auto-?round|"
    r"quantized|int[2348]|[2-8]bit|w\d+a\d+|i?q\d_\w+)"
)
_SUFFIX = re.compile(
    rf"[-_.]{_FORMAT}(?:[-_.](?:{_FORMAT}|dynamic|block|kv|ct|dwq|moe|qat))*$", re.IGNORECASE
)
"""How names of repositories end that were made from another one, such as -FP8-dynamic or -GPTQ-Int4."""

_PACKED = frozenset({"I8", "U8", "I32", "U32"})
"""Types in which matrices are stored that hold several small numbers in each; of safetensors headers."""


def quantisation(config: Mapping[str, Any], exported: Mapping[str, Any] | None = None) -> str | None:
    """The format that config.json, or ModelOpt's own file, says its weights have; None for plain weights.

    Such as "fp8" or "compressed-tensors, pack-quantized".
    """
    for part in (config, config.get("text_config"), config.get("language_config")):
        if not isinstance(part, Mapping):
            continue
        said = part.get("quantization_config") or part.get("compression_config") or part.get("quantization")
        if said:
            return _format(said) if isinstance(said, Mapping) else "an unknown format"
    said = (exported or {}).get("quantization")
    return f"modelopt, {said.get('quant_algo', 'unknown')}" if isinstance(said, Mapping) else None


def require_plain(uri: str, config: Mapping[str, Any], exported: Mapping[str, Any] | None = None) -> None:
    """Refuse a quantised repository by what it says of itself, and name the one to take.

    Raises:
        ModelUnavailable: config.json or ``exported``, the content of EXPORTED, name a quantised format.
    """
    if (found := quantisation(config, exported)) is not None:
        raise refusal(uri, found)


def require_plain_tensors(uri: str, tensors: Mapping[str, Stored]) -> None:
    """Refuse weights that no file says to be quantised.

    transformers would load 8-bit floats without their scales, and train beside something else.

    Raises:
        ModelUnavailable: a matrix is stored in less than 16 bits, or packed into integers.
    """
    small = {name: tensor.dtype for name, tensor in tensors.items() if _is_quantised(name, tensor)}
    if small:
        name = min(small)
        raise refusal(uri, f"{name} has the type {small[name]}")


def _is_quantised(name: str, tensor: Stored) -> bool:
    if tensor.dtype in _PACKED:
        # Pythia and others keep their causal mask in a tensor of bytes, of four dimensions, called bias.
        return 2 <= len(tensor.shape) <= 3 and not name.endswith(("bias", "mask"))
    return len(tensor.shape) >= 2 and tensor.dtype.startswith(("F4", "F6", "F8"))


def refusal(uri: str, found: str) -> ModelUnavailable:
    """What is raised for a repository in the quantised format ``found``."""
    return ModelUnavailable(f"spec.model.uri: {uri} is quantised ({found}). {_advice(uri)}")


def _advice(uri: str) -> str:
    return f"Use {_instead(uri)}. With adapter.type QLoRA, GPUs hold those in 4 bits."


def _instead(uri: str) -> str:
    """The repository to take, for a sentence."""
    if not uri.startswith("hf://"):
        return "the 16-bit weights that it was made from"
    owner, _, name = uri.removeprefix("hf://").partition("@")[0].strip("/").rpartition("/")
    original = _SUFFIX.sub("", name)
    if known := _COPIES.get(original):
        return f"hf://{known}, which has 16-bit weights"
    if original == name:
        return "a repository with 16-bit weights, whose name often ends with -BF16"
    if owner in _REPACKERS:
        return f"the one with 16-bit weights that it was made from, probably called {original} at its makers'"
    return f"the repository with 16-bit weights, probably hf://{owner}/{original}"


def _format(said: Mapping[str, Any]) -> str:
    method = str(
        said.get("quant_method") or ("mlx" if {"bits", "group_size"} <= said.keys() else "unknown format")
    )
    detail = said.get("format") or said.get("quant_algo")
    if method == "bitsandbytes":
        detail = "8 bits" if said.get("load_in_8bit") else "4 bits"
    elif "bits" in said:
        detail = f"{said['bits']} bits"
    return f"{method}, {detail}" if detail else method
