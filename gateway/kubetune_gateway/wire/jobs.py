"""Fine-tuning jobs on the wire: what is asked for, and what is told.

Source: openai/openai-openapi (2026-08), and the types of openai-python, whose strict mode refuses null where
a type does not name it. Keys that are not known are left alone: clients send some of other vendors.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Status = Literal["validating_files", "queued", "running", "succeeded", "failed", "cancelled"]
"""There are no others: programs look them up."""

ENDED: Final[frozenset[Status]] = frozenset({"succeeded", "failed", "cancelled"})

AUTO: Final = "auto"
MAX_SEED: Final = 2**31 - 1

_Auto = Literal["auto"]
Metadata = Annotated[
    dict[Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=512)]],
    Field(max_length=16),
]
"""Pairs of a client's own."""


class Wire(BaseModel):
    """Base of all that is sent or received."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Hyperparameters(Wire):
    """Numbers of a training; "auto" is resolved when the job is made."""

    n_epochs: _Auto | Annotated[int, Field(ge=1, le=50)] = AUTO
    """Passes over the rows."""
    batch_size: _Auto | Annotated[int, Field(ge=1, le=256)] = AUTO
    """Rows per step, over all GPUs."""
    learning_rate_multiplier: _Auto | Annotated[float, Field(gt=0, allow_inf_nan=False)] = AUTO
    """Of the default rate."""


class Supervised(Wire):
    """Settings of the one method that there is."""

    hyperparameters: Hyperparameters = Hyperparameters()


class Method(Wire):
    """How to train. Blocks of other methods than `type` are ignored, as OpenAI does."""

    type: Literal["supervised"] = "supervised"
    supervised: Supervised = Supervised()


class CreateJob(Wire):
    """Body of POST /fine_tuning/jobs."""

    model: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    training_file: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    validation_file: str | None = None
    suffix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    metadata: Metadata | None = None
    hyperparameters: Hyperparameters | None = None
    """As older programs say them; `method` wins."""
    method: Method | None = None

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        """Treat null as absent, as OpenAI does."""
        return (
            {name: value for name, value in data.items() if value is not None}
            if isinstance(data, dict)
            else data
        )

    @property
    def wanted(self) -> Hyperparameters:
        """The numbers that count."""
        if self.method is not None:
            return self.method.supervised.hyperparameters
        return self.hyperparameters or Hyperparameters()


class JobError(Wire):
    """Why a job has failed."""

    code: str
    message: str
    param: str | None = None


class FineTuningJob(Wire):
    """A job as it is told."""

    id: str
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: int
    """Unix seconds, as all times here."""
    finished_at: int | None = None
    model: str
    fine_tuned_model: str | None = None
    organization_id: str
    """The namespace."""
    status: Status
    hyperparameters: Hyperparameters
    result_files: tuple[str, ...] = ()
    seed: int
    trained_tokens: int | None = None
    training_file: str
    validation_file: str | None = None
    error: JobError | None = None
    estimated_finish: int | None = None
    integrations: tuple[Any, ...] = ()
    metadata: dict[str, str] | None = None
    method: Method
    user_provided_suffix: str | None = None
