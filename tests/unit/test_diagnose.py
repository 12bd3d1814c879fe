"""Why something waits, from pods, claims and Events as Kubernetes 1.34 writes them."""

# ruff: noqa: E501 - messages are Kubernetes' own, whole

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kubetune.api.v1alpha1 import FineTuneJob, validate_spec
from kubetune.diagnose import claim_problem, diagnose, refusal_of
from kubetune.facts.observed import Diagnosis
from kubetune.vocabulary.reasons import Reason

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
POD = "intents-1-train-1-0-abcde"
AGAIN = "(delete the FineTuneJob and apply it again; finished work is adopted)"
IMAGE = "registry.example.com/trainer:nope"
BOUND: dict[str, Any] = {"metadata": {"name": "intents-1-output"}, "status": {"phase": "Bound"}}


def waiting(
    reason: str, message: str = "", *, container: str = "trainer", node: str = "gpu-1", **status: Any
) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    containers = [{"name": container, "image": IMAGE, "ready": False, "state": state, **status}]
    return {
        "metadata": {"name": POD},
        "spec": {"nodeName": node},
        "status": {
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "True"}],
            "containerStatuses": containers,
        },
    }


def unscheduled(
    message: str, *, reason: str = "Unschedulable", seconds: float = 20, **requests: str
) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    condition["lastTransitionTime"] = ago(seconds)
    return {
        "metadata": {"name": POD},
        "spec": {
            "containers": [{"name": "trainer", "resources": {"requests": requests}}],
            "volumes": [
                {"name": "kubetune-output", "persistentVolumeClaim": {"claimName": "intents-1-output"}}
            ],
        },
        "status": {"phase": "Pending", "conditions": [condition]},
    }


def server(last: dict[str, Any], *, restarts: int = 3) -> dict[str, Any]:
    back_off = f"back-off 1m20s restarting failed container=server pod={POD}_team-a(0b1c)"
    return waiting(
        "CrashLoopBackOff",
        back_off,
        container="server",
        restartCount=restarts,
        lastState={"terminated": last},
    )


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def event(reason: str, message: str, *, first: float = 20, last: float = 10) -> dict[str, Any]:
    """An Event that came first and last so many seconds ago."""
    return {
        "reason": reason,
        "message": message,
        "firstTimestamp": ago(first),
        "lastTimestamp": ago(min(first, last)),
    }


def pending(*, seconds: float, scheduler: str = "default-scheduler") -> dict[str, Any]:
    """A pod that no scheduler has looked at."""
    return {
        "metadata": {"name": POD, "creationTimestamp": ago(seconds)},
        "spec": {"schedulerName": scheduler},
        "status": {"phase": "Pending"},
    }


def running_server(*, seconds: float, started: bool = False) -> dict[str, Any]:
    """A server that runs so long and is not ready."""
    state = {"running": {"startedAt": ago(seconds)}}
    container = {"name": "server", "ready": False, "started": started, "restartCount": 0, "state": state}
    return {"metadata": {"name": POD}, "status": {"phase": "Running", "containerStatuses": [container]}}


def ended(*, seconds: float, code: int, beside: str, init: bool = False) -> dict[str, Any]:
    """A pod whose trainer ended so long ago, and in which another container goes on."""
    over = {"terminated": {"exitCode": code, "finishedAt": ago(seconds)}}
    trainer = {"name": "trainer", "ready": False, "state": over}
    other = {"name": beside, "ready": True, "state": {"running": {"startedAt": ago(600)}}}
    containers = {"containerStatuses": [trainer] if init else [other, trainer]}
    if init:
        containers["initContainerStatuses"] = [other]
    return {"metadata": {"name": POD}, "status": {"phase": "Running", **containers}}


def on_lost_node(*, deleted: float | None = None) -> dict[str, Any]:
    """A pod whose kubelet says nothing any more."""
    gone = {} if deleted is None else {"deletionTimestamp": ago(deleted)}
    conditions = [{"type": "Ready", "status": "False"}, {"type": "ContainersReady", "status": "True"}]
    conditions += [{"type": "PodScheduled", "status": "True"}]
    container = {"name": "trainer", "ready": True, "state": {"running": {}}}
    return {
        "metadata": {"name": POD, **gone},
        "spec": {"nodeName": "gpu-7"},
        "status": {"phase": "Running", "conditions": conditions, "containerStatuses": [container]},
    }


def claim(
    *modes: str,
    storage_class: str | None = "standard",
    phase: str = "Pending",
    selected_node: str | None = None,
    deleted: str | None = None,
) -> dict[str, Any]:
    spec = {"accessModes": list(modes)} | ({"storageClassName": storage_class} if storage_class else {})
    meta: dict[str, Any] = {"name": "intents-1-output"}
    if selected_node:
        meta["annotations"] = {"volume.kubernetes.io/selected-node": selected_node}
    if deleted:
        meta["deletionTimestamp"] = deleted
    return {"metadata": meta, "spec": spec, "status": {"phase": phase}}


@dataclass(frozen=True)
class Case:
    """What was looked at, and what it means."""

    title: str
    reason: Reason | None
    says: tuple[str, ...] = ()
    stage: str = "train"
    pod: dict[str, Any] | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    claim: dict[str, Any] | None = field(default_factory=lambda: BOUND)
    claim_events: list[dict[str, Any]] = field(default_factory=list)
    job_events: list[dict[str, Any]] = field(default_factory=list)
    refusal: str = ""
    stalled: bool = False
    trains: bool = True
    seen: float = 100
    """Seconds that the operator has seen it for."""


