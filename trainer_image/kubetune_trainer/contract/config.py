"""What the operator tells the trainer: TrainerConfig, mounts, ports, and the layout of the output volume.

The operator writes one TrainerConfig per job into the ConfigMap ``<name>-config``; prepare and train read it
from CONFIG_PATH. Pure pydantic: importing this module must never import torch.
"""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, Field

from .config_base import ConfigModel, DecimalString
from .config_base import FileSource as FileSource  # for all who read a config
from .evaluation import JUDGE_KEY, EvaluationConfig

CONFIG_VERSION: Literal[1] = 1
"""Raised when a field changes its meaning. A trainer refuses a version that it does not know."""

CONFIG_PATH = "/etc/kubetune/config.json"
"""Where prepare and train find the TrainerConfig."""

OUTPUT_MOUNT = "/output"
"""Where the output claim is mounted in prepare and train (read-write) and in serving pods (read-only)."""

EPOCHS = "epochs"
"""In a run's directory, beside its artifact: adapters as they were at the ends of earlier epochs."""

INPUT_MOUNT = "/inputs"
"""``/inputs/{model,artifact,train,validation,evaluation,regression}``: pvc:// and configMap:// sources,
read-only."""

CREDENTIAL_KEYS: dict[str, dict[str, bool]] = {
    "hf": {"HF_TOKEN": True},
    "s3": {
        "AWS_ACCESS_KEY_ID": True,
        "AWS_SECRET_ACCESS_KEY": True,
        "AWS_ENDPOINT_URL": False,
        "AWS_REGION": False,
    },
    "judge": {JUDGE_KEY: True},
}
"""Keys of a credentials Secret by URI scheme, and whether the key must be there.

Each becomes an environment variable of the prepare container with the source's prefix (MODEL_, ARTIFACT_,
TRAIN_, VALIDATION_, EVALUATION_ or REGRESSION_), since they may need different credentials. A variable
without prefix is the fallback. A judge's key also goes to the evaluator (``evaluation.judge_variable``).
"""

RENDEZVOUS_PORT = 29500
GRACE_SECONDS = 30
"""Of a trainer pod, between SIGTERM and SIGKILL: all ranks agree on a step, save, if it fits, and stop."""
METRICS_PORT = 9400
"""Rank 0 serves /metrics, /progress and /steps here."""


class ModelSource(ConfigModel):
    """The base model."""

    uri: str
    """hf://org/name, s3://bucket/prefix or pvc://claim/path."""
    revision: str | None = None
    """Requested branch, tag or commit (hf only); prepare resolves it to a commit."""
    mount: str | None = None
    """Where a pvc:// model is found in the pod; None when prepare fetches it to the output volume."""


class AdoptedConfig(ConfigModel):
    """An adapter or a model that was trained elsewhere: its folder."""

    uri: str
    """hf://org/name[@revision][/path], s3://bucket/prefix or pvc://claim/path."""
    mount: str | None = None
    """Where a pvc:// folder is found in the pod; None when prepare fetches it."""
    digest: str | None = None
    """What the folder must hold; None takes what is there."""


class DatasetConfig(ConfigModel):
    """Rows and how to read them."""

    train: FileSource | None = None
    """None of a job that adopts an artifact and has no rows; others always have some."""
    validation: FileSource | None = None
    validation_fraction: DecimalString | None = None
    format: Literal["Auto", "Chat", "ShareGPT", "PromptCompletion", "Alpaca", "Text"] = "Auto"
    columns: dict[str, str] = Field(default_factory=dict)
    """Own column names for the standard ones: {"prompt": "text", "completion": "category"}."""
    system_prompt: str | None = None
    max_length: int = 1024
    """Tokens; longer rows are treated by on_too_long."""
    on_too_long: Literal["Truncate", "Drop", "Fail"] = "Drop"
    chat_template: str | None = None
    """Jinja text in the place of the model's own chat template."""
    chat_template_kwargs: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """What the chat template is given besides the conversation, in training and by default in serving."""
    on_leak: Literal["Warn", "Fail"] = "Warn"
    """What follows when validation rows stand in the training rows as well."""

    @property
    def rows(self) -> FileSource:
        """The training rows, for all that comes only where there are some."""
        assert self.train is not None
        return self.train

    @property
    def has_validation(self) -> bool:
        """Whether rows are held out, in a file of their own or by a fraction."""
        return self.validation is not None or self.validation_fraction is not None

    def as_decided(self) -> dict[str, Any]:
        """What decides the tokens; fields that came later are left out where they say nothing."""
        data = self.model_dump(exclude={"train": {"mount"}, "validation": {"mount"}, "on_leak": True})
        return {
            key: value
            for key, value in data.items()
            if value or key not in ("chat_template", "chat_template_kwargs")
        }


