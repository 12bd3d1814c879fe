"""Reads what a model is from its configuration and safetensors headers, without its weights or code."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..contract.config import AdapterConfig
from ..contract.errors import InvalidInput, ModelUnavailable, first_line, name_list
from . import quantised
from .checkpoint import Shapes, read_json, stored_tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A base model's kind and size."""

    name: str
    """Class of the model, such as LlamaForCausalLM."""
    config: Any
    """The transformers configuration."""
    parameters: int
    context: int | None
    """Positions that the model was made for."""
    tensors: Shapes = field(default_factory=dict)
    """Shape of each tensor by its name in the checkpoint; empty while only the configuration is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainable:
    """What training changes."""

    parameters: int
    warnings: tuple[str, ...] = ()


def inspect(path: Path, uri: str) -> Architecture:
    """Read and check a model's configuration and the headers of its weights."""
    found = describe(path, uri)
    headers = stored_tensors(path, uri)
    quantised.require_plain_tensors(uri, headers)
    tensors = {name: tensor.shape for name, tensor in headers.items()}
    stored = sum(math.prod(shape) for shape in tensors.values())
    if stored < 0.9 * found.parameters:
        raise ModelUnavailable(
            f"The weights of {uri} hold {stored:,} of {found.parameters:,} parameters: files are missing."
        )
    return replace(found, tensors=tensors)


def describe(path: Path, uri: str) -> Architecture:
    """Read and check a model's configuration alone."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    )

    raw = read_json(path / "config.json", uri)
    kind, names = raw.get("model_type"), raw.get("architectures") or ["unknown"]
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        if raw.get("auto_map"):
            raise ModelUnavailable(
                f"{uri} ({names[0]}) needs code from its repository (auto_map in config.json), which is "
                "never run. Use a model that transformers supports itself."
            )
        if kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
            raise ModelUnavailable(
                f"spec.model.uri: {uri} is a model of images and text ({names[0]}), and the text model of "
                "this architecture is not trained by itself. Use a text model of its makers."
            )
        raise ModelUnavailable(
            f"{uri} has the architecture {names[0]} (model_type {kind}), which is no text-generation model "
            "that this trainer knows. Use another model, or a newer trainer image."
        )
    exported = path / quantised.EXPORTED
    quantised.require_plain(uri, raw, read_json(exported, uri) if exported.exists() else None)
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # whatever a wrong value makes the configuration class raise
        raise ModelUnavailable(f"config.json of {uri} cannot be used: {first_line(error)}") from error
    text = config.get_text_config()
    return Architecture(
        name=names[0],
        config=config,
        parameters=sum(parameter.numel() for parameter in on_meta(config, uri).parameters()),
        context=getattr(text, "max_position_embeddings", None),
    )


def trainable(architecture: Architecture, adapter: AdapterConfig, uri: str) -> Trainable:
    """Count what an adapter trains, and name what it leaves out.

    Raises:
        InvalidInput: targets that no layer has or no server adapts or finds; or some that experts have too,
            which would stay untrained; or a full fine-tune that would lose a part of the model.
    """
    if adapter.full:
        _require_whole(architecture, uri)
        return Trainable(parameters=architecture.parameters)
    from .adapters import (
        ALL_LINEAR,
        add_lora,
        lora_modules,
        trainable_parameters,
        untrained_expert_sizes,
        untrained_linears,
    )
    from .stored_names import adapter_names

    model = add_lora(on_meta(architecture.config, uri), adapter)
    if architecture.tensors:
        adapter_names(model, architecture.tensors)
    count = trainable_parameters(model)
    experts = untrained_expert_sizes(model)
    all_linear = adapter.target_modules == ALL_LINEAR
    left = _patterns(untrained_linears(model)) if all_linear else []
    warnings = list(_kept_in_16_bits(model, architecture)) if adapter.type == "QLoRA" else []
    if left:
        named = name_list(left)
        warnings.append(f"all-linear leaves out {named}, which stay untrained, in this architecture.")
    if not experts:
        return Trainable(parameters=count, warnings=tuple(warnings))
    share = 100 * sum(experts.values()) / architecture.parameters
    names = name_list(_patterns(experts))
    which = f"The experts ({names}) hold {share:.0f} % of the parameters and stay untrained"
    if all_linear:
        fused = "they are fused tensors, which all-linear leaves out in this architecture"
        return Trainable(parameters=count, warnings=(f"{which}: {fused}.", *warnings))
    if asked := _expert_projections(experts) & {name.rpartition(".")[2] for name in lora_modules(model)}:
        raise InvalidInput(
            f"spec.training.adapter.targetModules: {name_list(sorted(asked))} fit layers beside the experts, "
            f"but not the experts. {which}: they are fused tensors. Remove these targets, which trains "
            "attention only, or use a model without experts."
        )
    return Trainable(parameters=count, warnings=(f"{which}: targetModules does not name them.",))


def _kept_in_16_bits(model: Any, architecture: Architecture) -> Iterator[str]:
    """bitsandbytes quantises linear layers, and experts are fused into tensors of three dimensions."""
    from .adapters import expert_sizes

    if experts := expert_sizes(model):
        share = 100 * sum(experts.values()) / architecture.parameters
        yield (
            f"The experts ({name_list(_patterns(experts))}) hold {share:.0f} % of the parameters and stay in "
            "16 bits: adapter.type QLoRA quantises linear layers only, and saves little memory here."
        )


def _require_whole(architecture: Architecture, uri: str) -> None:
    """A full fine-tune publishes the whole model: what transformers does not load would be lost."""
    from .stored_names import stored_names, unused_patterns

    model = on_meta(architecture.config, uri)
    names = stored_names(model, architecture.tensors)
    loaded = {name for sources in names.values() for name in sources}
    unused = unused_patterns(model)
    lost = [
        name
        for name in architecture.tensors
        if name not in loaded and not any(pattern.search(name) for pattern in unused)
    ]
    if lost:
        raise InvalidInput(
            f"spec.training.adapter.type Full would lose a part of {uri} ({name_list(_patterns(lost), 3)}), "
            "which is not loaded for training on text. Use adapter.type LoRA."
        )


def _patterns(names: Iterable[str]) -> list[str]:
    """Names with a star for the number of the layer, each once."""
    return sorted({".".join("*" if part.isdigit() else part for part in name.split(".")) for name in names})


def _expert_projections(experts: Iterable[str]) -> set[str]:
    """What the matrices inside an expert are called, also where they are fused; a router is none of them."""
    names = {name.rpartition(".")[2] for name in experts}
    return names | ({"gate_proj", "up_proj"} if "gate_up_proj" in names else set())


def on_meta(config: Any, uri: str) -> Any:
    """The model's modules without memory for weights."""
    import torch
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:  # a configuration whose sizes do not fit together
        raise ModelUnavailable(f"config.json of {uri} cannot be used: {first_line(error)}") from error
