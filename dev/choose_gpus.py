"""docs/how-to/choose-gpus.md: which GPUs hold which models, from the estimator that prepare uses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from dev.shapes import SHAPES, architecture_of, trained_by_lora
from kubetune_trainer.base.architecture import Architecture
from kubetune_trainer.contract.config import TrainerConfig
from kubetune_trainer.contract.errors import DoesNotFit
from kubetune_trainer.sizing import gpus
from kubetune_trainer.sizing.estimate import Shape, plan
from kubetune_trainer.sizing.memory import SHARE

ROW_TOKENS: Final = 2048
BATCH: Final = 32
_GPUS_OF_A_NODE: Final = 8
_METHODS: Final = ("LoRA", "QLoRA", "Full")
_TYPES: Final = {"L4": "24 GB", "L40S": "48 GB", "A100-80GB": "80 GB", "H200-141GB": "141 GB"}
"""Types that the tables are for, each for the others of its size."""
_OTHERS: Final = {"L4": "A10, A10G", "L40S": "A40, RTX A6000", "A100-80GB": "H100", "H200-141GB": ""}

_PAGE: Final = """<!-- DO NOT EDIT; run make generate -->
# Choose GPUs

The tables say the smallest set-up that holds a model, as prepare estimates it: for rows of up to {row:,}
tokens (`dataset.maxLength`) and a `training.batchSize` of {batch}. Nothing has to be tried: prepare computes
the same for your rows, and refuses a job that does not fit before a GPU is held, with the smallest set-up
that would.

How to read them:

- **nodes x GPUs** are `training.nodes` and `training.gpusPerNode`. More GPUs than these make training faster;
  the batch must be a multiple of their number.
- **zeroStage** is `training.deepspeed.zeroStage`. With 2 each GPU holds the whole model, and its part of
  gradients and optimizer; with 3 it holds its part of all, and asks the others for the rest at every layer:
  choose 3 only where 2 does not fit, and where GPUs are well connected. On one GPU it says nothing.
- **tokens per pass** is what one GPU computes at once. Prepare chooses it, 16,384 at most; with few of
  them a GPU waits for its memory more than it computes.
- **memory** is what one GPU will hold, by the estimate, at most {share:.0f} % of what it has. The job's
  status has the estimate for your rows as `memoryPerGPU`.
- Longer rows need more: one row of {row:,} tokens must fit in any case. Rows of half the length need hardly
  less, since a pass takes more of them then.
- LoRA is of rank 16 on all linear layers, which is the default. QLoRA keeps the base in 4 bits: a quarter of
  the memory of the weights, at a lower speed. Full changes every weight, and holds gradients and optimizer of
  all of them.

Say `settings.gpuType` of the chart, or `settings.gpuMemoryBytes`, for prepare to know your GPUs:
[install](install-on-a-gpu-cluster.md). Time and cost are on [a page of their own](estimate-time-and-cost.md).
The models stand for all of their size. A GPU without bf16 (T4, V100) trains in float32 and needs twice the
memory for weights and activations, and so is in no table.
{tables}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The smallest set-up that holds a model."""

    nodes: int
    gpus: int
    """Of each node."""
    stage: int
    tokens: int
    """Of a pass of one GPU."""
    memory: int
    """Bytes on each GPU."""


def page() -> str:
    """The page as Markdown."""
    models = {name: architecture_of(shape) for name, shape in SHAPES.items()}
    trained = {
        (name, method): models[name].parameters if method == "Full" else trained_by_lora(shape)
        for name, shape in SHAPES.items()
        for method in _METHODS
    }
    tables = []
    for gpu, size in _TYPES.items():
        others = f", {_OTHERS[gpu]}" if _OTHERS[gpu] else ""
        rows = [
            f"| {name} | {method} | {_cells(smallest(model, trained[name, method], method, gpu))} |"
            for name, model in models.items()
            for method in _METHODS
        ]
        head = "| model | adapter.type | nodes x GPUs | zeroStage | tokens per pass | memory |"
        title = f"## {size}: {gpu}{others}"
        about = f"A process gets {gpus.known(gpu).memory_bytes / 1e9:.0f} GB of a GPU of type {gpu}."
        tables.append("\n".join(["", title, "", about, "", head, "|---|---|---|---|---|---|", *rows, ""]))
    return _PAGE.format(row=ROW_TOKENS, batch=BATCH, share=100 * SHARE, tables="".join(tables))


def smallest(model: Architecture, trained: int, method: str, gpu: str) -> Setup | None:
    """The fewest GPUs of a type that hold a model, and of as many the lower stage; None: no number does."""
    limit = SHARE * gpus.known(gpu).memory_bytes
    for nodes, per_node, stage in _setups(method):
        config = config_of(method, gpu, nodes=nodes, per_node=per_node, stage=stage)
        try:
            found = plan(config, model, trained, Shape(rows=1000, tokens=1_000_000, longest=ROW_TOKENS))
        except DoesNotFit:
            continue
        if found.memory_per_gpu_bytes <= limit:
            return Setup(
                nodes=nodes,
                gpus=per_node,
                stage=stage,
                tokens=found.tokens_per_pass,
                memory=found.memory_per_gpu_bytes,
            )
    return None


def _setups(method: str) -> Iterator[tuple[int, int, int]]:
    """Nodes, GPUs of each and ZeRO stage, the fewest GPUs first; every rank has a row of the batch."""
    world = 1
    while world <= BATCH:
        for stage in (2, 3):
            if stage == 2 or (world > 1 and method != "QLoRA"):  # 4-bit weights cannot be divided
                yield -(-world // _GPUS_OF_A_NODE), min(world, _GPUS_OF_A_NODE), stage
        world *= 2


def config_of(method: str, gpu: str, *, nodes: int, per_node: int, stage: int) -> TrainerConfig:
    """A job for a set-up, with rows and batch of the tables."""
    training: dict[str, Any] = {
        "adapter": {"type": method},
        "epochs": 1,
        "batch_size": BATCH,
        "learning_rate": "1e-4",
        "schedule": {},
        "seed": 1,
        "zero_stage": stage,
        "nodes": nodes,
        "gpus_per_node": per_node,
        "checkpoint_every_steps": 100,
        "checkpoint_keep": 1,
    }
    return TrainerConfig.model_validate(
        {
            "namespace": "docs",
            "name": "docs",
            "model": {"uri": "hf://docs/docs"},
            "dataset": {"train": {"uri": "hf://docs/docs"}, "max_length": ROW_TOKENS},
            "training": training,
            "images": {"trainer": "none"},
            "gpu_type": gpu,
        }
    )


def _cells(setup: Setup | None) -> str:
    if setup is None:
        return f"more than {BATCH} | | |"
    stage = str(setup.stage) if setup.nodes * setup.gpus > 1 else "any"
    memory = f"{setup.memory / 1e9:.0f} GB"
    return f"{setup.nodes} x {setup.gpus} | {stage} | {setup.tokens:,} | {memory}"