EXTERNAL = (
    "Waiting for a volume to be created either by the external provisioner 'ebs.csi.aws.com' or manually by the system "
    "administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
)

UNBOUND = unscheduled(
    "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/1 nodes are "
    "available: 1 Preemption is not helpful for scheduling."
)

CASES = [
    Case("a container is being created", None, pod=waiting("ContainerCreating")),
    Case("nothing was found", None),
    Case(
        "the image does not exist",
        Reason.IMAGE_PULL_FAILED,
        (f"cannot pull image {IMAGE}: not found.", "pull secret"),
        pod=waiting(
            "ErrImagePull",
            f'failed to pull and unpack image "{IMAGE}": failed to resolve reference "{IMAGE}": {IMAGE}: not found',
        ),
    ),
    Case(
        "the pull backs off, and says why",
        Reason.IMAGE_PULL_FAILED,
        (f"image {IMAGE}: not found.",),
        pod=waiting(
            "ImagePullBackOff",
            f'Back-off pulling image "{IMAGE}": ErrImagePull: failed to pull and unpack image "{IMAGE}": failed to '
            f'resolve reference "{IMAGE}": {IMAGE}: not found',
        ),
    ),
    Case(
        "the pull backs off, and only the Event says why",
        Reason.IMAGE_PULL_FAILED,
        ("401 Unauthorized",),
        pod=waiting("ImagePullBackOff", f'Back-off pulling image "{IMAGE}"'),
        events=[
            event(
                "Failed",
                f'Failed to pull image "{IMAGE}": failed to pull and unpack image "{IMAGE}": failed to resolve '
                f'reference "{IMAGE}": failed to authorize: failed to fetch anonymous token: unexpected status '
                "from GET request to https://registry.example.com/token: 401 Unauthorized",
            ),
            event("BackOff", f'Back-off pulling image "{IMAGE}"'),
        ],
    ),
    Case(
        "the registry cannot be reached",
        Reason.IMAGE_PULL_FAILED,
        ("no such host",),
        pod=waiting(
            "ErrImagePull",
            f'failed to pull and unpack image "{IMAGE}": failed to resolve reference "{IMAGE}": failed to do '
            'request: Head "https://registry.example.com/v2/trainer/manifests/nope": dial tcp: lookup '
            "registry.example.com on 10.96.0.10:53: no such host",
        ),
    ),
    Case(
        "the image's name is no name",
        Reason.IMAGE_PULL_FAILED,
        ("couldn't parse image name",),
        pod=waiting(
            "InvalidImageName",
            f'Failed to apply default image tag "{IMAGE}": couldn\'t parse image name "{IMAGE}": invalid reference '
            "format",
        ),
    ),
    Case(
        "the Secret does not exist",
        Reason.SECRET_NOT_FOUND,
        ("Secret hf-token does not exist in this namespace.", "Create it"),
        stage="prepare",
        pod=waiting("CreateContainerConfigError", 'secret "hf-token" not found'),
    ),
    Case(
        "the Secret has no such key",
        Reason.SECRET_NOT_FOUND,
        ("Secret hf-token has no key HF_TOKEN.",),
        stage="prepare",
        pod=waiting("CreateContainerConfigError", "couldn't find key HF_TOKEN in Secret team-a/hf-token"),
    ),
    Case(
        "a ConfigMap of podTemplate.env does not exist",
        Reason.CONFIG_MAP_NOT_FOUND,
        ("ConfigMap nccl does not exist",),
        pod=waiting("CreateContainerConfigError", 'configmap "nccl" not found'),
    ),
    Case(
        "the image has no numeric user",
        Reason.CONTAINER_FAILED,
        ("runAsNonRoot",),
        pod=waiting(
            "CreateContainerConfigError",
            "container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root",
        ),
    ),
    Case(
        "the command does not exist",
        Reason.CONTAINER_FAILED,
        ('exec: "python3": executable file not found', "container server"),
        stage="serve",
        pod=waiting(
            "RunContainerError",
            'failed to create containerd task: failed to create shim task: OCI runtime create failed: exec: "python3": '
            "executable file not found in $PATH: unknown",
            container="server",
        ),
    ),
    Case(
        "the dataset's ConfigMap does not exist",
        Reason.CONFIG_MAP_NOT_FOUND,
        ("ConfigMap banking-intents does not exist",),
        stage="prepare",
        pod=waiting("ContainerCreating"),
        events=[
            event("Scheduled", f"Successfully assigned team-a/{POD} to node-1"),
            event(
                "FailedMount",
                'MountVolume.SetUp failed for volume "kubetune-train" : configmap "banking-intents" not found',
            ),
        ],
    ),
    Case(
        "the Secret with the servers' keys does not exist",
        Reason.SECRET_NOT_FOUND,
        (
            f"Pod {POD} cannot start: Secret clients does not exist in this namespace.",
            "Create it, or correct serving.apiKey.secretName.",
        ),
        stage="serve",
        pod=waiting("ContainerCreating"),
        events=[
            event(
                "FailedMount",
                'MountVolume.SetUp failed for volume "kubetune-api-keys" : secret "clients" not found',
            ),
        ],
    ),
    Case(
        "the volume is in use on another node",
        Reason.VOLUME_MOUNT_FAILED,
        ("already used by pod(s) intents-1-prepare-x7k2p", "free when the pod that uses it has ended"),
        pod=waiting("ContainerCreating"),
        events=[
            event(
                "FailedAttachVolume",
                'Multi-Attach error for volume "pvc-7d4b" Volume is already used by pod(s) intents-1-prepare-x7k2p',
            )
        ],
    ),
    Case(
        "the file server does not answer",
        Reason.VOLUME_MOUNT_FAILED,
        ("volume pvc-7d4b cannot be mounted: mount failed: exit status 32",),
        pod=waiting("ContainerCreating"),
        events=[
            event(
                "FailedMount",
                'MountVolume.SetUp failed for volume "pvc-7d4b" : mount failed: exit status 32\nMounting command: '
                "mount\nOutput: mount.nfs: Connection timed out",
            )
        ],
    ),
    Case(
        "a mount failed before the container started",
        None,
        pod={
            "metadata": {"name": POD},
            "status": {"containerStatuses": [{"name": "trainer", "ready": True, "state": {"running": {}}}]},
        },
        events=[event("FailedMount", 'MountVolume.SetUp failed for volume "x" : timed out')],
    ),
    Case(
        "no node has the GPUs",
        Reason.UNSCHEDULABLE,
        (
            "No node has 8 free nvidia.com/gpu",
            "2 Insufficient nvidia.com/gpu",
            "or lower training.gpusPerNode (delete",
        ),
        pod=unscheduled(
            "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 2 "
            "Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: 1 Preemption is not helpful for "
            "scheduling, 2 No preemption victims found for incoming pod.",
            **{"nvidia.com/gpu": "8", "cpu": "1"},
        ),
    ),
    Case(
        "no node has the GPUs for a server",
        Reason.UNSCHEDULABLE,
        ("Free GPUs, add nodes, or lower serving.gpus.",),
        stage="serve",
        pod=unscheduled("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", **{"nvidia.com/gpu": "1"}),
    ),
    Case(
        "no node has the memory",
        Reason.UNSCHEDULABLE,
        (
            "No node has 64 cpu, 512Gi memory free",
            "or lower training.resources (delete the FineTuneJob and apply it again",
        ),
        pod=unscheduled(
            "0/2 nodes are available: 2 Insufficient cpu, 2 Insufficient memory. preemption: 0/2 nodes are "
            "available: 2 No preemption victims found for incoming pod.",
            cpu="64",
            memory="512Gi",
        ),
    ),
    Case(
        "no node has the memory for a job that trains nothing",
        Reason.UNSCHEDULABLE,
        ("No node has 1Gi memory free", "Free some, or add nodes."),
        stage="prepare",
        trains=False,
        pod=unscheduled("0/2 nodes are available: 2 Insufficient memory.", memory="1Gi"),
    ),
    Case(
        "every node is tainted",
        Reason.UNSCHEDULABLE,
        ("0/2 nodes fit: 2 node(s) had untolerated taint {nvidia.com/gpu: present}", "podTemplate"),
        pod=unscheduled(
            "0/2 nodes are available: 2 node(s) had untolerated taint {nvidia.com/gpu: present}."
        ),
    ),
    Case(
        "a queue holds the pod back",
        Reason.UNSCHEDULABLE,
        ("scheduling gate",),
        pod=unscheduled("Scheduling is blocked due to non-empty scheduling gates", reason="SchedulingGated"),
    ),
    Case(
        "the scheduler has not looked yet",
        None,
        pod={"metadata": {"name": POD}, "status": {"phase": "Pending"}},
    ),
    Case(
        "the dataset's claim does not exist",
        Reason.CLAIM_NOT_FOUND,
        ("PersistentVolumeClaim datasets, which pod",),
        stage="prepare",
        pod=unscheduled(
            '0/1 nodes are available: persistentvolumeclaim "datasets" not found. preemption: 0/1 nodes are available: '
            "1 Preemption is not helpful for scheduling."
        ),
    ),
    Case(
        "the output claim does not exist",
        Reason.CLAIM_NOT_FOUND,
        ("PersistentVolumeClaim intents-1-output does not exist", "storage.claimName"),
        pod=unscheduled('0/1 nodes are available: persistentvolumeclaim "intents-1-output" not found.'),
        claim=None,
    ),
    Case(
        "the storage class does not exist",
        Reason.CLAIM_PENDING,
        ("storage class fast, which does not exist",),
        pod=UNBOUND,
        claim=claim("ReadWriteOnce", storage_class="fast"),
        claim_events=[event("ProvisioningFailed", 'storageclass.storage.k8s.io "fast" not found')],
    ),
    Case(
        "there is no default storage class",
        Reason.CLAIM_PENDING,
        ("the cluster has no default one", "storage.storageClassName"),
        pod=UNBOUND,
        claim=claim("ReadWriteOnce", storage_class=None),
        claim_events=[
            event(
                "FailedBinding", "no persistent volumes available for this claim and no storage class is set"
            )
        ],
    ),
    Case(
        "the provisioner fails",
        Reason.CLAIM_PENDING,
        ("gets no volume", "Quota exceeded"),
        pod=UNBOUND,
        claim=claim("ReadWriteMany"),
        claim_events=[
            event(
                "ProvisioningFailed",
                'failed to provision volume with StorageClass "standard": rpc error: code = ResourceExhausted desc = '
                "Quota exceeded",
            )
        ],
    ),
    Case(
        "the volume is being made",
        None,
        pod={"metadata": {"name": POD}, "status": {"phase": "Pending"}},
        claim=claim("ReadWriteOnce"),
        claim_events=[
            event("WaitForFirstConsumer", "waiting for first consumer to be created before binding"),
            event(
                "ExternalProvisioning",
                "Waiting for a volume to be created either by the external provisioner 'ebs.csi.aws.com' or manually",
            ),
        ],
        seen=20,
    ),
    Case(
        "the claim has lost its volume",
        Reason.CLAIM_PENDING,
        ("has lost its volume",),
        pod=UNBOUND,
        claim=claim("ReadWriteOnce", phase="Lost"),
    ),
    *(
        Case(
            f"{storage} refuses ReadWriteMany",
            Reason.STORAGE_NOT_SHARED,
            ("needs ReadWriteMany", "one node and one replica"),
            pod=UNBOUND,
            claim=claim("ReadWriteMany"),
            claim_events=[event("ProvisioningFailed", message)],
            stalled=True,
        )
        for storage, message in {
            "local-path": 'failed to provision volume with StorageClass "standard": NodePath only supports '
            "ReadWriteOnce and ReadWriteOncePod (1.22+) access modes",
            "EBS": 'failed to provision volume with StorageClass "standard": rpc error: code = InvalidArgument desc = '
            "Volume capabilities MULTI_NODE_MULTI_WRITER not supported. Only AccessModes[ReadWriteOnce] supported.",
            "the local cluster": 'storage class "local-rwo" does not support access modes [ReadWriteMany]: '
            "its volumes are for one node",
            "GCE PD": 'failed to provision volume with StorageClass "standard": rpc error: code = InvalidArgument '
            "desc = VolumeCapabilities is invalid: specified multi writer with mount access type",
        }.items()
    ),
    Case(
        "a quota asks for limits, which training.resources has not",
        Reason.QUOTA_EXCEEDED,
        (
            "A quota of this namespace asks for more to be set: failed quota: compute: must specify limits.cpu for: "
            f"trainer. Set it in training.resources {AGAIN}, or give the namespace a LimitRange with defaults.",
        ),
        stage="prepare",
        job_events=[
            event(
                "FailedCreate",
                'Error creating: pods "intents-1-prepare-x2x7p" is forbidden: failed quota: compute: must specify '
                "limits.cpu for: trainer",
            )
        ],
    ),
    Case(
        "a quota asks for limits of a job that trains nothing",
        Reason.QUOTA_EXCEEDED,
        ("must specify limits.cpu for: trainer. Give the namespace a LimitRange with defaults.",),
        stage="prepare",
        trains=False,
        refusal='pods "intents-1-" is forbidden: failed quota: compute: must specify limits.cpu for: trainer',
    ),
    Case(
        "a quota leaves no room for a job that trains nothing",
        Reason.QUOTA_EXCEEDED,
        ("Free resources, or raise the quota.",),
        stage="prepare",
        trains=False,
        refusal='pods "intents-1-" is forbidden: exceeded quota: compute, requested: requests.cpu=500m',
    ),
    Case(
        "a quota asks for limits, which serving.resources has not",
        Reason.QUOTA_EXCEEDED,
        ("must specify limits.cpu for: server. Set it in serving.resources, or give",),
        stage="serve",
        refusal='pods "intents-1-" is forbidden: failed quota: compute: must specify limits.cpu for: server',
    ),
    Case(
        "a quota leaves no room",
        Reason.QUOTA_EXCEEDED,
        ("exceeded quota: gpus, requested: requests.nvidia.com/gpu=8", "raise the quota"),
        job_events=[
            event(
                "FailedCreate",
                'Error creating: pods "intents-1-train-1-0-" is forbidden: exceeded quota: gpus, requested: '
                "requests.nvidia.com/gpu=8, used: requests.nvidia.com/gpu=4, limited: requests.nvidia.com/gpu=8",
            )
        ],
    ),
    Case(
        "pod security refuses the pod",
        Reason.POD_REJECTED,
        ('violates PodSecurity "restricted:latest"',),
        job_events=[
            event(
                "FailedCreate",
                'Error creating: pods "intents-1-train-1-0-abcde" is forbidden: violates PodSecurity '
                '"restricted:latest": unrestricted volume types (volume "x" uses restricted volume type "nfs")',
            )
        ],
    ),
    Case(
        "a webhook refuses the pod",
        Reason.POD_REJECTED,
        ('admission webhook "images.example.com" denied the request: image is not signed',),
        job_events=[
            event(
                "FailedCreate",
                'Error creating: admission webhook "images.example.com" denied the request: image is not signed',
            )
        ],
    ),
    Case(
        "the service account does not exist",
        Reason.POD_REJECTED,
        ('serviceaccount "nlp" not found',),
        job_events=[
            event(
                "FailedCreate",
                'Error creating: pods "intents-1-train-1-0-" is forbidden: error looking up service account team-a/nlp: '
                'serviceaccount "nlp" not found',
            )
        ],
    ),
    Case(
        "pods were refused once and are created now",
        None,
        job_events=[
            event("FailedCreate", "Error creating: etcdserver: request timed out"),
            event("SuccessfulCreate", f"Created pod: {POD}"),
        ],
    ),
    Case(
        "the server crashes again and again",
        Reason.CONTAINER_FAILED,
        ("exit code 1 (restarted 3 times)", "ValueError: max_model_len", "serving.engineArgs"),
        stage="serve",
        pod=server(
            {"exitCode": 1, "reason": "Error", "message": "INFO x\nValueError: max_model_len is too large\n"}
        ),
    ),
    Case(
        "the server runs out of memory",
        Reason.OUT_OF_MEMORY,
        ("more memory than its limit", "serving.resources"),
        stage="serve",
        pod=server({"exitCode": 137, "reason": "OOMKilled"}),
    ),
    Case(
        "the server starts",
        None,
        stage="serve",
        pod={
            "metadata": {"name": POD},
            "status": {
                "containerStatuses": [
                    {"name": "server", "ready": False, "restartCount": 0, "state": {"running": {}}}
                ]
            },
        },
    ),
    Case(
        "the Service account of a server does not exist, as its Deployment says",
        Reason.POD_REJECTED,
        ('The pod is refused: error looking up service account team-a/nlp: serviceaccount "nlp" not found.',),
        stage="serve",
        refusal='pods "intents-1-5dbd58f668-" is forbidden: error looking up service account team-a/nlp: '
        'serviceaccount "nlp" not found',
    ),
    Case(
        "the network plugin fails for a while",
        Reason.CONTAINER_FAILED,
        (f"Pod {POD} cannot start on gpu-7: failed to setup network: plugin type=", "network plugin"),
        pod=waiting("ContainerCreating", node="gpu-7"),
        events=[
            event(
                "FailedCreatePodSandBox",
                "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "
                f'"{"5f" * 32}": plugin type="calico" failed (add): no more IPs',
                first=90,
            )
        ],
    ),
    Case(
        "the network plugin has failed once, a moment ago",
        None,
        pod=waiting("ContainerCreating"),
        events=[event("FailedCreatePodSandBox", "Failed to create pod sandbox: rpc error: x", first=5)],
        seen=5,
    ),
    Case(
        "the node has no such runtime",
        Reason.CONTAINER_FAILED,
        (
            'no runtime for "nvidia" is configured',
            "runtimeClassName in podTemplate or training.podTemplate (delete",
        ),
        pod=waiting("ContainerCreating"),
        events=[
            event(
                "FailedCreatePodSandBox",
                "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to get sandbox runtime: no "
                'runtime for "nvidia" is configured',
                first=90,
            )
        ],
    ),
    Case(
        "a mount failed at first, and the image is being pulled",
        Reason.TRAINING,
        (f"Pod {POD} has been pulling image {IMAGE} since 2026-03-01T11:59:40Z.",),
        pod=waiting("ContainerCreating"),
        events=[
            event("FailedMount", 'MountVolume.SetUp failed for volume "x" : object not registered', first=40),
            event("Pulling", f'Pulling image "{IMAGE}"', last=20),
        ],
    ),
    Case(
        "an image is pulled, and the kubelet has not said so yet",
        None,
        stage="prepare",
        pod=waiting("ContainerCreating"),
        events=[
            event("Pulling", f'Pulling image "{IMAGE}"'),
            event("Pulled", f'Successfully pulled image "{IMAGE}"'),
        ],
    ),
    Case(
        "the kubelet sums up what it has told before",
        Reason.VOLUME_MOUNT_FAILED,
        ("mount failed: exit status 32",),
        pod=waiting("ContainerCreating"),
        events=[
            event(
                "FailedMount", 'MountVolume.SetUp failed for volume "pvc-7d4b" : mount failed: exit status 32'
            ),
            event(
                "FailedMount",
                "Unable to attach or mount volumes: unmounted volumes=[kubetune-output], unattached volumes=[], "
                "failed to process volumes=[]: context deadline exceeded",
            ),
        ],
    ),
    Case(
        "a peer on another node has the volume",
        Reason.STORAGE_NOT_SHARED,
        (f"already used by pod(s) {POD}", "ReadWriteMany", "training.nodes to 1 (delete"),
        pod=waiting("ContainerCreating"),
        events=[
            event(
                "FailedAttachVolume",
                f'Multi-Attach error for volume "pvc-7d4b" Volume is already used by pod(s) {POD}',
            )
        ],
        stalled=True,
    ),
    Case(
        "the server that is to be replaced has the volume",
        Reason.VOLUME_MOUNT_FAILED,
        (f"Delete pod {POD} to let this one have the volume",),
        stage="serve",
        pod=waiting("ContainerCreating"),
        events=[
            event(
                "FailedAttachVolume",
                f'Multi-Attach error for volume "pvc-7d4b" Volume is already used by pod(s) {POD}',
            )
        ],
    ),
    Case(
        "the pull secret does not exist",
        Reason.SECRET_NOT_FOUND,
        ("pull access denied", "Pull Secret regcred does not exist in this namespace: create it"),
        pod=waiting(
            "ImagePullBackOff", f'Back-off pulling image "{IMAGE}": ErrImagePull: pull access denied'
        ),
        events=[
            event(
                "FailedToRetrieveImagePullSecret",
                "Unable to retrieve some image pull secrets (regcred); attempting to pull the image may not succeed.",
            )
        ],
    ),
    Case(
        "the pull secret was missing long ago",
        Reason.IMAGE_PULL_FAILED,
        ("pull access denied",),
        pod=waiting("ErrImagePull", "pull access denied"),
        events=[
            event(
                "FailedToRetrieveImagePullSecret",
                "Unable to retrieve some image pull secrets (regcred); attempting to pull the image may not succeed.",
                first=3000,
                last=2000,
            ),
            event("BackOff", f'Back-off pulling image "{IMAGE}"', first=3000, last=60),
        ],
    ),
    Case("the scheduler needs a moment", None, pod=pending(seconds=20), seen=20),
    Case(
        "no scheduler has the name that the pod asks for",
        Reason.UNSCHEDULABLE,
        (
            "since 2026-03-01T11:58:30Z; it asks for volcano.",
            "schedulerName in podTemplate or training.podTemplate (delete",
        ),
        pod=pending(seconds=90, scheduler="volcano"),
    ),
    Case(
        "the scheduler is down",
        Reason.UNSCHEDULABLE,
        ("it asks for default-scheduler", "kube-scheduler"),
        stage="serve",
        pod=pending(seconds=90),
    ),
    Case(
        "the scheduler waits for the volume",
        None,
        pod=pending(seconds=90),
        claim=claim("ReadWriteOnce", selected_node="gpu-7"),
    ),
    Case(
        "the scheduler fails",
        Reason.CLAIM_PENDING,
        (f"The scheduler fails to place pod {POD}: running PreBind plugin", "Events of the claims"),
        pod=unscheduled(
            'running PreBind plugin "VolumeBinding": binding volumes: context deadline exceeded',
            reason="SchedulerError",
            seconds=40,
        ),
    ),
    Case(
        "the scheduler has just failed",
        None,
        pod=unscheduled("etcdserver: request timed out", reason="SchedulerError", seconds=4),
        seen=4,
    ),
    *(
        Case(
            f"nothing makes the volume, and the claim is {'bound at once' if node is None else 'for a node'}",
            Reason.CLAIM_PENDING,
            (
                "PersistentVolumeClaim intents-1-output waits since 2026-03-01T11:58:20Z for provisioner "
                "ebs.csi.aws.com, which does not answer.",
            ),
            pod=UNBOUND if node is None else pending(seconds=110),
            claim=claim("ReadWriteOnce", selected_node=node),
            claim_events=[
                event("ProvisioningFailed", 'storageclass.storage.k8s.io "standard" not found', first=110),
                event("ExternalProvisioning", EXTERNAL, first=100),
            ],
        )
        for node in (None, "gpu-7")
    ),
    Case(
        "a volume takes its time",
        Reason.CLAIM_PENDING,
        ("Provisioner ebs.csi.aws.com makes the volume of PersistentVolumeClaim intents-1-output",),
        pod=UNBOUND,
        claim=claim("ReadWriteMany"),
        claim_events=[
            event("Provisioning", "External provisioner is provisioning volume for claim", first=99),
            event("ExternalProvisioning", EXTERNAL, first=100),
        ],
    ),
    Case(
        "the output claim is being deleted",
        Reason.CLAIM_NOT_FOUND,
        ("PersistentVolumeClaim intents-1-output is being deleted", "create it again"),
        pod=unscheduled(
            '0/1 nodes are available: persistentvolumeclaim "intents-1-output" is being deleted. not found'
        ),
        claim=claim("ReadWriteOnce", phase="Bound", deleted=ago(20)),
    ),
    Case(
        "the claim with the model that is served is being deleted",
        Reason.CLAIM_NOT_FOUND,
        (
            "PersistentVolumeClaim intents-1-output is being deleted, and no new pod can use it. The model is on it: "
            "delete the FineTuneJob and apply it again, which trains anew.",
        ),
        stage="serve",
        pod=unscheduled(
            '0/1 nodes are available: persistentvolumeclaim "intents-1-output" is being deleted.'
        ),
        claim=claim("ReadWriteOnce", phase="Bound", deleted=ago(20)),
    ),
    Case(
        "the claim with the model that is served is gone",
        Reason.CLAIM_NOT_FOUND,
        (
            "PersistentVolumeClaim intents-1-output does not exist in this namespace. The model was on it: delete the "
            "FineTuneJob and apply it again, which trains anew.",
        ),
        stage="serve",
        pod=unscheduled('0/1 nodes are available: persistentvolumeclaim "intents-1-output" not found.'),
        claim=None,
    ),
    Case(
        "the dataset's claim is being deleted",
        Reason.CLAIM_NOT_FOUND,
        ("PersistentVolumeClaim datasets, which pod", "is being deleted"),
        pod=unscheduled(
            '0/1 nodes are available: persistentvolumeclaim "datasets" is being deleted. not found'
        ),
    ),
    Case(
        "a sidecar that a mesh injected goes on when training has ended",
        Reason.CONTAINER_FAILED,
        (
            f"Pod {POD} has ended its work (exit code 0), but container istio-proxy keeps it from ending. Turn its "
            "injection off with labels or annotations in podTemplate or training.podTemplate, or make it a native sidecar (delete",
        ),
        pod=ended(seconds=45, code=0, beside="istio-proxy"),
    ),
    Case(
        "a sidecar has some time to end", None, pod=ended(seconds=15, code=0, beside="istio-proxy"), seen=15
    ),
    Case("a native sidecar is ended", None, pod=ended(seconds=45, code=1, beside="istio-proxy", init=True)),
    Case("a pod has just been told to end", None, pod=on_lost_node(deleted=5), seen=5),
    Case(
        "a node does not confirm that a pod has ended",
        Reason.NODE_LOST,
        (
            "should have ended at 2026-03-01T11:58:20Z, which node gpu-7 does not confirm",
            "delete its Node object",
        ),
        pod=on_lost_node(deleted=100),
    ),
    Case(
        "a node does not answer",
        Reason.NODE_LOST,
        (f"Node gpu-7 of pod {POD} does not answer any more.", "Bring gpu-7 back"),
        pod=on_lost_node(),
    ),
    Case(
        "the server loads, and nothing listens yet",
        Reason.DEPLOYING,
        ("has been loading since 2026-03-01T11:56:40Z", f"`kubectl logs {POD}`"),
        stage="serve",
        pod=running_server(seconds=200),
        events=[
            event(
                "Unhealthy",
                "Startup probe failed: curl: (7) Failed to connect to 127.0.0.1 port 8000 after 4 ms: Couldn't "
                "connect to server\n",
            )
        ],
    ),
    Case(
        "the server has just started",
        None,
        stage="serve",
        pod=running_server(seconds=20),
        seen=20,
        events=[event("Unhealthy", "Startup probe failed: curl: (22) The requested URL returned error: 404")],
    ),
    Case(
        "the server knows no model of this name",
        Reason.CONTAINER_FAILED,
        ("no guard in front: the startup probe got 404", "OpenAI-compatible"),
        stage="serve",
        pod=running_server(seconds=200),
        events=[
            event("Unhealthy", "Startup probe failed: curl: (7) Failed to connect to 127.0.0.1 port 8000"),
            event("Unhealthy", "Startup probe failed: curl: (22) The requested URL returned error: 404\n"),
        ],
    ),
    Case(
        "the server's image lacks curl",
        Reason.CONTAINER_FAILED,
        ("its image has no curl",),
        stage="serve",
        pod=running_server(seconds=200),
        events=[
            event(
                "Unhealthy",
                "Startup probe errored and resulted in unknown state: rpc error: code = Unknown desc = failed to exec "
                f'in container: failed to start exec "{"ab" * 32}": OCI runtime exec failed: exec failed: unable to '
                'start container process: exec: "curl": executable file not found in $PATH: unknown',
            )
        ],
    ),
    Case(
        "the first token takes too long",
        Reason.DEPLOYING,
        ("does not answer its startup probe in time",),
        stage="serve",
        pod=running_server(seconds=200),
        events=[
            event("Unhealthy", "Startup probe failed: curl: (28) Operation timed out after 9001 milliseconds")
        ],
    ),
    Case(
        "a server that was ready is not healthy",
        Reason.CONTAINER_FAILED,
        ("fails its readiness probe: HTTP probe failed with statuscode: 500", f"`kubectl logs {POD}`"),
        stage="serve",
        pod=running_server(seconds=200, started=True),
        events=[
            event(
                "Unhealthy", "Startup probe failed: curl: (22) The requested URL returned error: 404", last=99
            ),
            event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 500"),
        ],
    ),
    Case(
        "what an earlier container of the pod met does not count",
        None,
        stage="serve",
        pod=running_server(seconds=60),
        events=[event("Unhealthy", "Startup probe failed: exit 1", first=400, last=300)],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_the_diagnosis(case: Case) -> None:
    found = diagnose(
        stage=case.stage,
        pods=[case.pod] if case.pod else [],
        events={POD: case.events},
        claim=case.claim,
        claim_events=case.claim_events,
        refusal=case.refusal or refusal_of(case.job_events),
        seen_for=lambda _uid, _what: timedelta(seconds=case.seen),
        trains=case.trains,
    )
    if case.reason is None:
        assert found is None
        return
    assert found is not None
    assert (found.reason, found.stalled, found.stage) == (case.reason, case.stalled, case.stage)
    for words in case.says:
        assert words in found.message
    assert found.message.endswith(".")
    assert len(found.message) < 1000


def evicted(name: str, message: str, *, hour: int, template: str) -> dict[str, Any]:
    owner = {"uid": template, "controller": True}
    meta = {"name": name, "creationTimestamp": f"2026-03-01T{hour:02d}:00:00Z", "ownerReferences": [owner]}
    return {"metadata": meta, "status": {"phase": "Failed", "reason": "Evicted", "message": message}}


@pytest.mark.parametrize(
    ("message", "newest", "says"),
    [
        ('Usage of EmptyDir volume "kubetune-tmp" exceeds the limit "20Gi". ', "one", "settings.scratchSize"),
        (
            "Pod ephemeral local storage usage exceeds the total limit of containers 5Gi. ",
            "one",
            "serving.resources",
        ),
        ('Usage of EmptyDir volume "kubetune-tmp" exceeds the limit "20Gi". ', "two", None),
    ],
)
def test_a_server_that_its_node_evicts_is_told_until_servers_are_made_otherwise(
    message: str, newest: str, says: str | None
) -> None:
    found = diagnose(
        stage="serve",
        pods=[
            evicted("old", message, hour=1, template="one"),
            running_server(seconds=5) | {"metadata": evicted("new", "", hour=2, template=newest)["metadata"]},
        ],
        events={},
        claim=None,
        claim_events=[],
        refusal="",
        seen_for=lambda _uid, _what: timedelta(hours=1),
    )
    assert (found is None) == (says is None)
    if found is not None and says is not None:
        assert found.reason is Reason.CONTAINER_FAILED
        assert found.message.startswith(f"Pod old was evicted: {message.rstrip('. ')}. ")
        assert says in found.message


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"status": None},
        {"status": {"containerStatuses": [{}]}},
        {"metadata": None, "status": {"conditions": [{}]}},
    ],
)
def test_incomplete_objects_are_no_error(broken: dict[str, Any]) -> None:
    assert (
        diagnose(
            stage="train",
            pods=[broken],
            events={},
            claim={},
            claim_events=[{}],
            refusal=refusal_of([{}, {"reason": "x"}]),
            seen_for=lambda _uid, _what: timedelta(hours=1),
        )
        is None
    )


