"""spec.training: how, and on how many machines, the model is trained."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from kubetune.api.base import ATOMIC, INT32_MAX, DecimalString, Image, Rule, SpecModel, not_bool
from kubetune.api.v1alpha1.pod_template import PodTemplate
from kubetune.api.v1alpha1.resources import Resources
from kubetune_trainer.contract.messages import MOST_KEPT

LEARNING_RATES: Final[Mapping[str, Decimal]] = {
    "LoRA": Decimal("0.0002"),
    "QLoRA": Decimal("0.0002"),
    "Full": Decimal("0.00002"),
}
"""Defaults of learningRate: adapters start from zero, and bear ten times the rate of a full fine-tune."""

TargetModule = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=128)]


class Adapter(SpecModel):
    """What is trained: low-rank matrices beside the frozen weights, or every weight."""

    rules: ClassVar = (
        Rule(
            cel="double(self.dropout) < 1.0",
            check=lambda adapter: adapter.dropout < 1,
            path=".dropout",
            message='must be below 1; write for example "0.05"',
        ),
        Rule(
            cel="!('all-linear' in self.targetModules) || size(self.targetModules) == 1",
            check=lambda adapter: (
                "all-linear" not in adapter.target_modules or len(adapter.target_modules) == 1
            ),
            path=".targetModules",
            message="all-linear stands alone; remove it or the other names",
        ),
    )

    type: Literal["LoRA", "QLoRA", "Full"] = "LoRA"
    """LoRA trains a small adapter; QLoRA does so beside a base in 4 bits, with a quarter of its memory; Full
    trains every weight, and ignores the fields below."""
    rank: int = Field(default=16, ge=1, le=512, strict=True)
    """Rank of the LoRA matrices."""
    alpha: int = Field(default=32, ge=1, le=65536, strict=True)
    """LoRA scaling: updates are multiplied by alpha / rank."""
    use_rslora: bool = Field(default=False, strict=True)
    """Multiplies updates by alpha / sqrt(rank) instead, which suits high ranks."""
    dropout: DecimalString = Decimal("0")
    """Dropout before the LoRA matrices, below 1."""
    target_modules: tuple[TargetModule, ...] = Field(default=("all-linear",), min_length=1, max_length=64)
    """Names of the modules that get an adapter; all-linear is every linear layer of the text model but
    the output head and routers."""


class Schedule(SpecModel):
    """Learning rate over the run."""

    rules: ClassVar = (
        Rule(
            cel="double(self.warmupRatio) < 1.0",
            check=lambda schedule: schedule.warmup_ratio < 1,
            path=".warmupRatio",
            message='must be below 1; write for example "0.03"',
        ),
    )

    type: Literal["Cosine", "Linear", "Constant"] = "Cosine"
    """Shape of the decay after warm-up."""
    warmup_ratio: DecimalString = Decimal("0.03")
    """Part of all steps in which the learning rate rises to its peak, below 1."""


class Select(SpecModel):
    """Which weights of the run are its result."""

    rules: ClassVar = (
        Rule(
            cel="!has(self.patience) || self.strategy == 'Best'",
            check=lambda select: select.patience is None or select.strategy == "Best",
            path=".patience",
            message="is for strategy Best alone; set that, or remove patience",
        ),
    )

    strategy: Literal["Last", "Best"] = "Last"
    """Last: those of the last step. Best: those with the lowest loss on the validation rows, of which the
    same sample is scored throughout the run."""
    patience: int | None = Field(default=None, ge=1, le=1000, strict=True)
    """Ends training once so many scores in a row were not the lowest. Default: it goes on to its end."""


class DeepSpeed(SpecModel):
    """DeepSpeed settings."""

    zero_stage: Annotated[Literal[0, 1, 2, 3], BeforeValidator(not_bool)] = 2
    """What is divided between GPUs. 0: nothing, 1: optimizer state, 2: and gradients, 3: and weights."""


class Checkpoint(SpecModel):
    """When training state is saved."""

    every_steps: int | None = Field(default=None, ge=1, le=INT32_MAX, strict=True)
    """Steps between checkpoints. By default 10 minutes, and more where saving takes longer than 2 seconds."""
    keep: int = Field(default=2, ge=1, le=100, strict=True)
    """Checkpoints that are kept; an old one is deleted only after a newer one is verified."""


class Retries(SpecModel):
    """What happens after a failed attempt."""

    max: int = Field(default=3, ge=0, le=100, strict=True)
    """Attempts after the first. Only failures of the job's own count, not evictions and preemptions."""


