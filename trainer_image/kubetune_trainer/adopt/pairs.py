"""The pairs of matrices in an adapter's file, by module; whatever else is in it is named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..contract.errors import AdapterInvalid, first_line, name_list
from ..store.manifest import naming
from .folder import ADAPTER_WEIGHTS, MERGE, refusal
from .names import matrix_of

if TYPE_CHECKING:
    import torch

_TYPES: Final = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Both matrices of every module."""

    keys: Mapping[tuple[str, str], str]
    """Names in the file, by module and ``lora_A`` or ``lora_B``."""
    headers: Mapping[str, tuple[str, tuple[int, ...]]]
    """Type, as safetensors writes it, and shape by name in the file."""

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of the modules, as the adapter has them."""
        return tuple(sorted({module for module, _ in self.keys}))

    def key(self, module: str, matrix: str) -> str:
        """Name of a matrix in the file."""
        return self.keys[module, matrix]

    def shape(self, module: str, matrix: str) -> tuple[int, ...]:
        """Shape of a matrix."""
        return self.headers[self.key(module, matrix)][1]

    def types(self) -> set[torch.dtype]:
        """Types of the matrices."""
        import torch

        return {getattr(torch, _TYPES[kind]) for kind, _ in self.headers.values()}


@contextmanager
def opened(path: Path, uri: str) -> Iterator[Any]:
    """Open a safetensors file.

    Raises:
        AdapterInvalid: it is none, or cut off.
        OSError: the volume did not let it be read.
    """
    from safetensors import SafetensorError, safe_open

    with naming(path):
        try:
            with safe_open(path, framework="pt") as file:
                yield file
        except SafetensorError as error:
            raise refusal(
                uri, f"has a damaged {path.name} ({first_line(error)})", "Copy or save it again"
            ) from None


def read_pairs(path: Path, uri: str) -> Pairs:
    """Read the names and shapes in an adapter's file.

    Raises:
        AdapterInvalid: it has something that is no LoRA matrix, or one without the other.
    """
    with opened(path, uri) as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        headers = {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
    keys: dict[tuple[str, str], str] = {}
    others: list[str] = []
    for name in headers:
        if name.endswith(".base_layer.weight"):
            continue  # PEFT's copy of a table that it has adapted; what is adapted is judged by its pair
        if (found := matrix_of(name)) is None:
            others.append(name)
        else:
            keys[found] = name
    if others:
        raise _not_lora(sorted(others), uri)
    _require_whole(keys, headers, uri)
    return Pairs(keys=keys, headers=headers)


def is_zero(tensor: torch.Tensor) -> bool:
    """Whether a matrix has no number but zero."""
    return not bool(tensor.any())


def _require_whole(
    keys: Mapping[tuple[str, str], str], headers: Mapping[str, tuple[str, tuple[int, ...]]], uri: str
) -> None:
    if not keys:
        raise refusal(uri, f"has no tensors in {ADAPTER_WEIGHTS}", "Save the adapter again")
    if empty := sorted(name for name, (_, shape) in headers.items() if 0 in shape):
        raise refusal(
            uri,
            f"has empty tensors ({name_list(empty, 2)}), as ZeRO-3 saves where weights are not gathered",
            "Save it with the trainer's own save, with stage3_gather_16bit_weights_on_model_save",
        )
    odd = sorted(name for name, (kind, shape) in headers.items() if kind not in _TYPES or len(shape) != 2)
    if odd:
        raise refusal(
            uri,
            f"has {name_list(odd, 2)}, which are no matrices of 16 or 32 bits",
            "Save the adapter in bfloat16, float16 or float32",
        )
    half = [module for module, matrix in keys if (module, _other(matrix)) not in keys]
    if half:
        raise refusal(
            uri,
            f"has only one of lora_A and lora_B for {name_list(sorted(half), 3)}",
            "Save the adapter again",
        )


def _other(matrix: str) -> str:
    return "lora_B" if matrix == "lora_A" else "lora_A"


def _not_lora(names: list[str], uri: str) -> AdapterInvalid:
    """What to say of tensors that are no LoRA matrices."""
    listed = name_list(names, 2)
    if any(".lora_magnitude" in name for name in names):
        return refusal(uri, f"has magnitudes of DoRA ({listed}), which vLLM does not serve", MERGE)
    if any("lora_embedding_" in name for name in names):
        return refusal(uri, f"adapts token embeddings ({listed}), which servers do not apply", MERGE)
    if any(name.endswith((".lora_a", ".lora_b")) for name in names):
        return refusal(uri, f"has the names of MLX ({listed})", "Fuse it (mlx_lm.fuse) and adopt the result")
    if all(name.endswith(".bias") for name in names):
        return refusal(uri, f"has biases ({listed}), which vLLM does not serve", MERGE)
    return refusal(
        uri,
        f"has whole weights beside LoRA ({listed}), such as trained or resized embeddings, and vLLM does "
        "not serve them",
        MERGE,
    )
