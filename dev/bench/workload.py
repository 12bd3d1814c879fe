"""What benchmarks create: FineTuneJobs, bare Jobs with the same pods, nodes, and what a trainer would say.

Each job has a namespace to itself, since the audit log knows a created pod's namespace but not its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kubetune.api.v1alpha1 import validate_spec
from kubetune.children.rendezvous import build_rendezvous
from kubetune.children.training import build_training
from kubetune.spec.resolve import resolve
from kubetune.spec.settings import JobSettings
from kubetune.vocabulary.names import POD_INDEX
from kubetune_trainer.contract.messages import (
    ArtifactSummary,
    DatasetSummary,
    ModelSummary,
    PlanSummary,
    PrepareSummary,
    Reason,
    TerminationMessage,
    TokensPerRow,
    TrainSummary,
)

Manifest = dict[str, Any]

JOB: Final = "job"
"""Name of every FineTuneJob: they differ by their namespaces."""

CLAIM: Final = "outputs"
PODS: Final = 4
"""Training pods of a job."""

SETTINGS: Final = JobSettings(
    trainer_image="registry.example/kubetune/trainer:1", serving_image="registry.example/kubetune/serving:1"
)
_NODES: Final = 20
_REVISION: Final = "12fd25f77366fa6b3b4b768ec3050bf629380bac"
_ARTIFACT: Final = ArtifactSummary(
    path="job/0123456789abcdef/adapter",
    digest="sha256:" + "0" * 64,
    size_bytes=19_587_072,
    type="LoRA",
    rank=16,
    base_model="hf://HuggingFaceTB/SmolLM2-135M-Instruct",
    base_revision=_REVISION,
    train_loss="0.4127",
)
_PREPARED: Final = PrepareSummary(
    model=ModelSummary(
        revision=_REVISION,
        path=f"/output/models/{_REVISION}",
        architecture="LlamaForCausalLM",
        parameters=134_515_008,
    ),
    dataset=DatasetSummary(
        fingerprint="fedcba9876543210",
        train_rows=10_000,
        validation_rows=0,
        train_tokens=450_000,
        tokens_per_row=TokensPerRow(mean=45, p50=44, p95=60, max=70),
    ),
    plan=PlanSummary(
        total_steps=939, trainable_parameters=4_884_480, memory_per_gpu_bytes=2 * 2**30, estimated_seconds=120
    ),
)


def _message(text: str, summary: Mapping[str, Any], *, step: int | None = None) -> str:
    told = TerminationMessage(reason=Reason.COMPLETED, message=text, step=step, summary=dict(summary))
    return told.model_dump_json()


PREPARED: Final = _message("Prepared.", _PREPARED.model_dump(mode="json"))
TRAINED: Final = _message(
    "Trained.", TrainSummary(to_step=939, artifact=_ARTIFACT).model_dump(mode="json"), step=939
)
TRAINED_BESIDE: Final = _message("Trained.", {}, step=939)
"""Of every pod but rank 0's."""


def finetunejob(
    namespace: str, *, serving: bool = False, shared_claim: bool = True, annotations: Mapping[str, str] = {}
) -> Manifest:
    """Return a FineTuneJob of four pods with a GPU each."""
    template = {"podTemplate": {"annotations": dict(annotations)}} if annotations else {}
    return {
        "apiVersion": "kubetune.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": JOB, "namespace": namespace},
        "spec": {
            "model": {"uri": "hf://HuggingFaceTB/SmolLM2-135M-Instruct"},
            "dataset": {"train": {"uri": "configMap://rows/train.jsonl"}},
            "training": {"nodes": PODS, "gpusPerNode": 1},
            **template,
            **({"serving": {}} if serving else {}),
            **({"storage": {"claimName": CLAIM}} if shared_claim else {}),
        },
    }


def bare_job(namespace: str, *, annotations: Mapping[str, str] = {}) -> tuple[Manifest, Manifest]:
    """Return the training Job as KubeTune makes it, without an owner, and a headless Service for its pods.

    For all of them, as in Kubernetes' documentation of Indexed Jobs whose pods talk to each other.
    """
    raw = finetunejob(namespace, annotations=annotations)
    raw["metadata"] |= {"uid": "00000000-0000-0000-0000-000000000000", "generation": 1}
    job = validate_spec(raw)
    service = build_rendezvous(job)
    training = build_training(job, resolve(job, SETTINGS), SETTINGS, number=1)
    del service["spec"]["selector"][POD_INDEX]
    for manifest in (training, service):
        del manifest["metadata"]["ownerReferences"]
    return training, service


def nodes() -> list[Manifest]:
    """Return nodes that hold everything."""
    room = {
        "cpu": "256",
        "memory": "2Ti",
        "pods": "1000",
        "ephemeral-storage": "1Ti",
        "nvidia.com/gpu": "256",
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": f"node-{number:02}",
                "labels": {"kubernetes.io/hostname": f"node-{number:02}"},
            },
            "status": {"allocatable": room, "capacity": room},
        }
        for number in range(_NODES)
    ]


def namespace(name: str) -> Manifest:
    """Return a namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def claim(namespace: str, *, name: str = CLAIM) -> tuple[Manifest, Manifest]:
    """Return a shared claim, and the volume that it gets without a provisioner."""
    volume = f"{namespace}-{name}"
    modes, size = ["ReadWriteMany"], {"storage": "20Gi"}
    return (
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {
                "accessModes": modes,
                "capacity": size,
                "claimRef": {"namespace": namespace, "name": name},
                "hostPath": {"path": "/nowhere"},
                "persistentVolumeReclaimPolicy": "Retain",
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "accessModes": modes,
                "resources": {"requests": size},
                "storageClassName": "",
                "volumeName": volume,
            },
        },
    )
