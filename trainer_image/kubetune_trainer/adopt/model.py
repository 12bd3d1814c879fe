"""A full model that was trained elsewhere: complete, of 16 bits or more, and made from the base."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from ..artifact.checks import require_finite
from ..base import quantised
from ..base.architecture import Architecture, inspect
from ..base.checkpoint import read_json
from ..contract.config import TrainerConfig
from .folder import CONFIG, refusal

_SIZES: Final = (
    "hidden_size",
    "num_hidden_layers",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
)
"""What fine-tuning leaves as it is; a vocabulary may have got new tokens."""


def write_model(
    source: Path, names: Collection[str], directory: Path, config: TrainerConfig, kind: Architecture
) -> None:
    """Check a full model, and put its files into a directory.

    Raises:
        AdapterInvalid: it is quantised, damaged or of another kind than the base.
        ModelUnavailable: files are missing, or it needs code of its own.
    """
    assert config.adopt is not None
    uri = config.adopt.uri
    raw = read_json(source / CONFIG, uri)
    exported = read_json(source / quantised.EXPORTED, uri) if quantised.EXPORTED in names else None
    if (found := quantised.quantisation(raw, exported)) is not None:
        raise refusal(
            uri,
            f"is quantised ({found})",
            "Save it in 16 bits: load the base without quantisation, put the adapter beside it, and use "
            "merge_and_unload",
        )
    for name in names:
        put(source / name, directory / name)
    own = inspect(directory, uri)
    _require_same(own, kind, config)
    require_finite(directory)


def _require_same(own: Architecture, base: Architecture, config: TrainerConfig) -> None:
    uri = config.adopt.uri if config.adopt else ""
    mine, theirs = own.config.get_text_config(), base.config.get_text_config()
    differs = {"model_type": (own.config.model_type, base.config.model_type)} | {
        size: (_size(mine, size), _size(theirs, size)) for size in _SIZES
    }
    for field, (here, there) in differs.items():
        if here != there:
            raise refusal(
                uri,
                f"was not made from spec.model, {config.model.uri}: its {field} is {here}, and not {there}",
                "Set spec.model to the model that it was made from",
            )


def _size(config: Any, field: str) -> str:
    return json.dumps(config.to_dict().get(field), default=str)


def put(one: Path, other: Path) -> None:
    """Copy a file; weights that were fetched to the volume are linked: they are never written to again."""
    if one.suffix == ".safetensors":
        try:
            os.link(one.resolve(), other)
            return
        except OSError:  # another volume, or one without links
            pass
    shutil.copyfile(one, other)
