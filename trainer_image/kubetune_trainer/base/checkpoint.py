"""A base model's files as they lie on disk: names and shapes of its tensors, from the headers alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..contract.errors import ModelUnavailable, first_line, name_list

INDEX = "model.safetensors.index.json"

Shapes = Mapping[str, tuple[int, ...]]
"""Shape of each tensor by its name in the checkpoint."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor, as a header describes it."""

    dtype: str
    """As safetensors writes it, such as BF16 or F8_E4M3."""
    shape: tuple[int, ...]


def tensor_shapes(path: Path, uri: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors of a model; raises what ``stored_tensors`` raises."""
    return {name: tensor.shape for name, tensor in stored_tensors(path, uri).items()}


def stored_tensors(path: Path, uri: str) -> dict[str, Stored]:
    """All tensors of a model by name.

    Raises:
        ModelUnavailable: a file is missing, cut off, outside of the model's directory or no safetensors file.
    """
    found: dict[str, Stored] = {}
    for file in weight_files(path, uri):
        header, begin = _header(file, uri)
        end = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
        if file.stat().st_size < begin + end:
            raise ModelUnavailable(f"{file.name} of {uri} is cut off: it has {file.stat().st_size:,} bytes.")
        found.update(
            (name, Stored(tensor["dtype"], tuple(tensor["shape"]))) for name, tensor in header.items()
        )
    return found


def weight_files(path: Path, uri: str) -> list[Path]:
    """The safetensors files that hold a model's weights: those of its index, else all.

    Raises:
        ModelUnavailable: the index names a file that is missing, that lies elsewhere or is of another kind.
    """
    index = path / INDEX
    if not index.exists():
        return sorted(path.glob("*.safetensors"))
    named = {str(name) for name in read_json(index, uri).get("weight_map", {}).values()}
    # An entry such as "../other/secret.safetensors" would have another tenant's file read and published.
    if outside := sorted(name for name in named if len(PurePosixPath(name).parts) != 1 or name == ".."):
        raise ModelUnavailable(
            f"{INDEX} of {uri} names {name_list(outside)}, which is not in the model's own folder."
        )
    if others := sorted(name for name in named if not name.endswith(".safetensors")):
        raise ModelUnavailable(
            f"{INDEX} of {uri} names {name_list(others)}, which may run code when it is loaded: name "
            "safetensors files only."
        )
    if missing := sorted(name for name in named if not (path / name).exists()):
        raise ModelUnavailable(f"{uri} lacks {name_list(missing)}, which {INDEX} names.")
    return [path / name for name in sorted(named)]


def read_json(path: Path, uri: str) -> dict[str, Any]:
    """A JSON object of a model; refuses anything else."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"{path.name} of {uri} cannot be read: {first_line(error)}") from None
    if not isinstance(value, dict):
        raise ModelUnavailable(f"{path.name} of {uri} is not a JSON object.")
    return value


def _header(file: Path, uri: str) -> tuple[dict[str, Any], int]:
    """A safetensors header (8 bytes of length, then JSON) and where the data begins."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > min(100_000_000, file.stat().st_size):  # the format's own limit
            raise ModelUnavailable(f"{file.name} of {uri} is no safetensors file.")
        try:
            header = json.loads(stream.read(length))
        except ValueError:
            raise ModelUnavailable(f"{file.name} of {uri} is no safetensors file.") from None
    header.pop("__metadata__", None)
    return header, 8 + length
