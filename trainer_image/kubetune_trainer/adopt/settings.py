"""adapter_config.json of an adapter: what a server has to apply, and what the vLLM in use cannot.

vLLM reads rank, alpha and use_rslora of it, refuses what it knows that it cannot apply (DoRA,
modules_to_save, bias, a rank above --max-lora-rank), and passes over every other field: an adapter that needs
one of those would be served as something else than was trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..base.checkpoint import read_json
from ..contract.errors import AdapterInvalid, ModelUnavailable
from .folder import ADAPTER_CONFIG, MERGE, refusal

MOST_RANK: Final = 512
"""The largest --max-lora-rank of vLLM."""

_TRAIN_LORA: Final = "Train a LoRA adapter"

_UNMERGED: Final = frozenset(
    {
        "PROMPT_TUNING",
        "MULTITASK_PROMPT_TUNING",
        "P_TUNING",
        "PREFIX_TUNING",
        "ADAPTION_PROMPT",
        "CPT",
        "CARTRIDGE",
    }
)
"""Kinds that add to the prompt or to the layers: there is nothing to merge into."""

_UNSERVED: Final[Mapping[str, str]] = {
    "use_dora": "uses DoRA (use_dora), which vLLM does not serve",
    "modules_to_save": "trained whole modules beside LoRA (modules_to_save), which vLLM does not serve",
    "trainable_token_indices": "trained embeddings (trainable_token_indices), which vLLM does not serve",
    "lora_bias": "trained biases (lora_bias), which vLLM does not serve",
    "layer_replication": "repeats layers of the base (layer_replication), which vLLM does not do",
    "alora_invocation_tokens": "is applied to a part of the text alone (alora_invocation_tokens), and the "
    "server would apply it to all",
    "use_qalora": "groups the inputs of layers (use_qalora), which vLLM does not do",
    "use_bdlora": "has matrices of blocks (use_bdlora), which vLLM does not read",
    "arrow_config": "chooses between several adapters (arrow_config), which vLLM does not do",
    "monteclora_config": "samples its weights (monteclora_config), which vLLM does not do",
    "kasa_config": "has singular values beside LoRA (kasa_config), which vLLM does not read",
    "velora_config": "compresses activations (velora_config), which vLLM does not do",
}
"""Fields of PEFT that change what an adapter does, where they are set."""

_CHANGES_BASE: Final = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Ways to begin that take a part out of the base's weights: the adapter fits only what is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSettings:
    """What adapter_config.json says of an adapter that can be served."""

    rank: int
    alpha: float
    rslora: bool
    raw: Mapping[str, Any]
    """The whole file."""

    @property
    def scaling(self) -> float:
        """What updates are multiplied by where no pattern says otherwise."""
        return self.scaling_of(self.alpha, self.rank)

    def scaling_of(self, alpha: float, rank: int) -> float:
        """The same of a module with its own alpha and rank."""
        return alpha / (math.sqrt(rank) if self.rslora else rank)

    def pattern(self, field: str) -> dict[str, float]:
        """``rank_pattern`` or ``alpha_pattern``: values of modules whose names match."""
        found = self.raw.get(field) or {}
        return found if isinstance(found, dict) else {}

    @property
    def base(self) -> str:
        """The base model that it names; empty without one."""
        return str(self.raw.get("base_model_name_or_path") or "")


def read_settings(directory: Path, uri: str) -> AdapterSettings:
    """Read and check the file.

    Raises:
        AdapterInvalid: it cannot be read, or is of an adapter that the server cannot apply as it was trained.
    """
    try:
        raw = read_json(directory / ADAPTER_CONFIG, uri)
    except ModelUnavailable as error:
        raise AdapterInvalid(error.message) from None
    _require_lora(raw, uri)
    for field, what in _UNSERVED.items():
        if raw.get(field):
            raise refusal(uri, what, MERGE)
    if (bias := raw.get("bias") or "none") != "none":
        raise refusal(uri, f"trained biases (bias: {bias}), which vLLM does not serve", MERGE)
    started = str(raw.get("init_lora_weights") or "").lower()
    if changed := next((name for name in _CHANGES_BASE if started.startswith(name)), None):
        raise refusal(
            uri,
            f"began with {changed}, which takes a part out of the base's weights: beside the whole base it "
            "answers otherwise",
            "Save it with path_initial_model_for_weight_conversion (PEFT's save_pretrained), or merge it and "
            "adopt the merged folder",
        )
    rank, alpha = _number(raw, "r", uri), _number(raw, "lora_alpha", uri)
    settings = AdapterSettings(
        rank=int(rank), alpha=float(alpha), rslora=bool(raw.get("use_rslora")), raw=raw
    )
    largest = max([settings.rank, *(int(value) for value in settings.pattern("rank_pattern").values())])
    if largest > MOST_RANK:
        raise refusal(uri, f"has the rank {largest}, and vLLM serves {MOST_RANK} at most", MERGE)
    return settings


def _require_lora(raw: Mapping[str, Any], uri: str) -> None:
    kind = str(raw.get("peft_type") or "LORA").upper()
    if kind in _UNMERGED:
        raise refusal(uri, f"is an adapter of the kind {kind}, and vLLM serves LoRA", _TRAIN_LORA)
    if kind != "LORA":
        raise refusal(uri, f"is an adapter of the kind {kind}, and vLLM serves LoRA", MERGE)
    task = raw.get("task_type")
    if task not in (None, "CAUSAL_LM"):
        remedy = f"{_TRAIN_LORA} with task_type CAUSAL_LM"
        raise refusal(uri, f"was trained for {task}, and not to write text", remedy)


def _number(raw: Mapping[str, Any], field: str, uri: str) -> int | float:
    value = raw.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise refusal(
            uri,
            f"has {'no' if value is None else 'a wrong'} {field} in {ADAPTER_CONFIG}",
            "Correct the file: r and lora_alpha are positive numbers",
        )
    return value