class AdapterConfig(ConfigModel):
    """What is trained: LoRA matrices, beside a base of 4-bit weights or not, or every weight."""

    type: Literal["LoRA", "QLoRA", "Full"] = "LoRA"
    rank: int = 16
    alpha: int = 32
    dropout: DecimalString = "0"
    target_modules: tuple[str, ...] = ("all-linear",)
    use_rslora: bool = False
    """Scales by alpha / sqrt(rank) instead of alpha / rank."""

    @property
    def full(self) -> bool:
        """Whether every weight is trained, and not an adapter beside them."""
        return self.type == "Full"


class ScheduleConfig(ConfigModel):
    """Learning-rate schedule."""

    type: Literal["Cosine", "Linear", "Constant"] = "Cosine"
    warmup_ratio: DecimalString = "0.03"


class SelectConfig(ConfigModel):
    """Which weights of the run are its result."""

    strategy: Literal["Last", "Best"] = "Last"
    """Best: those with the lowest loss on the validation rows."""
    patience: int | None = None
    """Looks at the validation rows without a lower loss after which training ends; None: it never does."""


class TrainingConfig(ConfigModel):
    """Everything that the training loop needs, defaults resolved by the operator."""

    method: Literal["SFT"] = "SFT"
    adapter: AdapterConfig
    epochs: int
    max_steps: int | None = None
    batch_size: int
    """Rows per optimizer step over all ranks: nodes x processes x per-device x accumulation."""
    learning_rate: DecimalString
    schedule: ScheduleConfig
    weight_decay: DecimalString = "0"
    """AdamW's; biases and norms have none."""
    max_grad_norm: DecimalString = "1"
    """Norm to which larger gradients are scaled down; 0 leaves them as they are."""
    select: SelectConfig = SelectConfig()
    keep_epochs: int = 0
    """Ends of epochs before the last whose adapters are kept beside the result."""
    on_divergence: Literal["Warn", "Stop"] = "Warn"
    """What follows when loss or gradients grow without end."""
    seed: int
    zero_stage: Literal[0, 1, 2, 3]
    nodes: int
    gpus_per_node: int
    """0 trains on CPU over gloo with one process per node."""
    checkpoint_every_steps: int | None = None
    """None: by time and by what a save costs."""
    checkpoint_keep: int
    collective_timeout_seconds: int = 1800
    """A collective that takes longer ends the rank as PeerLost."""

    @property
    def processes_per_node(self) -> int:
        """Ranks in one pod."""
        return max(1, self.gpus_per_node)

    @property
    def world_size(self) -> int:
        """Ranks over all pods."""
        return self.nodes * self.processes_per_node


class PlatformConfig(ConfigModel):
    """What the platform's settings say once for every pod (the pods also get it as environment)."""

    hf_endpoint: str | None = None
    ca_bundle: str | None = None
    """Path of the mounted CA bundle."""
    https_data_hosts: tuple[str, ...] = ()
    """Hosts of https:// rows: ``example.com``, ``example.com:8443``, or ``*.example.com`` for all below."""
    https_data_max_bytes: int = 10 * 1024**3
    """Largest https:// file."""


class ResolvedImages(ConfigModel):
    """Image references, frozen when the job starts."""

    trainer: str
    serving: str | None = None


class ServingConfig(ConfigModel):
    """What decides how much memory a server needs, as spec.serving had it when the job started."""

    gpus: int | None = None
    """GPUs of one server; prepare says how many it needs where the spec does not."""
    max_model_len: int | None = None
    """Longest sequence in tokens."""
    gpu_memory_utilization: DecimalString | None = None
    """Part of a GPU's memory that the server takes."""
    tool_call_parser: bool = False
    """Whether the server reads calls of tools in answers; without it, it takes no request with tools."""


