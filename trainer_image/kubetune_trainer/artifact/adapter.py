"""The files of a LoRA adapter, under the names that the base model's own files use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..base.adapters import full_shape, lora_modules
from ..base.stored_names import PEFT_PREFIX, Piece
from ..contract.config import TrainerConfig
from ..contract.errors import AdapterInvalid, name_list
from ..contract.messages import ModelSummary

WEIGHTS = "adapter_model.safetensors"


def save_adapter(
    model: Any,
    weights: Mapping[str, Any],
    config: TrainerConfig,
    base: ModelSummary,
    names: Mapping[str, list[Piece]],
    directory: Path,
) -> dict[str, tuple[int, ...]]:
    """Write the adapter, and return names and shapes of what the file must hold.

    Args:
        model: the PEFT model.
        weights: its trained tensors by their names in the model.
        config: of the job, for how the base model is called.
        base: as prepare pinned it.
        names: what ``adapter_names`` says that is published.
        directory: to write into.
    """
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    expected = adapter_shapes(model, names)
    # Embeddings are not trained; PEFT would look for the base model on the hub to find that out.
    saved = get_peft_model_state_dict(model, state_dict=dict(weights), save_embedding_layers=False)
    published = {  # copies, as parts share memory with each other, such as the A of an expert's gate and up
        piece.name: piece.take(tensor).clone(memory_format=torch.contiguous_format)
        for name, tensor in saved.items()
        for piece in names[name]
    }
    save_file(published, directory / WEIGHTS, {"format": "pt"})
    _settings(model, names, config, base).save_pretrained(directory)
    return expected


def adapter_shapes(model: Any, names: Mapping[str, list[Piece]]) -> dict[str, tuple[int, ...]]:
    """Published names and shapes of everything that was trained.

    Raises:
        AdapterInvalid: some of it would be left out.
    """
    import torch
    from peft import get_peft_model_state_dict

    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    saved = get_peft_model_state_dict(model, state_dict=dict(trained), save_embedding_layers=False)
    kept = {id(parameter) for name, parameter in saved.items() if name in names}
    if left_out := [name for name, parameter in trained.items() if id(parameter) not in kept]:
        raise AdapterInvalid(f"{name_list(left_out)} were trained, but do not belong to an adapter's file.")
    shapes: dict[str, tuple[int, ...]] = {}
    for name, parameter in saved.items():
        whole = torch.empty(full_shape(parameter), device="meta")
        shapes.update((piece.name, tuple(piece.take(whole).shape)) for piece in names[name])
    return shapes


def key_mapping(names: Mapping[str, list[Piece]]) -> dict[str, str]:
    """PEFT's ``key_mapping`` for the model that transformers loads; empty where PEFT needs none.

    PEFT knows how transformers renames blocks, but not how it takes the text model out of a larger one."""
    prefixes: set[tuple[str, str]] = set()
    for name, pieces in names.items():
        if len(pieces) > 1:
            return {}
        theirs = pieces[0].name.removeprefix(PEFT_PREFIX).split(".")
        ours = name.removeprefix(PEFT_PREFIX).split(".")
        while theirs and ours and theirs[-1] == ours[-1]:
            del theirs[-1], ours[-1]
        prefixes.add(("".join(f"{part}." for part in theirs), "".join(f"{part}." for part in ours)))
    return {f"^{re.escape(theirs)}": ours for theirs, ours in sorted(prefixes) if theirs}


def _settings(model: Any, names: Mapping[str, list[Piece]], config: TrainerConfig, base: ModelSummary) -> Any:
    """PEFT's adapter_config.json: the targets that were found, in an order that is always the same."""
    import copy

    settings = copy.copy(model.peft_config["default"])
    hub = config.model.uri.removeprefix("hf://") if config.model.uri.startswith("hf://") else None
    settings.base_model_name_or_path = hub or config.model.uri
    settings.revision = base.revision if hub else None
    settings.inference_mode = True
    modules = [f".{name}" for name in lora_modules(model)]
    targets = {target for target in settings.target_modules if any(n.endswith(f".{target}") for n in modules)}
    split = {piece.name.split(".")[-3] for pieces in names.values() if len(pieces) > 1 for piece in pieces}
    if split:  # experts that are published one by one: PEFT stacks them again when it loads them
        settings.target_parameters = None
    settings.target_modules = sorted(targets | split)
    return settings
