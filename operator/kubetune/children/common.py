"""What all children share: metadata, owner reference, restricted security context, volumes and environment.

Labels and annotations are built here, never inherited from the FineTuneJob: Argo CD's tracking label on it
would make Argo claim, and prune, the children.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from kubetune_trainer.contract.config import CONFIG_PATH, OUTPUT_MOUNT

from ..api.v1alpha1 import FineTuneJob
from ..api.v1alpha1.pod_template import PodTemplate
from ..facts.views import Manifest
from ..spec.settings import JobSettings
from ..spec.sources import Source, output_claim
from ..vocabulary.names import (
    API_VERSION,
    CONFIG_KEY,
    KIND,
    LABEL_ATTEMPT,
    LABEL_JOB,
    LABEL_MANAGED_BY,
    LABEL_ROLE,
    LABEL_STAGE,
    MANAGED_BY,
)
from ..vocabulary.quantities import amount_of

ARGO: Final = {
    "argocd.argoproj.io/compare-options": "IgnoreExtraneous",
    "argocd.argoproj.io/sync-options": "Prune=false",
}
"""Argo CD neither reports children as out of sync nor prunes them."""

CONFIG_MOUNT: Final = CONFIG_PATH.removesuffix(f"/{CONFIG_KEY}")
SCRATCH: Final = "/tmp"
"""HOME and every cache: the root file system is read-only."""

Item = dict[str, Any]


def labels(
    job: FineTuneJob,
    *,
    component: str,
    stage: str | None = None,
    attempt: int | None = None,
    role: str | None = None,
) -> dict[str, str]:
    """Labels of a child, and of the pods that it makes."""
    own = {
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/name": "kubetune",
        "app.kubernetes.io/part-of": "kubetune",
        LABEL_JOB: job.metadata.name,
        LABEL_MANAGED_BY: MANAGED_BY,
    }
    if stage is not None:
        own[LABEL_STAGE] = stage
    if attempt is not None:
        own[LABEL_ATTEMPT] = str(attempt)
    if role is not None:
        own[LABEL_ROLE] = role
    return dict(sorted(own.items()))


def metadata(
    job: FineTuneJob,
    name: str,
    labels: dict[str, str],
    *,
    owned: bool = True,
    template: PodTemplate | None = None,
) -> Item:
    """Metadata of a child; owned children are collected with the job.

    What makes pods has their podTemplate's labels and annotations too: Kueue reads its queue from the Job.
    """
    meta: Item = {
        "name": name,
        "namespace": job.metadata.namespace,
        "labels": ((template and template.labels) or {}) | labels,
        "annotations": ((template and template.annotations) or {}) | ARGO,
    }
    if owned:
        meta["ownerReferences"] = [owner_reference(job)]
    return meta


def owner_reference(job: FineTuneJob) -> Item:
    """The job as controller: the garbage collector deletes its children, so that no finalizer is needed."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": job.metadata.name,
        "uid": job.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def pod_security(settings: JobSettings) -> Item:
    """Pod level of the ``restricted`` standard; OpenShift assigns ids of its own."""
    context: Item = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if settings.run_as_user is not None:
        context["runAsUser"] = settings.run_as_user
    if settings.fs_group is not None:
        context["fsGroup"] = settings.fs_group
        context["fsGroupChangePolicy"] = "OnRootMismatch"  # a model's files need no chown at every start
    return context


def container_security() -> Item:
    """Container level of the ``restricted`` standard, with a read-only root file system."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


class Volumes:
    """Volumes and mounts of one pod; a claim that is needed twice is one volume with two mounts."""

    def __init__(self) -> None:
        self.volumes: list[Item] = []
        self.mounts: list[Item] = []
        self._by_claim: dict[str, str] = {}

    def scratch(self, settings: JobSettings) -> None:
        """Writable /tmp, and shared memory for data between processes."""
        self.add("tmp", {"emptyDir": {"sizeLimit": settings.scratch_size}}, SCRATCH)
        self.add("shm", {"emptyDir": {"medium": "Memory", "sizeLimit": settings.shm_size}}, "/dev/shm")

    def output(self, job: FineTuneJob, *, read_only: bool) -> None:
        """The output claim."""
        self.claim("output", output_claim(job), OUTPUT_MOUNT, read_only=read_only)

    def source(self, source: Source) -> None:
        """A pvc:// or configMap:// source; nothing for what prepare fetches."""
        if source.scheme == "pvc":
            self.claim(source.role, source.object_name, source.mount_path, read_only=True)
        elif source.scheme == "configMap":
            volume = {"configMap": {"name": source.object_name}}
            self.add(source.role, volume, source.mount_path, read_only=True)

    def claim(self, name: str, claim: str, path: str, *, read_only: bool) -> None:
        """A claim; some storage drivers never mount one twice in a pod."""
        if claim in self._by_claim:
            self._mount(self._by_claim[claim], path, read_only=read_only)
            return
        self._by_claim[claim] = f"kubetune-{name}"
        self.add(name, {"persistentVolumeClaim": {"claimName": claim}}, path, read_only=read_only)

    def add(self, name: str, volume: Item, path: str, *, read_only: bool = False) -> None:
        """A volume, mounted at one path."""
        self.volumes.append({"name": f"kubetune-{name}", **volume})
        self._mount(f"kubetune-{name}", path, read_only=read_only)

    def _mount(self, name: str, path: str, *, read_only: bool) -> None:
        self.mounts.append({"name": name, "mountPath": path} | ({"readOnly": True} if read_only else {}))


