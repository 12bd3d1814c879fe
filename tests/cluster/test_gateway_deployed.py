"""The gateway as the chart has installed it: it answers, tells its metrics, and is protected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import openai
import pytest

from dev.deploy import NAMESPACE
from tests.cluster.conftest import Cluster, until
from tests.cluster.gateway import NAME, SELECTOR, client_at, token_of
from tests.cluster.reach import python_pod, reached_by, wait_until_ready

pytestmark = pytest.mark.cluster


@contextmanager
def client_with(cluster: Cluster, key: str) -> Iterator[openai.OpenAI]:
    """OpenAI's own client, as somebody with this token."""
    with (
        cluster.kubectl.port_forward(NAMESPACE, f"service/{NAME}", 80) as port,
        client_at(f"http://127.0.0.1:{port}", key) as client,
    ):
        yield client


def test_all_replicas_are_ready_and_a_drain_takes_one_at_a_time(cluster: Cluster) -> None:
    kubectl = cluster.kubectl

    def is_rolled_out() -> bool:
        status = kubectl.get("deployment", NAME, "-n", NAMESPACE)["status"]
        counts = ("replicas", "readyReplicas", "updatedReplicas", "availableReplicas")
        return [status.get(count) for count in counts] == [2, 2, 2, 2]

    until(is_rolled_out, "both replicas of the gateway")
    budget = kubectl.get("poddisruptionbudget", NAME, "-n", NAMESPACE)
    until(
        lambda: (
            kubectl.get("poddisruptionbudget", NAME, "-n", NAMESPACE)["status"]["disruptionsAllowed"] == 1
        ),
        "a budget that counts both",
    )
    assert budget["spec"]["maxUnavailable"] == 1
    assert kubectl.get("networkpolicy", NAME, "-n", NAMESPACE)["spec"]["policyTypes"] == ["Ingress"]


def test_who_has_no_token_is_refused_as_openai_refuses(cluster: Cluster) -> None:
    with client_with(cluster, "nobody") as client, pytest.raises(openai.AuthenticationError) as refused:
        client.files.list()
    assert refused.value.code == "invalid_api_key"
    assert refused.value.type == "invalid_request_error"


@pytest.fixture(scope="module")
def token(cluster: Cluster, namespace: str) -> str:
    return token_of(cluster, namespace)


def test_the_token_of_a_service_account_works_in_its_namespace(cluster: Cluster, token: str) -> None:
    with client_with(cluster, token) as client:
        stored = client.files.create(file=("rows.jsonl", b'{"messages": []}\n'), purpose="fine-tune")
        assert stored.id in [file.id for file in client.files.list()]
        assert client.files.content(stored.id).read() == b'{"messages": []}\n'
        assert stored.id not in [job.training_file for job in client.fine_tuning.jobs.list()]
        client.files.delete(stored.id)


def test_prometheus_scrapes_both_replicas(cluster: Cluster) -> None:
    query = f'up{{job="{NAMESPACE}/{NAME}"}} == 1'
    until(lambda: len(cluster.series(query)) >= 2, "scrapes of both replicas")
    until(lambda: cluster.series("kubetune_gateway_in_flight_requests"), "a metric of the gateway's own")


def test_pods_of_others_reach_the_api_and_not_the_metrics(cluster: Cluster, namespace: str) -> None:
    kubectl = cluster.kubectl
    [image] = {
        container["image"]
        for pod in kubectl.get("pods", "-n", NAMESPACE, "-l", SELECTOR)["items"]
        for container in pod["spec"]["containers"]
    }
    wait = "import time; time.sleep(600)"
    kubectl.apply(python_pod(namespace, "visitor", image, run=wait, labels={"app": "visitor"}))
    wait_until_ready(kubectl, namespace, "visitor")

    def reached() -> bool:
        addresses = [
            pod["status"]["podIP"]
            for pod in kubectl.get("pods", "-n", NAMESPACE, "-l", SELECTOR)["items"]
            if "deletionTimestamp" not in pod["metadata"]
        ]
        targets = {
            f"{address}:{port}": ("STREAM", address, port) for address in addresses for port in (8080, 9090)
        }
        return reached_by(kubectl, namespace, "visitor", targets) == {f"{each}:8080" for each in addresses}

    until(reached, "the gateway's NetworkPolicy to be enforced", seconds=60)
