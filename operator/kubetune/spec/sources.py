"""Where models and data come from, seen from a pod: claims and ConfigMaps behind URIs.

Pure. hf:// and s3:// sources are fetched by prepare and need no volume.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from kubetune_trainer.contract.config import CREDENTIAL_KEYS, INPUT_MOUNT

from ..api.v1alpha1 import FineTuneJob
from ..api.v1alpha1.artifact import Artifact
from ..api.v1alpha1.dataset import DataFile
from ..api.v1alpha1.model import Model
from ..vocabulary.names import Names

Role = Literal["model", "artifact", "train", "validation", "evaluation", "regression"]

PREFIXES: Final[Mapping[Role, str]] = {
    "model": "MODEL_",
    "artifact": "ARTIFACT_",
    "train": "TRAIN_",
    "validation": "VALIDATION_",
    "evaluation": "EVALUATION_",
    "regression": "REGRESSION_",
}
"""Prefix of a source's credentials in the environment of prepare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source of the job."""

    role: Role
    uri: str
    secret: str | None
    """Name of the credentials Secret."""

    @property
    def scheme(self) -> str:
        """hf, s3, pvc or configMap."""
        return self.uri.partition("://")[0]

    @property
    def object_name(self) -> str:
        """The claim or ConfigMap."""
        return self.uri.partition("://")[2].partition("/")[0]

    @property
    def mount_path(self) -> str:
        """Where its claim or ConfigMap is mounted."""
        return f"{INPUT_MOUNT}/{self.role}"

    @property
    def keys(self) -> Mapping[str, bool]:
        """Keys of its credentials, and whether each must be there."""
        return CREDENTIAL_KEYS.get(self.scheme, {})


def sources_of(job: FineTuneJob) -> tuple[Source, ...]:
    """Model, artifact, and rows to train, validate and evaluate with, as far as the job has them."""
    dataset, evaluation = job.spec.dataset, job.spec.evaluation
    gate = evaluation.gate if evaluation else None
    regression = gate.must_not_regress if gate else None
    given: dict[Role, Model | Artifact | DataFile | None] = {
        "model": job.spec.model,
        "artifact": job.spec.artifact,
        "train": dataset.train if dataset else None,
        "validation": dataset.validation if dataset else None,
        "evaluation": evaluation.dataset if evaluation else None,
        "regression": regression.dataset if regression else None,
    }
    return tuple(
        Source(role=role, uri=at.uri, secret=at.credentials.secret_name if at.credentials else None)
        for role, at in given.items()
        if at is not None
    )


def named_claim(job: FineTuneJob) -> str | None:
    """Name of the existing claim that the spec asks to use; None when the operator makes one."""
    return job.spec.storage.claim_name if job.spec.storage else None


def output_claim(job: FineTuneJob) -> str:
    """Name of the claim with checkpoints and artifacts."""
    return named_claim(job) or Names(job.metadata.name).output


def mount_of(uri: str, *, role: Role) -> str | None:
    """Path in the pod of a pvc:// or configMap:// source; None for what prepare fetches."""
    scheme, _, rest = uri.partition("://")
    if scheme not in ("pvc", "configMap"):
        return None
    return f"{INPUT_MOUNT}/{role}/{rest.partition('/')[2]}"
