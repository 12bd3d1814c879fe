"""FineTuneJob: the whole object, its cross-block rules, and its one entry for raw JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final, Literal

from pydantic import ConfigDict, Field, ValidationError

from kubetune.api.base import ApiModel, Rule, SpecModel, Text
from kubetune.api.problems import as_spec_error
from kubetune.api.v1alpha1.artifact import Artifact
from kubetune.api.v1alpha1.dataset import Dataset
from kubetune.api.v1alpha1.evaluation import Evaluation
from kubetune.api.v1alpha1.model import Model
from kubetune.api.v1alpha1.pod_template import PodTemplate
from kubetune.api.v1alpha1.serving import Serving
from kubetune.api.v1alpha1.status import Status
from kubetune.api.v1alpha1.storage import Storage
from kubetune.api.v1alpha1.training import Training
from kubetune.vocabulary.errors import SpecError

NAME_LENGTH: Final = 40
RESERVED_SUFFIXES: Final = ("-train", "-candidate", "-baseline")

_NAME: Final = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_FIXED: Final = "cannot be changed; delete the FineTuneJob and apply it again, or make one with another name"


def _immutable(field: str) -> Rule:
    return Rule(cel=f"self.{field} == oldSelf.{field}", path=f".{field}", message=f"{field} {_FIXED}")


def _immutable_block(field: str) -> Rule:
    """The same for a block that may be absent, and then stays so."""
    return Rule(
        cel=f"has(self.{field}) == has(oldSelf.{field}) "
        f"&& (!has(self.{field}) || self.{field} == oldSelf.{field})",
        path=f".{field}",
        message=f"{field} {_FIXED}",
    )


def _not_ending(suffix: str) -> Rule:
    return Rule(
        cel=f"!self.metadata.name.endsWith('{suffix}')",
        check=lambda job: not job.metadata.name.endswith(suffix),
        message=f"metadata.name ends in {suffix} and clashes with children of other jobs; choose another",
    )


_UNTRAINED: Final = Training.model_validate({"gpusPerNode": 0})


class FineTuneJobSpec(SpecModel):
    """What is wanted. Only useCase and serving can be changed later."""

    rules: ClassVar = (
        _immutable("model"),
        _immutable_block("dataset"),
        _immutable_block("training"),
        _immutable_block("artifact"),
        _immutable_block("evaluation"),
        _immutable_block("storage"),
        _immutable_block("podTemplate"),
        Rule(
            cel="has(self.training) != has(self.artifact)",
            check=lambda spec: (spec.training is None) != (spec.artifact is None),
            message="a job either trains or adopts what was trained elsewhere; set training or artifact, and "
            "not both",
        ),
        Rule(
            cel="!has(self.training) || has(self.dataset)",
            check=lambda spec: spec.training is None or spec.dataset is not None,
            path=".dataset",
            message="training needs rows; set dataset.train.uri",
        ),
        Rule(
            cel="!has(self.artifact) || !has(self.serving) || has(self.serving.gpus)",
            check=lambda spec: spec.artifact is None or spec.serving is None or spec.serving.gpus is not None,
            path=".serving.gpus",
            message="an artifact does not say whether it is served on GPUs; set gpus, 0 for CPU",
        ),
        Rule(
            cel="!has(self.artifact) || !has(self.serving) || !has(self.serving.mode)",
            check=lambda spec: spec.artifact is None or spec.serving is None or spec.serving.mode is None,
            path=".serving.mode",
            message="an artifact says itself whether it is an adapter or a full model; remove mode",
        ),
        Rule(
            cel="!has(self.training) || !has(self.serving) || !has(self.serving.mode) || "
            "(self.serving.mode == 'Adapter') == (self.training.adapter.type != 'Full')",
            check=lambda spec: (
                spec.training is None
                or spec.serving is None
                or spec.serving.mode is None
                or (spec.serving.mode == "Adapter") == (spec.training.adapter.type != "Full")
            ),
            path=".serving.mode",
            message="Adapter serves a LoRA or QLoRA adapter and Full a full fine-tune; remove mode or "
            "change it to fit training.adapter.type",
        ),
        Rule(
            cel="!has(self.training) || !has(self.dataset) || self.training.select.strategy != 'Best' "
            "|| has(self.dataset.validation) || has(self.dataset.validationFraction)",
            check=lambda spec: (
                spec.training is None
                or spec.dataset is None
                or spec.training.select.strategy != "Best"
                or spec.dataset.validation is not None
                or spec.dataset.validation_fraction is not None
            ),
            path=".training.select.strategy",
            message="Best needs validation rows; set dataset.validation or dataset.validationFraction",
        ),
        Rule(
            cel="!has(self.evaluation) || has(self.evaluation.dataset) || (has(self.dataset) && "
            "(has(self.dataset.validation) || has(self.dataset.validationFraction)))",
            check=lambda spec: (
                spec.evaluation is None
                or spec.evaluation.dataset is not None
                or (
                    spec.dataset is not None
                    and (spec.dataset.validation, spec.dataset.validation_fraction) != (None, None)
                )
            ),
            path=".evaluation",
            message="there are no rows to evaluate with; set evaluation.dataset, dataset.validation or "
            "dataset.validationFraction",
        ),
        Rule(
            cel="!has(self.evaluation) || has(self.dataset) || "
            "self.evaluation.baselines.all(b, b.type == 'Base')",
            check=lambda spec: (
                spec.evaluation is None
                or spec.dataset is not None
                or all(baseline.type == "Base" for baseline in spec.evaluation.baselines)
            ),
            path=".evaluation.baselines",
            message="FewShot and Retrieval take their examples from dataset.train; set it, or compare with "
            "Base alone",
        ),
    )

    use_case: Text | None = None
    """What the model is for, in a sentence; goes to the model card as it is when the job starts."""
    model: Model
    """The base model that is fine-tuned."""
    dataset: Dataset | None = None
    """Rows to train on, and rows to validate with. A job with an artifact needs none."""
    training: Training | None = None
    """How the model is trained. Exactly one of training and artifact is set."""
    artifact: Artifact | None = None
    """An adapter or a model that was trained elsewhere, which is verified and served instead of trained."""
    evaluation: Evaluation | None = None
    """How the result is judged before it is served; without it every verified result is served."""
    serving: Serving | None = None
    """How the result is offered; without it the job ends with the verified result."""
    storage: Storage | None = None
    """The volume that holds checkpoints and the result."""
    pod_template: PodTemplate | None = None
    """What the platform needs to know about all pods of the job, prepare's too. What training.podTemplate and
    serving.podTemplate say goes on top of it, what the platform's settings say lies beneath."""

    @property
    def trains(self) -> Training:
        """How the model is trained; of a job that adopts an artifact the defaults on CPU: it holds no GPU."""
        return self.training or _UNTRAINED