class Training(SpecModel):
    """How the model is trained."""

    model_config = ATOMIC

    rules: ClassVar = (
        Rule(
            cel="self.batchSize % (self.nodes * (self.gpusPerNode > 0 ? self.gpusPerNode : 1)) == 0",
            check=lambda training: training.batch_size % training.world_size == 0,
            path=".batchSize",
            message="must be divisible by nodes x gpusPerNode (1 process per node on CPU); choose a multiple",
        ),
        Rule(
            cel="!has(self.learningRate) || double(self.learningRate) > 0.0",
            check=lambda training: training.learning_rate is None or training.learning_rate > 0,
            path=".learningRate",
            message='must be above 0; write for example "2e-4"',
        ),
        Rule(
            cel="self.adapter.type != 'QLoRA' || self.deepspeed.zeroStage < 3",
            check=lambda training: training.adapter.type != "QLoRA" or training.deepspeed.zero_stage < 3,
            path=".deepspeed.zeroStage",
            message="must be below 3 with adapter.type QLoRA; use 2, or type LoRA",
        ),
        Rule(
            cel="self.keepEpochs == 0 || self.adapter.type != 'Full'",
            check=lambda training: training.keep_epochs == 0 or training.adapter.type != "Full",
            path=".keepEpochs",
            message="is for adapters, which a server answers with side by side; remove it, or use type LoRA",
        ),
    )

    method: Literal["SFT"] = "SFT"
    """SFT: supervised fine-tuning on the answers in the dataset."""
    adapter: Adapter = Field(default_factory=Adapter)
    """What is trained."""
    epochs: int = Field(default=3, ge=1, le=1000, strict=True)
    """Passes over the training rows."""
    max_steps: int | None = Field(default=None, ge=1, le=INT32_MAX, strict=True)
    """Ends training after so many optimizer steps, whatever epochs says."""
    batch_size: int = Field(default=32, ge=1, le=1048576, strict=True)
    """Rows per optimizer step over all nodes and GPUs: nodes x GPUs x rows per GPU x accumulation."""
    learning_rate: DecimalString | None = None
    """Peak learning rate, such as "2e-4". Default: 2e-4 for LoRA and QLoRA, 2e-5 for Full."""
    schedule: Schedule = Field(default_factory=Schedule)
    """Learning rate over the run."""
    weight_decay: DecimalString = Decimal("0")
    """AdamW's weight decay, such as "0.01"; biases and norms have none."""
    max_grad_norm: DecimalString = Decimal("1")
    """Gradients whose norm is larger are scaled down to it; 0 leaves them as they are."""
    select: Select = Field(default_factory=Select)
    """Which weights of the run are its result."""
    keep_epochs: int = Field(default=0, ge=0, le=MOST_KEPT, strict=True)
    """The adapter is also kept as it was at the ends of so many epochs before the last, and the result's
    server answers with each, by the name in status.artifact.checkpoints. Not for adapter.type Full."""
    on_divergence: Literal["Warn", "Stop"] = "Warn"
    """What follows when the loss or the gradients grow without end. Warn: status.progress.warnings and an
    Event say so. Stop: the job ends too, and keeps its checkpoints."""
    seed: int = Field(default=42, ge=0, le=INT32_MAX, strict=True)
    """Seed of all randomness. To train the same spec anew, change it."""
    deepspeed: DeepSpeed = Field(default_factory=DeepSpeed)
    """DeepSpeed settings."""
    nodes: int = Field(default=1, ge=1, le=512, strict=True)
    """Pods that train together."""
    gpus_per_node: int = Field(ge=0, le=64, strict=True)
    """GPUs of one pod; 0 trains on CPU, with one process per pod."""
    resources: Resources | None = None
    """Resources of one training pod. Default: gpusPerNode GPUs, and requests of 2 CPUs and 12Gi of memory for
    each; without GPUs 1 CPU and 4Gi of memory, which is then limited to that."""
    checkpoint: Checkpoint = Field(default_factory=Checkpoint)
    """When training state is saved."""
    retries: Retries = Field(default_factory=Retries)
    """What happens after a failed attempt."""
    image: Image | None = None
    """Trainer image. Default: the platform's."""
    pod_template: PodTemplate | None = None
    """Goes on top of spec.podTemplate for training pods; prepare does not get it."""

    @property
    def world_size(self) -> int:
        """Processes over all pods."""
        return self.nodes * max(self.gpus_per_node, 1)