def stay_together(pod: Item, selector: Item) -> None:
    """Start a pod on the node of those that the selector finds: their volume is used on one node at a time.

    A pod that finds no other may start anywhere: the scheduler lets a pod pass that meets its own term.
    """
    term = {"labelSelector": selector, "topologyKey": "kubernetes.io/hostname"}
    affinity = pod.get("affinity", {})
    near = affinity.get("podAffinity", {})
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    pod["affinity"] = affinity | {"podAffinity": near | {required: [*near.get(required, ()), term]}}


def env(**values: str | None) -> list[Item]:
    """Environment variables; None leaves one out."""
    return [{"name": name, "value": value} for name, value in values.items() if value is not None]


def pod_template(
    *,
    pod_labels: dict[str, str],
    container: Item,
    volumes: Volumes,
    settings: JobSettings,
    template: PodTemplate,
    **spec: Any,
) -> Manifest:
    """Pod template around one container, with what the podTemplates of platform and user add.

    Reserved names were refused by the schema; any other variable is the user's to set. No pod calls the API
    server, so none gets a token, whatever service account it runs under.
    """
    extra = template.manifest()
    container = {
        **container,
        "imagePullPolicy": settings.image_pull_policy,
        "env": _merged((*_without_devices(container, settings), *container["env"]), extra.get("env", ())),
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [*volumes.mounts, *extra.get("volumeMounts", ())],
    }
    if extra.get("envFrom"):
        container["envFrom"] = extra["envFrom"]
    pulls = _merged(
        ({"name": name} for name in settings.image_pull_secrets), extra.get("imagePullSecrets", ())
    )
    pod: Item = {
        **{key: extra[key] for key in _POD_FIELDS if key in extra},
        **spec,
        "automountServiceAccountToken": False,
        "containers": [container],
        "enableServiceLinks": False,
        "securityContext": pod_security(settings),
        "volumes": [*volumes.volumes, *extra.get("volumes", ())],
    }
    if pulls:
        pod["imagePullSecrets"] = pulls
    meta: Item = {"labels": extra.get("labels", {}) | pod_labels}
    if extra.get("annotations"):
        meta["annotations"] = extra["annotations"]
    return {"metadata": meta, "spec": pod}


def _without_devices(container: Item, settings: JobSettings) -> list[Item]:
    """What keeps GPUs from a container that requests none, whatever its image and its runtime class say.

    Images with CUDA ask for all GPUs of the node, and NVIDIA's runtime believes them. Where some are
    requested the device plugin tells the runtime which, by the same variable.
    """
    limits = container.get("resources", {}).get("limits", {})
    asked = (name for name, amount in limits.items() if amount_of(amount) > 0)
    if any(name == settings.gpu_resource or name.startswith("nvidia.com/") for name in asked):
        return []
    return env(NVIDIA_VISIBLE_DEVICES="void")


_POD_FIELDS: Final = (
    "affinity",
    "nodeSelector",
    "priorityClassName",
    "runtimeClassName",
    "schedulerName",
    "serviceAccountName",
    "tolerations",
    "topologySpreadConstraints",
)
"""Fields of podTemplate that are the pod's own, under the same names."""


def _merged(first: Iterable[Item], then: Iterable[Item]) -> list[Item]:
    """Both lists by name, later entries replacing earlier ones in their place."""
    return list({item["name"]: item for item in (*first, *then)}.values())