class Metadata(ApiModel):
    """What the operator reads of the metadata; the rest is the API server's."""

    model_config = ConfigDict(extra="ignore")

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None


class FineTuneJob(SpecModel):
    """One fine-tuning run: a base model, a dataset, where it is trained, and how the result is served."""

    rules: ClassVar = (
        Rule(
            cel=f"size(self.metadata.name) <= {NAME_LENGTH}",
            check=lambda job: len(job.metadata.name) <= NAME_LENGTH,
            message=f"metadata.name has more than {NAME_LENGTH} characters, and children have longer names; "
            "choose a shorter one",
        ),
        Rule(
            cel=f"self.metadata.name.matches(r'^{_NAME}$')",
            check=lambda job: re.fullmatch(_NAME, job.metadata.name) is not None,
            message="metadata.name is also a Service's: a letter, then lower-case letters, digits and -; "
            "choose such a name",
        ),
        *map(_not_ending, RESERVED_SUFFIXES),
    )

    api_version: Literal["kubetune.dev/v1alpha1"] = "kubetune.dev/v1alpha1"
    """Version of the API."""
    kind: Literal["FineTuneJob"] = "FineTuneJob"
    """Kind of the object."""
    metadata: Metadata
    """Name, namespace, labels and annotations."""
    spec: FineTuneJobSpec
    """What is wanted."""
    status: Status | None = None
    """What the operator observed."""


def validate_spec(raw: Mapping[str, Any]) -> FineTuneJob:
    """Parse a FineTuneJob as the API server has it.

    The schema and CEL have refused most bad specs already; what is left, or was stored before there was a
    rule, is a SpecError. A status that cannot be read is left out: it can be rebuilt.
    """
    try:
        return FineTuneJob.model_validate(raw)
    except ValidationError as error:
        mine = [problem for problem in error.errors() if problem["loc"][:1] != ("status",)]
        if mine:
            raise as_spec_error(mine) from None
    return FineTuneJob.model_validate({key: value for key, value in raw.items() if key != "status"})


__all__ = ["FineTuneJob", "FineTuneJobSpec", "Metadata", "SpecError", "validate_spec"]
