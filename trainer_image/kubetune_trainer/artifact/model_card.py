"""The artifact's README.md: what it is, what it was trained on and how, and how to use it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..contract.config import TrainerConfig
from ..contract.layout import RunDirectory
from ..contract.messages import DatasetSummary, ModelSummary

CARD_NAME = "README.md"
"""Its name in the artifact. Manifests have named it until there were evaluations, which amend it."""

USE_HEADING = "## Use"


@dataclass(slots=True, frozen=True, kw_only=True)
class Result:
    """What the run came to: the weights that are published, and their losses."""

    step: int
    """Optimizer step that they are of."""
    last_step: int
    """Step at which training ended."""
    train: float | None
    validation: float | None
    first_validation: float | None


def render(
    config: TrainerConfig,
    run: RunDirectory,
    base: ModelSummary,
    result: Result,
    untrained_experts: Sequence[str],
    key_mapping: Mapping[str, str],
    quantisation_shift: float | None = None,
) -> str:
    """Write the card as Markdown with the header that model hubs read.

    ``quantisation_shift`` is that of the canary, in nats; None unless the base was trained on in 4 bits.

    ``key_mapping`` is what PEFT needs to find the adapter's names in the model that transformers loads.
    """
    dataset = DatasetSummary.model_validate_json(run.dataset_file.read_bytes())
    lora = not config.training.adapter.full
    hub = config.model.uri.removeprefix("hf://") if config.model.uri.startswith("hf://") else None
    parts = [
        _header(hub, lora),
        f"# {config.name}",
        config.use_case or "A fine-tuned model.",
        *([_table(config.labels)] if config.labels else []),
        "The licence of the base model applies; this card grants none of its own.",
        "## Base model\n",
        _table({"Model": config.model.uri, "Revision": base.revision, "Architecture": base.architecture}),
        "## Data\n",
        _table(_data(config, dataset)),
        "## Training\n",
        _table(_training(config)),
        "## Results\n",
        _table(_results(result)),
        *_four_bit(quantisation_shift),
        *_experts(untrained_experts),
        f"{USE_HEADING}\n",
        _use(hub, config.model.uri, config.name, lora, key_mapping),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def adopted(
    config: TrainerConfig, base: ModelSummary, *, source_digest: str, lora: bool, warnings: Sequence[str]
) -> str:
    """Write the card of an artifact that was trained elsewhere."""
    assert config.adopt is not None
    hub = config.model.uri.removeprefix("hf://") if config.model.uri.startswith("hf://") else None
    listed = "\n".join(f"- {warning}" for warning in warnings)
    parts = [
        _header(hub, lora),
        f"# {config.name}",
        config.use_case or "A fine-tuned model.",
        *([_table(config.labels)] if config.labels else []),
        "The licences of the base model and of the adopted folder apply; this card grants none of its own.",
        "## Base model\n",
        _table({"Model": config.model.uri, "Revision": base.revision, "Architecture": base.architecture}),
        "## Adopted\n",
        "Trained elsewhere: this job has verified and served it.",
        _table({"From": config.adopt.uri, "Digest of that folder": source_digest}),
        *([listed] if warnings else []),
        "## Use\n",
        _use(hub, config.model.uri, config.name, lora, {}),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _header(hub: str | None, lora: bool) -> str:
    lines = [
        "---",
        f"base_model: {json.dumps(hub)}" if hub else "",
        f"library_name: {'peft' if lora else 'transformers'}",
    ]
    lines += [
        "pipeline_tag: text-generation",
        "tags: [kubetune, lora]" if lora else "tags: [kubetune]",
        "---",
    ]
    return "\n".join(line for line in lines if line)


def _data(config: TrainerConfig, dataset: DatasetSummary) -> dict[str, Any]:
    return {
        "Training rows": f"{dataset.train_rows} from {config.dataset.rows.uri}",
        "Validation rows": dataset.validation_rows,
        "Training tokens": dataset.train_tokens,
        "Tokens per row": f"mean {dataset.tokens_per_row.mean}, median {dataset.tokens_per_row.p50}, "
        f"95 % {dataset.tokens_per_row.p95}, longest {dataset.tokens_per_row.max}",
        "Truncated, dropped and duplicate rows": f"{dataset.truncated_rows}, {dataset.dropped_rows} and "
        f"{dataset.duplicate_rows}",
        "Fingerprint": dataset.fingerprint,
    }


def _training(config: TrainerConfig) -> dict[str, Any]:
    training, adapter = config.training, config.training.adapter
    kind = "Full fine-tune"
    if not adapter.full:
        kind = (
            f"{adapter.type}, rank {adapter.rank}, alpha {adapter.alpha}"
            f"{' (scaled by alpha / sqrt(rank))' if adapter.use_rslora else ''}, dropout {adapter.dropout}, "
            f"on {', '.join(adapter.target_modules)}"
        )
    return {
        "Method": training.method,
        "Trained": kind,
        "Epochs": training.epochs,
        "Most steps": training.max_steps or "not limited",
        "Global batch": training.batch_size,
        "Learning rate": training.learning_rate,
        "Schedule": f"{training.schedule.type}, warm-up {training.schedule.warmup_ratio}",
        "Seed": training.seed,
        "Longest row": f"{config.dataset.max_length} tokens",
    }


def _results(result: Result) -> dict[str, Any]:
    chosen = result.step != result.last_step
    losses = {
        f"Training loss of {'that' if chosen else 'the last'} step": result.train,
        "Validation loss": result.validation,
        "Validation loss before training": result.first_validation,
    }
    told = {name: "not measured" if value is None else f"{value:.4f}" for name, value in losses.items()}
    step = {"Weights of step": f"{result.step} of {result.last_step}: the lowest validation loss"}
    return step | told if chosen else told


def _four_bit(shift: float | None) -> list[str]:
    if shift is None:
        return []
    return [
        "Losses were measured on the base in 4 bits (NF4), which was trained on. On the full base, which the "
        "adapter is served on, the log-probability of a learned token differs by "
        f"{shift:.4f} nats on average."
    ]


def _experts(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    listed = "\n".join(f"- `{name}`" for name in names)
    return ["## Not trained\n", f"These expert layers stayed as they are in the base model:\n\n{listed}"]


def _use(hub: str | None, uri: str, name: str, lora: bool, key_mapping: Mapping[str, str]) -> str:
    where = "DIRECTORY is this directory"
    if not lora:
        return f"{where}. With vLLM:\n\n```\nvllm serve DIRECTORY --served-model-name {name}\n```"
    loading = """from peft import AutoPeftModelForCausalLM

model = AutoPeftModelForCausalLM.from_pretrained("DIRECTORY")"""
    if hub is None:  # the adapter names a base that no library can fetch
        where = f"{where}, BASE is one with the files of the base model, {uri}"
    if hub is None or key_mapping:
        mapping = f", key_mapping={dict(key_mapping)}" if key_mapping else ""
        loading = f"""from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained("{hub or "BASE"}")
model = PeftModel.from_pretrained(base, "DIRECTORY"{mapping})"""
    return f"""{where}. With PEFT:

```python
{loading}
```

With vLLM:

```
vllm serve {hub or "BASE"} --enable-lora --lora-modules {name}=DIRECTORY
```"""


def _table(rows: dict[str, Any]) -> str:
    lines = [
        f"| {key} | {str(value).replace('|', ' ').replace(chr(10), ' ')} |" for key, value in rows.items()
    ]
    return "\n".join(["| | |", "|---|---|", *lines])