def job(*, nodes: int = 1, replicas: int | None = None, claim_name: str | None = None) -> FineTuneJob:
    return validate_spec(
        {
            "metadata": {"name": "intents-1", "namespace": "team-a", "uid": "u", "generation": 1},
            "spec": {
                "model": {"uri": "pvc://models/smol"},
                "dataset": {"train": {"uri": "pvc://datasets/train.jsonl"}},
                "training": {"gpusPerNode": 0, "nodes": nodes},
                **({"serving": {"replicas": replicas}} if replicas else {}),
                **({"storage": {"claimName": claim_name}} if claim_name else {}),
            },
        }
    )


def existing(name: str, *modes: str, volume: tuple[str, ...] = ()) -> dict[str, Any]:
    """A claim with these access modes, bound to a volume with those."""
    status: dict[str, Any] = (
        {"phase": "Bound", "accessModes": list(volume)} if volume else {"phase": "Pending"}
    )
    return {"metadata": {"name": name}, "spec": {"accessModes": list(modes)}, "status": status}


RWO, RWX, ROX = "ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"


@pytest.mark.parametrize(
    ("wanted", "claim", "stage", "message"),
    [
        pytest.param(
            job(nodes=2, claim_name="team-data"),
            existing("team-data", RWO),
            "prepare",
            "PersistentVolumeClaim team-data is for one node at a time (ReadWriteOnce), and training.nodes is 2. "
            f"Lower training.nodes to 1, or name a claim with ReadWriteMany in storage.claimName {AGAIN}.",
            id="a claim that the spec names, for two nodes",
        ),
        pytest.param(
            job(nodes=2, replicas=3),
            existing("intents-1-output", RWO, volume=(RWO,)),
            "prepare",
            "PersistentVolumeClaim intents-1-output is for one node at a time (ReadWriteOnce), and training.nodes is "
            f"2 and serving.replicas is 3. Lower training.nodes and serving.replicas to 1 {AGAIN}, or delete the claim "
            "with all that it holds: a new one is made, which can be shared.",
            id="an earlier job's claim, for more pods",
        ),
        pytest.param(
            job(nodes=2, replicas=3),
            existing("intents-1-output", RWO, volume=(RWO,)),
            "serve",
            "PersistentVolumeClaim intents-1-output is for one node at a time (ReadWriteOnce), and serving.replicas "
            "is 3. Lower serving.replicas to 1, or copy the volume to a ReadWriteMany claim and apply a new job that "
            "names it with storage.claimName.",
            id="replicas that were added later: the model is on the claim",
        ),
        pytest.param(
            job(claim_name="models"),
            existing("models", ROX),
            "prepare",
            "PersistentVolumeClaim models is for reading only (ReadOnlyMany). Name a claim with ReadWriteMany in "
            f"storage.claimName {AGAIN}.",
            id="a claim that cannot be written",
        ),
    ],
)
def test_a_claim_that_is_not_for_so_many_pods(
    wanted: FineTuneJob, claim: dict[str, Any], stage: str, message: str
) -> None:
    assert claim_problem(wanted, claim, stage=stage) == Diagnosis(
        reason=Reason.STORAGE_NOT_SHARED, message=message, stage=stage, stalled=True
    )


@pytest.mark.parametrize(
    ("wanted", "claim", "stage"),
    [
        pytest.param(job(), existing("intents-1-output", RWO), "prepare", id="one pod at a time"),
        pytest.param(job(nodes=2, replicas=2), existing("c", RWX), "prepare", id="a shared claim"),
        pytest.param(job(nodes=2), existing("c", RWO, volume=(RWO, RWX)), "prepare", id="a shared volume"),
        pytest.param(job(nodes=2), existing("c", RWO), "serve", id="training is over"),
        pytest.param(job(replicas=2), existing("c", RWO), "train", id="a matter of serving"),
        pytest.param(job(nodes=2), {}, "prepare", id="nothing is known"),
    ],
)
def test_a_claim_that_will_do(wanted: FineTuneJob, claim: dict[str, Any], stage: str) -> None:
    assert claim_problem(wanted, claim, stage=stage) is None
