"""The gateway as the chart has installed it: it answers, tells its metrics, and is protected."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import openai
import pytest
from openai.types.fine_tuning import FineTuningJob

from dev.deploy import NAMESPACE
from dev.gateway import MODEL
from tests.cluster.conftest import Cluster, until
from tests.cluster.reach import python_pod, reached_by, wait_until_ready

pytestmark = pytest.mark.cluster

NAME = "kubetune-gateway"
SELECTOR = "app.kubernetes.io/name=kubetune,app.kubernetes.io/component=gateway"


@contextmanager
def client_with(cluster: Cluster, key: str) -> Iterator[openai.OpenAI]:
    """OpenAI's own client, as somebody with this token."""
    with (
        cluster.kubectl.port_forward(NAMESPACE, f"service/{NAME}", 80) as port,
        httpx.Client(trust_env=False) as http,
        openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, http_client=http) as client,
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
    """Of a service account that may do in its namespace what the role `edit` may."""
    kubectl = cluster.kubectl
    kubectl("create", "serviceaccount", "client", "-n", namespace)
    kubectl(
        *("create", "rolebinding", "client", "-n", namespace, "--clusterrole=edit"),
        f"--serviceaccount={namespace}:client",
    )
    return kubectl("create", "token", "client", "-n", namespace).strip()


def test_the_token_of_a_service_account_works_in_its_namespace(cluster: Cluster, token: str) -> None:
    with client_with(cluster, token) as client:
        stored = client.files.create(file=("rows.jsonl", b'{"messages": []}\n'), purpose="fine-tune")
        assert [file.id for file in client.files.list()] == [stored.id]
        assert client.files.content(stored.id).read() == b'{"messages": []}\n'
        assert list(client.fine_tuning.jobs.list()) == []
        client.files.delete(stored.id)


def test_a_client_fine_tunes_and_asks_what_was_made(cluster: Cluster, token: str) -> None:
    """Through all that is between: rows by S3 to prepare, NetworkPolicies to the server, rights on both."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Is {number} even?"},
                {"role": "assistant", "content": "no" if number % 2 else "yes"},
            ]
        }
        for number in range(32)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    with client_with(cluster, token) as client:
        file = client.files.create(file=("rows.jsonl", lines), purpose="fine-tune")
        job = client.fine_tuning.jobs.create(
            model=MODEL,
            training_file=file.id,
            suffix="even",
            method={
                "type": "supervised",
                "supervised": {"hyperparameters": {"n_epochs": 1, "batch_size": 8}},
            },
        )

        def ended() -> FineTuningJob | None:
            found = client.fine_tuning.jobs.retrieve(job.id)
            return found if found.status in ("succeeded", "failed", "cancelled") else None

        done = until(ended, "the end of the job")
        assert (done.status, done.error) == ("succeeded", None)
        assert done.fine_tuned_model
        pieces = list(
            client.chat.completions.create(
                model=done.fine_tuned_model,
                messages=[{"role": "user", "content": "Is 4 even?"}],
                max_tokens=4,
                stream=True,
            )
        )
        assert {piece.model for piece in pieces} == {done.fine_tuned_model}
        assert pieces[-1].choices[0].finish_reason in ("stop", "length")
        client.models.delete(done.fine_tuned_model)


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
