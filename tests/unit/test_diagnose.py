"""Why something waits, from pods, claims and Events as Kubernetes 1.34 writes them."""

# ruff: noqa: E501 - messages are Kubernetes' own, whole

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from kubetune.constants import Reason
from kubetune.diagnose import diagnose

POD = "intents-1-train-1-0-abcde"
IMAGE = "registry.example.com/trainer:nope"
BOUND: dict[str, Any] = {"metadata": {"name": "intents-1-output"}, "status": {"phase": "Bound"}}


def waiting(reason: str, message: str = "", *, container: str = "trainer", **status: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    containers = [{"name": container, "image": IMAGE, "ready": False, "state": state, **status}]
    return {
        "metadata": {"name": POD},
        "status": {"phase": "Pending", "containerStatuses": containers},
    }


def unscheduled(message: str, *, reason: str = "Unschedulable", **requests: str) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
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


def event(reason: str, message: str) -> dict[str, Any]:
    return {"reason": reason, "message": message}


def claim(*modes: str, storage_class: str | None = "standard", phase: str = "Pending") -> dict[str, Any]:
    spec = {"accessModes": list(modes)} | ({"storageClassName": storage_class} if storage_class else {})
    return {"metadata": {"name": "intents-1-output"}, "spec": spec, "status": {"phase": phase}}


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
    stalled: bool = False


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
        "the volume is in use on another node",
        Reason.VOLUME_MOUNT_FAILED,
        ("already used by pod(s) intents-1-prepare-x7k2p", "ReadWriteMany"),
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
        ("No node has 8 free nvidia.com/gpu", "2 Insufficient nvidia.com/gpu", "Lower training.gpusPerNode"),
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
        ("Lower serving.gpus",),
        stage="serve",
        pod=unscheduled("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", **{"nvidia.com/gpu": "1"}),
    ),
    Case(
        "no node has the memory",
        Reason.UNSCHEDULABLE,
        ("No node has 64 cpu, 512Gi memory free", "Lower training.resources"),
        pod=unscheduled(
            "0/2 nodes are available: 2 Insufficient cpu, 2 Insufficient memory. preemption: 0/2 nodes are "
            "available: 2 No preemption victims found for incoming pod.",
            cpu="64",
            memory="512Gi",
        ),
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
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_the_diagnosis(case: Case) -> None:
    found = diagnose(
        stage=case.stage,
        pods=[case.pod] if case.pod else [],
        events={POD: case.events},
        claim=case.claim,
        claim_events=case.claim_events,
        job_events=case.job_events,
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
            job_events=[{}, {"reason": "x"}],
        )
        is None
    )