class TrainerConfig(ConfigModel):
    """The versioned document in the ConfigMap ``<name>-config``."""

    version: Literal[1] = CONFIG_VERSION
    namespace: str
    name: str
    use_case: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of the job that the platform lists, for the model card."""
    model: ModelSource
    dataset: DatasetConfig
    adopt: AdoptedConfig | None = None
    """What is served in the place of something trained; ``training`` then says nothing. None to train."""
    training: TrainingConfig
    images: ResolvedImages
    gpu_memory_bytes: int | None = None
    """Memory of one GPU when the platform says it; prepare compares its estimate with it."""
    gpu_type: str | None = None
    """Type of the platform's GPUs, which says memory, numbers and speed; gpu_memory_bytes wins."""
    serving: ServingConfig | None = None
    """None when no server was asked for."""
    evaluation: EvaluationConfig | None = None
    """None when the result is not evaluated."""
    platform: PlatformConfig = PlatformConfig()
    operator: dict[str, Any] = Field(default_factory=dict)
    """The operator's own frozen settings (serving, images, probes): the trainer ignores them."""

    @property
    def run_key(self) -> str:
        """Digest of what decides the result, and of nothing else; 16 hex digits.

        Credentials, nodes, resources, images, retries, checkpoint interval, ZeRO stage, pod template, what
        follows on divergence and what is kept beside the result are left out: they do not change the result.
        """
        training = self.training
        decides: dict[str, Any] = {
            "model": {"uri": self.model.uri, "revision": self.model.revision},
            "dataset": self.dataset.as_decided(),
        }
        if self.adopt is not None:
            return digest_of(decides | {"adopt": self.adopt.model_dump(exclude={"mount"})})
        decides |= {
            "training": {
                "method": training.method,
                "adapter": _normalised(training.adapter),
                "epochs": training.epochs,
                "max_steps": training.max_steps,
                "batch_size": training.batch_size,
                "learning_rate": _decimal(training.learning_rate),
                "schedule": _normalised(training.schedule),
                "seed": training.seed,
            },
        }
        later = {name: _decimal(getattr(training, name)) for name in ("weight_decay", "max_grad_norm")}
        decides["training"] |= _where_set(training, later)
        if training.select != SelectConfig():
            looks = {"every_steps": training.checkpoint_every_steps}  # when validation rows are scored
            decides["training"]["select"] = training.select.model_dump() | looks
        decides["dataset"]["validation_fraction"] = _decimal(self.dataset.validation_fraction)
        return digest_of(decides)

    @property
    def run_directory(self) -> PurePosixPath:
        """``/output/<job name>/<run key>``."""
        return PurePosixPath(OUTPUT_MOUNT) / self.name / self.run_key


def model_directory(uri: str, revision: str) -> PurePosixPath:
    """Where a fetched model lies: ``/output/models/<digest>``; revision is what prepare resolved."""
    return PurePosixPath(OUTPUT_MOUNT) / "models" / digest_of({"uri": uri, "revision": revision})


def epoch_adapter(artifact: str, step: int) -> str:
    """Where the adapter of an earlier step lies that was kept beside an artifact; both are relative to the
    volume."""
    return str(PurePosixPath(artifact).parent / EPOCHS / f"step-{step:06d}")


def digest_of(value: Any) -> str:
    """First 16 hex digits of the SHA-256 of the value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _decimal(text: str | None) -> str | None:
    """One spelling for one number: "2e-4" and "0.0002" train the same model."""
    return None if text is None else f"{Decimal(text).normalize():f}"


def _normalised(model: AdapterConfig | ScheduleConfig) -> dict[str, Any]:
    if isinstance(model, AdapterConfig) and model.full:
        return {"type": model.type}  # rank and target modules mean nothing to a full fine-tune
    data = model.model_dump(mode="json", exclude={"use_rslora"})
    if isinstance(model, AdapterConfig):
        data |= _where_set(model, {"use_rslora": model.use_rslora})
    return {
        key: _decimal(value) if key in ("dropout", "warmup_ratio") else value for key, value in data.items()
    }


def _where_set(model: BaseModel, later: dict[str, Any]) -> dict[str, Any]:
    """Of fields that came later those that are not at their default: jobs of before keep their run key."""
    fields = type(model).model_fields
    defaults = {name: fields[name].default for name in later}
    return {
        name: value
        for name, value in later.items()
        if value != (_decimal(defaults[name]) if isinstance(defaults[name], str) else defaults[name])
    }
