"""What the trainer tells the operator: exit codes, the termination message with its summaries, and /progress.

Pure pydantic, like ``config``: the operator parses these. Unknown fields are ignored on reading, so that an
operator understands a trainer that is newer than itself.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from .evaluation import EvaluationPlan
from .messages_base import Count, Message, Number, Path, Seconds, Sentence, Short, Small, UnixSeconds

TERMINATION_LOG = "/dev/termination-log"
TERMINATION_LIMIT = 4096
"""Bytes that the kubelet keeps of a termination message."""


class ExitCode(IntEnum):
    """Exit codes of the trainer's container; any other code is Unknown."""

    COMPLETED = 0
    INVALID_INPUT = 42
    OUT_OF_MEMORY = 43
    PREEMPTED = 44
    NUMERICAL_FAILURE = 45
    PEER_LOST = 46
    DIRECTORY_IN_USE = 47


class Reason(StrEnum):
    """Reasons of a termination message: one per exit code, then those that say more about code 42."""

    COMPLETED = "Completed"
    INVALID_INPUT = "InvalidInput"
    OUT_OF_MEMORY = "OutOfMemory"
    PREEMPTED = "Preempted"
    NUMERICAL_FAILURE = "NumericalFailure"
    PEER_LOST = "PeerLost"
    DIRECTORY_IN_USE = "DirectoryInUse"
    UNKNOWN = "Unknown"
    DATA_INVALID = "DataInvalid"
    MODEL_UNAVAILABLE = "ModelUnavailable"
    ADAPTER_INVALID = "AdapterInvalid"
    DOES_NOT_FIT = "DoesNotFit"
    VOLUME_UNUSABLE = "VolumeUnusable"
    GPU_UNUSABLE = "GpuUnusable"


MOST_KEPT = 10
"""Adapters of earlier epochs: each takes a place in the server's memory, and of the status."""

SOCKETS = "Sockets"
"""In Progress.transport: gradients go between nodes over TCP."""


class ModelSummary(Message):
    """The base model as prepare pinned it."""

    revision: Short
    """Commit of a hub model, else a digest of the files."""
    path: Path
    """Directory in the pod: below /output/models, or the mount of a pvc:// model."""
    architecture: Short
    parameters: Count
    digest: Short = ""
    """Of all files that are read, as they were when prepare checked them."""


class TokensPerRow(Message):
    """Distribution of row lengths, in tokens."""

    mean: Small
    p50: Small
    p95: Small
    max: Small


class DatasetSummary(Message):
    """The rows as prepare tokenised them."""

    fingerprint: Short
    train_rows: Count
    validation_rows: Count
    train_tokens: Count
    tokens_per_row: TokensPerRow
    truncated_rows: Count = 0
    dropped_rows: Count = 0
    duplicate_rows: Count = 0
    leaked_rows: Count = 0
    """Validation rows that stand in the training rows as well."""
    split_rows: Count = 0
    """Training rows that became several examples, one per learned turn."""
    train_examples: Count = 0
    """What training reads: as many as rows, and more where rows are split."""
    validation_examples: Count = 0
    sha256: Short | None = None
    """Of the training file, where it came over https://: a URL says nothing about what lies there."""
    warnings: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _one_example_per_row(cls, data: Any) -> Any:
        """Fill in what summaries of earlier trainers do not tell."""
        if not isinstance(data, dict):
            return data
        given = {f"{part}_examples": data.get(f"{part}_rows") for part in ("train", "validation")}
        return given | data


class PlanSummary(Message):
    """What training will do and need."""

    total_steps: Count
    trainable_parameters: Count
    memory_per_gpu_bytes: Count
    """Estimate for one rank: on CPU it is the process's memory."""
    tokens_per_pass: Count = 0
    """Padded tokens of one forward pass on one rank; a single row may be longer. 0: not told."""
    estimated_seconds: Seconds
    serving_gpus: Small = 0
    """GPUs of one server: those asked for, else those that the model needs. 0: not told."""


class CheckpointSummary(Message):
    """An adapter that was kept at the end of an epoch, at ``config.epoch_adapter``."""

    step: Count
    epoch: Small
    """Epochs that it had learned from."""


class ArtifactSummary(Message):
    """A verified artifact on the output volume."""

    path: Path
    """Relative to the volume: ``<job>/<run key>/adapter`` or ``.../model``."""
    digest: Short
    """``sha256:...`` of its MANIFEST.json."""
    size_bytes: Count
    type: str
    """LoRA or Full."""
    rank: Small | None = None
    base_model: Path
    base_revision: Short
    train_loss: Number | None = None
    validation_loss: Number | None = None
    chat_content: Literal["string", "openai"] | None = None
    """How ``chat_template.jinja`` beside the weights takes a message's content, under vLLM's names for text
    and a list of parts; None without one."""
    generation_config: bool = False
    """Whether a LoRA adapter brings a generation_config.json, for the tokens at which the server stops."""
    step: Count | None = None
    """Optimizer step whose weights these are, where the best are chosen; else they are the last."""
    last_step: Count | None = None
    """Step at which training ended, where the best weights are chosen."""
    checkpoints: Annotated[tuple[CheckpointSummary, ...], Field(max_length=MOST_KEPT)] = ()
    """Adapters of earlier steps that lie beside it, the earliest first."""
    source_digest: Short | None = None
    """``sha256:...`` of the folder that was adopted, which ``adopt.digest`` pins; None if trained."""
    warnings: Annotated[tuple[Sentence, ...], Field(max_length=20)] = ()
    """What users should know about an artifact that was adopted."""


class PrepareSummary(Message):
    """Summary of a completed prepare."""

    model: ModelSummary
    dataset: DatasetSummary
    plan: PlanSummary
    artifact: ArtifactSummary | None = None
    """The one that the job adopts; else a finished one of the same run key, data and model, which is not
    trained again."""
    evaluation: EvaluationPlan | None = None
    """None when the result is not evaluated."""


class Progress(Message):
    """Body of rank 0's /progress."""

    step: Count
    total_steps: Count
    epoch: Number
    """Decimal with two places."""
    loss: Number | None = None
    validation_loss: Number | None = None
    tokens_per_second: Count | None = None
    trained_tokens: Count = 0
    remaining_seconds: Seconds | None = None
    last_checkpoint_step: Count | None = None
    last_checkpoint_time: UnixSeconds | None = None
    """When the newest checkpoint was verified, by rank 0's clock."""
    memory_peak_bytes: Count | None = None
    """Most memory that one rank has held in this attempt; the plan has the estimate."""
    best_step: Count | None = None
    """Step with the lowest validation loss so far, where the best weights are chosen."""
    transport: Short | None = None
    """How gradients travel, such as "Sockets; P2P within a node"; None on CPU and while it is not known."""
    warnings: Annotated[tuple[Sentence, ...], Field(max_length=20)] = ()
    """What is wrong with the attempt now."""


class TrainSummary(Message):
    """Summary of an attempt, written by rank 0's pod."""

    from_step: Count = 0
    to_step: Count = 0
    artifact: ArtifactSummary | None = None
    """Present when the attempt completed."""
    progress: Progress | None = None
    """What /progress said at the end, without warnings; None where nothing was left to train."""


class TerminationMessage(Message):
    """JSON in TERMINATION_LOG, at most TERMINATION_LIMIT bytes."""

    reason: Reason
    message: str
    """A sentence: what happened, where, what to do."""
    step: Count | None = None
    summary: dict[str, Any] = Field(default_factory=dict)
    """The subcommand's summary as JSON; of invalid data: {"errors": n, "rows": [first 20]}."""
