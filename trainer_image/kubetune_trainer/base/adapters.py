"""LoRA matrices beside the base model's layers, and what they leave as it is."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from ..contract.config import AdapterConfig
from ..contract.errors import InvalidInput, name_list

ALL_LINEAR = ("all-linear",)

_ROUTERS = r"(?:.*\.)?(?:router|gate|shared_expert_gate)(?:\..*)?"
"""What chooses and weighs experts: adapted, it sends tokens elsewhere than in the base model. vLLM gives its
shared expert the gate before adapters are put in place: one for it would be left out without a word."""

_REORDERED: Final = {"llama4_text": r"(?:.*\.)?self_attn\.[qk]_proj"}
"""Layers, by the text model's type, whose rows vLLM reorders in the base and not in an adapter: it would
answer otherwise than was trained."""


def add_lora(base: Any, adapter: AdapterConfig) -> Any:
    """Put LoRA matrices beside the target modules and freeze everything else.

    Raises:
        InvalidInput: a target module is not in this model, or is none that an adapter can be served for,
            as it was trained.
    """
    import peft
    from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers

    all_linear = adapter.target_modules == ALL_LINEAR
    if not all_linear:
        _require_adaptable(adapter.target_modules, base)
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=float(adapter.dropout),
        use_rslora=adapter.use_rslora,
        target_modules="all-linear" if all_linear else list(adapter.target_modules),
        bias="none",
        exclude_modules=_excluded(base, all_linear=all_linear),
    )
    try:
        convert_peft_config_for_transformers(config, base, None)
        # It targets experts where it knows how they are stacked, with twice the rank for gate and up
        # together. They share a pair of the rank that was asked for: servers have slots for that.
        config.rank_pattern, config.alpha_pattern = {}, {}
        if config.target_parameters:
            config.target_parameters = [
                name for name in sorted(config.target_parameters) if not re.fullmatch(_ROUTERS, name)
            ] or None
        # The matrices take the base's type: DeepSpeed keeps the float32 copies that the optimizer works on.
        model = peft.get_peft_model(base, config, autocast_adapter_dtype=False)
    except ValueError as error:
        raise InvalidInput(
            f"spec.training.adapter.targetModules fit nothing in this model: {error}"
        ) from error
    if not all_linear:
        modules = lora_modules(model)
        _require_targets(adapter.target_modules, modules)
        _require_servable(model, modules)
    _drop_frozen_from_state(model)
    return model


def lora_modules(model: Any) -> dict[str, Any]:
    """Modules that have LoRA matrices, by their name in the base model."""
    from peft.tuners.lora import LoraLayer

    return {
        name.removeprefix("base_model.model."): module
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
    }


def untrained_experts(model: Any) -> list[str]:
    """Expert weights that stay as they are, by their name in the base model."""
    return list(untrained_expert_sizes(model))


def untrained_expert_sizes(model: Any) -> dict[str, int]:
    """Expert weights that stay as they are, with their sizes; works on the meta device too.

    PEFT adapts fused experts where it knows how the architecture was fused, and silently leaves them out
    elsewhere.
    """
    from peft.tuners.lora.layer import ParamWrapper

    adapted = {id(module.get_param()) for module in model.modules() if isinstance(module, ParamWrapper)}
    return {
        name: math.prod(full_shape(parameter))
        for name, parameter in _experts(model)
        if id(parameter) not in adapted
    }


def expert_sizes(model: Any) -> dict[str, int]:
    """All frozen expert weights with their sizes, by their name in the base model."""
    return {name: math.prod(full_shape(parameter)) for name, parameter in _experts(model)}


def _experts(model: Any) -> Iterator[tuple[str, Any]]:
    """Frozen expert weights: transformers fuses those of a layer into tensors of three dimensions."""
    for name, parameter in model.named_parameters():
        if len(full_shape(parameter)) >= 3 and "expert" in name and not parameter.requires_grad:
            yield name.removeprefix("base_model.model.").replace(".base_layer", ""), parameter


def untrained_linears(model: Any) -> list[str]:
    """Linear layers without LoRA matrices that could have some, by their name in the base model.

    Where PEFT adapts fused experts it takes their names off its list, and with them the dense layers and the
    shared experts that are called alike.
    """
    import torch
    from peft.tuners.lora import LoraLayer

    output, never = model.get_output_embeddings(), _beside(model.get_base_model())
    return [
        name.removeprefix("base_model.model.")
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and not isinstance(module, LoraLayer)
        and ".lora_" not in name
        and not name.endswith(".base_layer")
        and module is not output
        and not re.fullmatch(never, name.removeprefix("base_model.model."))
    ]


def unserved_reason(base: Any) -> Callable[[str], str | None]:
    """Of a model's module by name: why no server applies an adapter to it as it was trained, as the end of a
    sentence; None where nothing is known against it."""
    import torch

    modules = dict(base.named_modules())
    tables = {id(base.get_input_embeddings()), id(base.get_output_embeddings())}
    patterns = {
        _outside(base): "lie beside the text model",
        _ROUTERS: "choose or weigh experts, which servers do not adapt",
        _reordered(base): "have rows that vLLM reorders in the base and not in an adapter",
    }

    def reason(name: str) -> str | None:
        if id(modules.get(name)) in tables:
            return "hold token embeddings or the output layer, for which vLLM has no adapters in most models"
        if (why := next((why for p, why in patterns.items() if re.fullmatch(p, name)), None)) is not None:
            return why
        linear = isinstance(modules.get(name), torch.nn.Linear)
        return None if linear or name.endswith("experts") else "are no linear layers"

    return reason


def full_shape(parameter: Any) -> tuple[int, ...]:
    """A parameter's shape, also where ZeRO-3 has left only a piece of it on this rank."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


