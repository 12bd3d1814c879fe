"""What prepare and training Jobs share: one run of the trainer image, never restarted in place.

A failed pod ends the whole Job at once (backoffLimit 0): ``observe`` judges over all pods.
"""

from __future__ import annotations

from typing import Any, Final

from kubetune_trainer.contract.config import GRACE_SECONDS
from kubetune_trainer.contract.messages import ExitCode

from ..api.v1alpha1 import FineTuneJob
from ..facts.views import Manifest
from ..spec.pod_layers import pod_template_of
from ..spec.settings import JobSettings
from ..vocabulary.names import CONTAINER_TRAINER, Names
from .common import CONFIG_MOUNT, Item, Volumes, labels, metadata, pod_template

_WHERE: Final = (
    {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
)
"""Who holds the lock on the output volume, for the sentence that another pod says."""


def build_trainer_job(
    job: FineTuneJob,
    *,
    name: str,
    stage: str,
    number: int,
    container: Item,
    volumes: Volumes,
    settings: JobSettings,
    spec: Item,
    **pod: Any,
) -> Manifest:
    """Build a Job around the trainer's container; ``spec`` and ``pod`` are what one kind of Job adds."""
    own = labels(job, component=stage, stage=stage, attempt=number)
    volumes.add(
        "config", {"configMap": {"name": Names(job.metadata.name).config}}, CONFIG_MOUNT, read_only=True
    )
    volumes.scratch(settings)
    extra = pod_template_of(job, settings, stage)
    template = pod_template(
        pod_labels=own,
        container={
            "name": CONTAINER_TRAINER,
            "args": [stage],
            **container,
            "env": [*_WHERE, *container["env"]],
        },
        volumes=volumes,
        settings=settings,
        template=extra,
        restartPolicy="Never",
        terminationGracePeriodSeconds=GRACE_SECONDS,
        **pod,
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(job, name, own, template=extra),
        "spec": {
            **spec,
            "backoffLimit": 0,
            "podFailurePolicy": {"rules": _failure_rules()},
            "podReplacementPolicy": "Failed",
            "template": template,
        },
    }


def _failure_rules() -> list[Item]:
    """Nothing is replaced anyway; the rules make the Job's condition say why, for when the pods are gone.

    They name the container, since service meshes inject others.
    """
    codes = [ExitCode.INVALID_INPUT, ExitCode.OUT_OF_MEMORY, ExitCode.NUMERICAL_FAILURE]
    return [
        {
            "action": "FailJob",
            "onExitCodes": {
                "containerName": CONTAINER_TRAINER,
                "operator": "In",
                "values": [int(c) for c in codes],
            },
        },
        {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
