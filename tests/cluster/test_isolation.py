"""Pods of a job are reached by whom they are there for, and get where they have to: KubeTune's own policies.

One job trains meanwhile, in two pods; strangers try from its namespace and from another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from dev.cluster import ports
from dev.cluster.control_plane_programs import KUBERNETES_SERVICE
from dev.cluster.network import NODE_ADDRESS
from dev.cluster.node import DNS_ADDRESS
from dev.kubectl import Kubectl
from tests.cluster.conftest import Cluster, tiny_job, until
from tests.cluster.reach import Target, python_pod, reached_by, wait_until_ready

pytestmark = pytest.mark.cluster

NAME = "gang"
ELSEWHERE = "isolation-elsewhere"
SLEEP = "import signal; signal.pause()"
SIBLING = {"kubetune.dev/finetunejob": NAME, "kubetune.dev/stage": "train"}
RIVAL = {"kubetune.dev/finetunejob": "rival", "kubetune.dev/stage": "train"}
PROMETHEUS = {"app.kubernetes.io/name": "prometheus"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gang:
    """A job that trains, and what somebody may want to reach of it."""

    kubectl: Kubectl
    namespace: str
    pods: tuple[str, str]
    """Of rank 0 and rank 1."""
    targets: dict[str, Target]


@pytest.fixture(scope="module")
def gang(cluster: Cluster, namespace: str, tiny_uri: str) -> Iterator[Gang]:
    kubectl = cluster.kubectl
    operator = kubectl.get("deployment", "kubetune", "-n", "kubetune-system")
    image = operator["spec"]["template"]["spec"]["containers"][0]["image"]
    kubectl.apply(
        tiny_job(namespace, NAME, tiny_uri, nodes=2, epochs=1000, maxSteps=100_000),
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ELSEWHERE}},
        python_pod(namespace, "stranger", image, run=SLEEP, labels={}),
        python_pod(namespace, "rival", image, run=SLEEP, labels=RIVAL),
        python_pod(namespace, "sibling", image, run=SLEEP, labels=SIBLING),
        python_pod(namespace, "prometheus", image, run=SLEEP, labels=PROMETHEUS),
        python_pod(ELSEWHERE, "prometheus", image, run=SLEEP, labels=PROMETHEUS),
        python_pod(ELSEWHERE, "sibling", image, run=SLEEP, labels=SIBLING),
    )
    wait_until_ready(kubectl, namespace, "stranger", "rival", "sibling", "prometheus")
    wait_until_ready(kubectl, ELSEWHERE, "prometheus", "sibling")

    def progress() -> int:
        """Only the operator's own questions to rank 0 bring it there."""
        return int((cluster.job(namespace, NAME).get("status", {}).get("progress") or {}).get("step") or 0)

    until(progress, "the operator to hear of the training's progress")
    selector = f"batch.kubernetes.io/job-name={NAME}-train-1"
    pods = sorted(kubectl.get("pods", "-n", namespace, "-l", selector)["items"], key=_index)
    first, second = (pod["status"]["podIP"] for pod in pods)
    yield Gang(
        kubectl=kubectl,
        namespace=namespace,
        pods=(pods[0]["metadata"]["name"], pods[1]["metadata"]["name"]),
        targets={
            "rendezvous": ("STREAM", first, 29500),
            "metrics": ("STREAM", first, 9400),
            "service": ("STREAM", f"{NAME}-train.{namespace}.svc", 29500),
            "metrics of rank 1": ("STREAM", second, 9400),
            "names": ("DGRAM", DNS_ADDRESS, 53),
            "API server": ("STREAM", KUBERNETES_SERVICE, 443),
            "S3": ("STREAM", NODE_ADDRESS, ports.S3),
        },
    )
    kubectl("delete", "finetunejob", NAME, "-n", namespace, "--wait=false")
    kubectl("delete", "namespace", ELSEWHERE, "--wait=false")


OF_RANK_0 = {"rendezvous", "metrics", "service"}
OPEN = {"names", "API server", "S3"}
"""What a pod without policies reaches."""


@pytest.mark.parametrize(
    ("elsewhere", "pod", "reached"),
    [
        pytest.param(False, "stranger", OPEN, id="a pod beside it"),
        pytest.param(False, "rival", OPEN, id="another gang"),
        # its labels are those of the gang: who may make such pods is trusted with the namespace's jobs
        pytest.param(False, "sibling", {"names", *OF_RANK_0, "metrics of rank 1"}, id="the same gang"),
        pytest.param(False, "prometheus", {*OPEN, "metrics", "metrics of rank 1"}, id="Prometheus beside it"),
        pytest.param(True, "prometheus", {*OPEN, "metrics", "metrics of rank 1"}, id="Prometheus elsewhere"),
        pytest.param(True, "sibling", OPEN, id="a gang of the same name elsewhere"),
    ],
)
def test_a_gang_is_reached_by_itself_and_its_metrics_by_their_readers(
    gang: Gang, elsewhere: bool, pod: str, reached: set[str]
) -> None:
    namespace = ELSEWHERE if elsewhere else gang.namespace
    # where nothing listens nothing is reached, whatever policies say: rank 1 has no metrics
    listening = reached_by(gang.kubectl, gang.namespace, gang.pods[1], gang.targets)
    found = reached_by(gang.kubectl, namespace, pod, gang.targets)
    assert found == reached - ({"metrics of rank 1"} - listening)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_gang_gets_to_itself_and_names_and_nowhere_else(gang: Gang, rank: int) -> None:
    reached = reached_by(gang.kubectl, gang.namespace, gang.pods[rank], gang.targets)
    assert reached - {"metrics of rank 1"} == {"names", *OF_RANK_0}


def _index(pod: dict[str, object]) -> str:
    metadata = pod["metadata"]
    assert isinstance(metadata, dict)
    return str(metadata["labels"]["batch.kubernetes.io/job-completion-index"])