def trainable_parameters(model: Any) -> int:
    """Weights that the optimizer changes."""
    return sum(
        math.prod(full_shape(parameter)) for parameter in model.parameters() if parameter.requires_grad
    )


def _require_adaptable(asked: Iterable[str], base: Any) -> None:
    """Refuse targets that fit nothing but what is never adapted, before PEFT finds that they fit nothing."""
    names = [name for name, _ in base.named_modules()]
    outside, routers, beside = _outside(base), [], []
    for target in asked:
        found = [name for name in names if f".{name}".endswith(f".{target}")]
        if found and all(re.fullmatch(_ROUTERS, name) for name in found):
            routers.append(target)
        elif found and all(re.fullmatch(outside, name) for name in found):
            beside.append(target)
    if routers:
        raise InvalidInput(
            f"spec.training.adapter.targetModules: {name_list(routers)} choose or weigh experts, and are "
            "never adapted: tokens would go to other experts than in the base model. Remove them."
        )
    if beside:
        raise InvalidInput(
            f"spec.training.adapter.targetModules: {name_list(beside)} fit only layers beside the text "
            "model, such as a vision tower, which rows of text do not train. Remove them."
        )


def _require_targets(asked: Iterable[str], found: Iterable[str]) -> None:
    """PEFT is content when one target fits; a job that asked for more would silently train less."""
    names = list(found)
    missing = [target for target in asked if not any(f".{name}".endswith(f".{target}") for name in names)]
    if missing:
        raise InvalidInput(
            f"spec.training.adapter.targetModules: {name_list(missing)} fit no linear layer of this model. "
            "Remove them; experts that are fused into one tensor cannot be LoRA targets."
        )


def _require_servable(model: Any, modules: Mapping[str, Any]) -> None:
    """vLLM serves LoRA on linear layers and experts; on tables of some architectures only."""
    import torch
    from peft.tuners.lora.layer import ParamWrapper

    refused = [
        name
        for name, module in modules.items()
        if not isinstance(module, ParamWrapper) and not isinstance(module.get_base_layer(), torch.nn.Linear)
    ]
    if model.config.get_text_config().tie_word_embeddings:  # the output layer is the table of the inputs
        output = model.get_output_embeddings()
        refused += [name for name, module in modules.items() if module is output]
    if refused:
        raise InvalidInput(
            f"spec.training.adapter.targetModules: {name_list(sorted(refused))} hold the token embeddings or "
            "are no linear layers, and vLLM cannot serve an adapter for them. Remove them."
        )
    if reordered := [name for name in modules if re.fullmatch(_reordered(model), name)]:
        raise InvalidInput(
            f"spec.training.adapter.targetModules: {name_list(sorted(reordered))} would be served "
            "otherwise than trained: vLLM reorders their rows in the base and not in an adapter. Remove them."
        )


def _reordered(model: Any) -> str:
    """Pattern of _REORDERED; that of no name for other models."""
    return _REORDERED.get(model.config.get_text_config().model_type, "(?!)")


def _excluded(base: Any, *, all_linear: bool) -> str | None:
    """Pattern of the modules that are not adapted, whatever targets fit them; None if there are none."""
    pattern = f"{_beside(base)}|{_reordered(base)}" if all_linear else _beside(base)
    return pattern if any(re.fullmatch(pattern, name) for name, _ in base.named_modules()) else None


def _beside(base: Any) -> str:
    """Pattern of the modules that are never adapted: routers, and all that is beside the text model."""
    return f"{_outside(base)}|{_ROUTERS}"


def _outside(base: Any) -> str:
    """Pattern of the modules beside the text model; that of no name where its place is not known.

    Towers and projectors of images have layers of the same names, which servers do not adapt."""
    names = {module: name for name, module in base.named_modules()}
    decoder, output = names.get(base.get_decoder()), names.get(base.get_output_embeddings())
    if not decoder:
        return "(?!)"
    kept = "|".join(re.escape(name) for name in (decoder, output) if name)
    return rf"(?!(?:{kept})(?:\.|$)).+"


def _drop_frozen_from_state(model: Any) -> None:
    """Keep frozen weights out of checkpoints: DeepSpeed leaves out most, but not a tied output layer."""

    def drop(_: Any, state: dict[str, Any], prefix: str, __: Any) -> None:
        for name, parameter in model.named_parameters(remove_duplicate=False):
            if not parameter.requires_grad:
                state.pop(prefix + name, None)

    model.register_state_dict_post_hook(drop)
