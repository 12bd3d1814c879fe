"""The demo job on the real cluster: it learns, is served and measured, and goes without a trace."""

from __future__ import annotations

import base64
import json
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from dev import paths
from dev.cluster import ports
from dev.cluster.control_plane_programs import KUBERNETES_SERVICE
from dev.cluster.network import NODE_ADDRESS
from dev.demo.run import NAMESPACE, TRIAGE, evaluated_rows, local_surroundings
from dev.kubectl import Kubectl, condition
from kubetune_trainer.data.row_files import RowFile
from tests.cluster.conftest import Cluster, until
from tests.cluster.reach import Target, python_pod, reached_by, wait_until_ready
from tests.support.openai_requests import CLOSED, Request, attacks, documented

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

NAME, BASE = "triage-1", "SmolLM2-135M-Instruct"


@dataclass(frozen=True, slots=True)
class Demo:
    """What was seen while the demo job ran."""

    job: dict[str, Any]
    training_series: list[dict[str, Any]]
    jobs_series: list[dict[str, Any]]


@pytest.fixture(scope="module")
def demo(cluster: Cluster) -> Demo:
    """Run the demo job from nothing to served."""
    kubectl = cluster.kubectl
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait")
    kubectl.apply(*local_surroundings())
    kubectl("apply", "--validate=strict", "-f", TRIAGE / "job.yaml")
    loss = until(
        lambda: cluster.series(f'kubetune_train_loss{{namespace="{NAMESPACE}",finetunejob="{NAME}"}}'),
        "kubetune_train_loss of the running job in Prometheus",
    )
    jobs = cluster.series(f'sum by (condition) (kubetune_jobs{{namespace="{NAMESPACE}"}})')
    job = cluster.wait(NAMESPACE, NAME, "Ready")
    return Demo(job, loss, jobs)


def test_validation_loss_falls_by_at_least_thirty_percent(demo: Demo, cluster: Cluster) -> None:
    rows = _volume_file(cluster, "results.csv").splitlines()
    header = rows[0].split(",")
    losses = [float(v) for row in rows[1:] if (v := row.split(",")[header.index("valid_loss")])]
    assert losses[-1] <= 0.7 * losses[0]


def test_the_tuned_model_beats_every_baseline_by_at_least_point_three(demo: Demo) -> None:
    found = demo.job["status"]["evaluation"]
    scores = {candidate["name"]: float(candidate["score"]) for candidate in found["candidates"]}
    assert (found["rows"], found["verdict"]) == (40, "Passed")
    assert set(scores) == {"Tuned", "Base", "FewShot", "Retrieval"}
    tuned = scores.pop("Tuned")
    assert tuned >= max(scores.values()) + 0.3


def test_the_server_that_was_judged_is_the_one_that_serves(demo: Demo, cluster: Cluster) -> None:
    assert condition(demo.job, "Promoted")["reason"] == "GatePassed"
    assert demo.job["status"]["evaluation"]["artifact"] == demo.job["status"]["artifact"]["digest"]
    deployment = cluster.kubectl.get("deployment", NAME, "-n", NAMESPACE)
    assert deployment["metadata"]["generation"] == 1
    asked = cluster.kubectl.get("job", f"{NAME}-evaluate", "-n", NAMESPACE)["metadata"]["creationTimestamp"]
    (pod,) = _servers(cluster)
    assert pod["metadata"]["creationTimestamp"] <= asked
    assert cluster.kubectl.find("service", f"{NAME}-candidate", "-n", NAMESPACE) is None


def test_the_report_lies_beside_the_result(demo: Demo, cluster: Cluster) -> None:
    rows = evaluated_rows(cluster.kubectl, demo.job)
    assert len(rows) == 40
    report = json.loads(_volume_file(cluster, "evaluation/report.json"))
    assert report["said"] == demo.job["status"]["evaluation"]["message"]
    assert report["losses"]
    assert report["said"] in _volume_file(cluster, "evaluation/report.html").replace("&#x27;", "'")
    assert "| Retrieval |" in _volume_file(cluster, "adapter/README.md").replace("**", "")


def test_prometheus_has_series_of_operator_trainer_and_server(demo: Demo, cluster: Cluster) -> None:
    assert demo.training_series
    assert "Reconciling" in [series["metric"]["condition"] for series in demo.jobs_series]
    scores = until(
        lambda: cluster.series(f'kubetune_evaluation_score{{namespace="{NAMESPACE}",finetunejob="{NAME}"}}'),
        "kubetune_evaluation_score in Prometheus",
    )
    assert {series["metric"]["candidate"] for series in scores} == {"Tuned", "Base", "FewShot", "Retrieval"}
    assert until(
        lambda: cluster.series(f'{{__name__=~"vllm:.+",namespace="{NAMESPACE}",finetunejob="{NAME}"}}'),
        "a vllm: series in Prometheus",
    )


@pytest.mark.parametrize("condition", ["Trained", "Evaluated", "Promoted", "Served", "Ready"])
def test_kubectl_wait_returns(demo: Demo, cluster: Cluster, condition: str) -> None:
    output = cluster.kubectl(
        "wait", f"--for=condition={condition}", f"ftj/{NAME}", "-n", NAMESPACE, "--timeout=10s"
    )
    assert "condition met" in output


def test_the_job_trained_in_two_pods_and_one_attempt(demo: Demo, cluster: Cluster) -> None:
    attempts = demo.job["status"]["attempts"]
    assert [(a["number"], a["outcome"]) for a in attempts] == [(1, "Succeeded")]
    assert demo.job["status"]["plan"]["worldSize"] == 2
    assert demo.job["status"]["plan"]["totalSteps"] == 50


def test_describe_tells_what_happened_and_the_verdict_first(demo: Demo, cluster: Cluster) -> None:
    text = cluster.kubectl("describe", "ftj", NAME, "-n", NAMESPACE)
    assert demo.job["status"]["conditions"][0]["message"] in text
    assert "Events:" in text
    [first] = re.findall(r"^Status:\n +(.+)$", text, flags=re.MULTILINE)
    assert re.fullmatch(rf"Abstract: +Serves as {NAME} at http://\S+/v1\. ExactMatch: Tuned .+", first)


def test_the_printed_columns_say_the_essentials(demo: Demo, cluster: Cluster) -> None:
    header, row = cluster.kubectl("get", "ftj", NAME, "-n", NAMESPACE).splitlines()
    assert header.split() == [
        *["NAME", "READY", "STAGE", "REASON", "PROGRESS", "LOSS", "ATTEMPT", "CHECKPOINT", "AGE"]
    ]
    loss = demo.job["status"]["progress"]["loss"]
    assert row.split()[:-2] == [NAME, "True", "done", "Serving", "50/50", loss, "1"]
    assert re.fullmatch(r"([0-9]+[smh])+", row.split()[-2])


def test_one_command_has_the_logs_of_all_stages(demo: Demo, cluster: Cluster) -> None:
    page = (paths.REPOSITORY / "docs" / "how-to" / "logs.md").read_text()
    command = re.findall(r"^kubectl logs -l .*?(?= \|)", page.replace("\\\n", ""), flags=re.MULTILINE)[0]
    argv = shlex.split(command.replace("NAME", NAME))
    log = cluster.kubectl(*argv[1:], "-n", NAMESPACE)
    prefixed = set(re.findall(r"^\[pod/([^/]+)/", log, flags=re.MULTILINE))
    pods = cluster.kubectl.get("pods", "-n", NAMESPACE, "-l", f"kubetune.dev/finetunejob={NAME}")["items"]
    stages = {pod["metadata"]["labels"]["kubetune.dev/stage"] for pod in pods}
    told = [pod for pod in pods if pod["metadata"]["name"] in prefixed]
    assert {pod["metadata"]["labels"]["kubetune.dev/stage"] for pod in told} == stages
    assert stages == {"prepare", "train", "evaluate", "serve"}


def test_applying_the_same_manifest_again_writes_nothing(demo: Demo, cluster: Cluster) -> None:
    before = cluster.audit_position()
    cluster.kubectl("apply", "--validate=strict", "-f", TRIAGE / "job.yaml")
    # Another object's status write proves that the operator has gone through its queue since.
    probe = yaml.safe_load((TRIAGE / "job.yaml").read_text())
    probe["metadata"]["name"] = "probe"
    probe["spec"]["storage"] = {"claimName": "no-such-claim"}
    cluster.kubectl.apply(probe)
    cluster.wait(NAMESPACE, "probe", "Reconciling")
    cluster.kubectl("delete", "ftj", "probe", "-n", NAMESPACE, "--wait")
    writes = [
        w for w in cluster.operator_writes(NAMESPACE, since=before) if w["objectRef"]["name"].startswith(NAME)
    ]
    assert writes == []


def test_pods_have_no_api_token(demo: Demo, cluster: Cluster) -> None:
    pods = cluster.kubectl.get("pods", "-n", NAMESPACE)["items"]
    mounted = [
        volume
        for pod in pods
        for volume in pod["spec"].get("volumes", [])
        if any("serviceAccountToken" in source for source in volume.get("projected", {}).get("sources", []))
    ]
    assert pods
    assert mounted == []


def test_the_served_model_is_listed_by_its_job_name(demo: Demo, cluster: Cluster) -> None:
    with cluster.kubectl.port_forward(NAMESPACE, f"svc/{NAME}", 80) as port:
        models = httpx.get(f"http://127.0.0.1:{port}/v1/models").json()["data"]
    assert NAME in [model["id"] for model in models]


def test_the_server_s_prompts_are_what_was_learned_after(
    demo: Demo, cluster: Cluster, client: httpx.Client, tmp_path: Path
) -> None:
    (tmp_path / "rows.arrow").write_bytes(
        base64.b64decode(_volume_file(cluster, "prepared/validation.arrow", "base64"))
    )
    rows = RowFile(tmp_path / "rows.arrow")
    system = {"role": "system", "content": demo.job["spec"]["dataset"]["systemPrompt"]}
    lines = (TRIAGE / "heldout.jsonl").read_text().splitlines()
    assert len(lines) == len(rows)
    for index in (0, 7, 79):
        *asked, _ = json.loads(lines[index])["messages"]
        for model in (NAME, BASE):
            reply = client.post("/tokenize", json={"model": model, "messages": [system, *asked]})
            row = rows[index]
            context = row["input_ids"][row["labels"] < 0].tolist()
            assert reply.json()["tokens"] == context


def _server(cluster: Cluster) -> tuple[str, int]:
    """The container that serves, and how often it was started again."""
    pods = cluster.kubectl.get("pods", "-n", NAMESPACE, "-l", "kubetune.dev/role=serving")["items"]
    (pod,) = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    (status,) = pod["status"]["containerStatuses"]
    return status["containerID"], status["restartCount"]


def _post(client: httpx.Client, request: Request) -> httpx.Response:
    path, body = request
    reply = client.post(path, content=body, headers={"Content-Type": "application/json"})
    while reply.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        time.sleep(float(reply.headers["Retry-After"]))
        reply = client.post(path, content=body, headers={"Content-Type": "application/json"})
    return reply


@pytest.fixture
def client(cluster: Cluster) -> Iterator[httpx.Client]:
    with (
        cluster.kubectl.port_forward(NAMESPACE, f"svc/{NAME}", 80) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as client,
    ):
        yield client


def test_all_that_openai_documents_is_answered_in_turn_and_at_once(
    demo: Demo, cluster: Cluster, client: httpx.Client
) -> None:
    before = _server(cluster)
    in_turn = {name: _post(client, request) for name, request in documented(NAME).items()}
    assert {name: reply.text for name, reply in in_turn.items() if reply.status_code != HTTPStatus.OK} == {}
    asked = [*documented(NAME).values(), *documented(BASE).values()]
    with ThreadPoolExecutor(24) as pool:
        at_once = list(pool.map(lambda request: _post(client, request), asked))
    assert [reply.text for reply in at_once if reply.status_code != HTTPStatus.OK] == []
    assert _server(cluster) == before


def test_no_request_ends_the_server(demo: Demo, cluster: Cluster, client: httpx.Client) -> None:
    before = _server(cluster)
    good = documented(NAME)["completions: log-probabilities"]
    for name, request in attacks(NAME).items():
        _post(client, request)
        assert (_post(client, good).status_code, name) == (HTTPStatus.OK, name)
    tried = [*attacks(NAME).values(), *attacks(BASE).values()]
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(lambda request: _post(client, request), [*tried, *tried]))
    assert _post(client, good).status_code == HTTPStatus.OK
    assert _server(cluster) == before


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_what_nobody_needs_is_closed(
    demo: Demo, cluster: Cluster, client: httpx.Client, method: str, path: str
) -> None:
    url = f"{str(client.base_url).rstrip('/')}{path}"
    reply = client.request(method, url, json={"model": NAME, "prompt": "Hello", "max_tokens": 1})
    assert reply.status_code == HTTPStatus.NOT_FOUND
    assert reply.json()["error"]["code"] == "unknown_url"


def test_the_server_is_reached_from_its_namespace_until_the_spec_lets_others_in(
    demo: Demo, cluster: Cluster
) -> None:
    kubectl, elsewhere = cluster.kubectl, f"{NAMESPACE}-elsewhere"
    (server,) = _servers(cluster)
    image = server["spec"]["containers"][0]["image"]
    kubectl.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": elsewhere}},
        *(
            python_pod(namespace, "client", image, run="import signal; signal.pause()", labels={})
            for namespace in (NAMESPACE, elsewhere)
        ),
    )
    for namespace in (NAMESPACE, elsewhere):
        wait_until_ready(kubectl, namespace, "client")
    targets: dict[str, Target] = {
        "pod": ("STREAM", server["status"]["podIP"], 8000),
        "service": ("STREAM", f"{NAME}.{NAMESPACE}.svc", 80),
    }

    def reached(namespace: str) -> set[str]:
        return reached_by(kubectl, namespace, "client", targets)

    assert (reached(NAMESPACE), reached(elsewhere)) == ({"pod", "service"}, set())
    from_server = {"api": ("STREAM", KUBERNETES_SERVICE, 443), "s3": ("STREAM", NODE_ADDRESS, ports.S3)}
    assert reached_by(kubectl, NAMESPACE, server["metadata"]["name"], from_server) == set()
    before = _server(cluster)
    try:
        _allow_from(
            kubectl, [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": elsewhere}}}]
        )
        until(lambda: reached(elsewhere) == {"pod", "service"}, "the other namespace to be let in")
        until(lambda: reached(NAMESPACE) == set(), "its own to be shut out")
    finally:
        _allow_from(kubectl, None)
        kubectl("delete", "namespace", elsewhere, "--wait=false")
    until(lambda: reached(NAMESPACE) == {"pod", "service"}, "its own namespace to be let in again")
    assert _server(cluster) == before
    kubectl("delete", "pod", "client", "-n", NAMESPACE, "--wait=false")


def _allow_from(kubectl: Kubectl, peers: list[dict[str, Any]] | None) -> None:
    patch = {"spec": {"serving": {"allowFrom": peers}}}
    kubectl("patch", "ftj", NAME, "-n", NAMESPACE, "--type=merge", "-p", json.dumps(patch))


def test_more_than_the_server_holds_is_told_to_come_again_and_the_rest_is_answered(
    demo: Demo, cluster: Cluster, client: httpx.Client
) -> None:
    body = {"model": NAME, "prompt": "Hello", "max_tokens": 64, "ignore_eos": True, "n": 8, "temperature": 1}
    most = int(
        cluster.kubectl("exec", "-n", NAMESPACE, f"deploy/{NAME}", "--", "printenv", "KUBETUNE_SERVING_LIMIT")
    )
    with ThreadPoolExecutor(most) as pool:
        replies = list(pool.map(lambda _: client.post("/v1/completions", json=body), range(most)))
        told = [reply for reply in replies if reply.status_code == HTTPStatus.TOO_MANY_REQUESTS]
        answered = [reply for reply in replies if reply.status_code == HTTPStatus.OK]
    assert len(told) + len(answered) == most
    assert len(answered) >= most // 8
    assert told
    assert all(reply.json()["error"]["type"] == "rate_limit_error" for reply in told)
    assert all(int(reply.headers["Retry-After"]) > 0 for reply in told)


def test_the_server_is_proven_to_answer_as_it_was_trained(
    demo: Demo, cluster: Cluster, client: httpx.Client
) -> None:
    said = client.get("/kubetune/canary").json()
    assert (said["verdict"], said["digest"]) == ("Same", demo.job["status"]["artifact"]["digest"])
    assert said["tuned"]["largest"] <= 1e-3
    assert said["learned"]["largest"] > 1
    told = cluster.job(NAMESPACE, NAME)["status"]["serving"]["canary"]
    assert told == {name: said[name] for name in ("verdict", "message", "digest", "weights")}
    path = f"/output/{_run(cluster)}/adapter/adapter_model.safetensors"
    digest = cluster.kubectl("exec", "-n", NAMESPACE, f"deploy/{NAME}", "--", "sha256sum", path).split()[0]
    assert said["weights"] == f"sha256:{digest}"


def test_an_adapter_without_effect_gets_no_requests_and_the_earlier_server_keeps_answering(
    demo: Demo, cluster: Cluster, client: httpx.Client
) -> None:
    kubectl, adapter = cluster.kubectl, f"/output/{_run(cluster)}/adapter/adapter_model.safetensors"
    (before,) = (pod["metadata"]["name"] for pod in _servers(cluster))
    _on_the_volume(kubectl, _RENAME, adapter)
    patch = {"spec": {"serving": {**demo.job["spec"]["serving"], "engineArgs": {"max-num-seqs": "8"}}}}
    kubectl("patch", "ftj", NAME, "-n", NAMESPACE, "--type=merge", "-p", json.dumps(patch))

    def told() -> dict[str, Any] | None:
        job = cluster.job(NAMESPACE, NAME)
        return job if condition(job, "Stalled").get("reason") == "ModelMismatch" else None

    job = until(told, "ModelMismatch")
    assert "no effect" in condition(job, "Stalled")["message"]
    assert condition(job, "Served")["status"] == "True"  # by the earlier server
    assert condition(job, "Ready")["status"] == "False"
    (kept,) = (pod for pod in _servers(cluster) if pod["status"]["containerStatuses"][0]["ready"])
    assert kept["metadata"]["name"] == before
    assert client.post("/v1/completions", json={"model": NAME, "prompt": "a"}).status_code == HTTPStatus.OK
    _on_the_volume(kubectl, _RESTORE, adapter)


def _servers(cluster: Cluster) -> list[dict[str, Any]]:
    pods = cluster.kubectl.get("pods", "-n", NAMESPACE, "-l", "kubetune.dev/role=serving")["items"]
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


_RENAME = """
import os, sys
from safetensors.torch import load_file, save_file
path = sys.argv[1]
weights = load_file(path)
elsewhere = {name.replace("model.model.", "model.language_model.model."): weights[name] for name in weights}
save_file(elsewhere, "/output/renamed")
os.replace(path, "/output/kept")
os.replace("/output/renamed", path)
"""
"""Gives an adapter's weights names that vLLM passes over; the server that runs keeps the file that it has."""

_RESTORE = """
import os, sys
os.replace("/output/kept", sys.argv[1])
"""


def _on_the_volume(kubectl: Kubectl, program: str, path: str) -> None:
    """Run a program with the job's volume, and the path on it as argument."""
    kubectl.apply(_job_on_the_volume(kubectl, program, path))
    kubectl("wait", "--for=condition=complete", "job/writer", "-n", NAMESPACE, "--timeout=600s")
    kubectl("delete", "job", "writer", "-n", NAMESPACE, "--wait")


def _job_on_the_volume(kubectl: Kubectl, program: str, path: str) -> dict[str, Any]:
    spec = kubectl.get("pods", "-n", NAMESPACE, "-l", "kubetune.dev/role=serving")["items"][0]["spec"]
    (container,) = spec["containers"]
    claim = next(volume for volume in spec["volumes"] if "persistentVolumeClaim" in volume)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "writer", "namespace": NAMESPACE},
        "spec": {
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "securityContext": spec["securityContext"],
                    "volumes": [claim, {"name": "tmp", "emptyDir": {}}],
                    "containers": [
                        {
                            "name": "writer",
                            "image": container["image"],
                            "command": ["python3", "-c", program, path],
                            "env": [{"name": "HOME", "value": "/tmp"}],
                            "securityContext": container["securityContext"],
                            "volumeMounts": [
                                {"name": claim["name"], "mountPath": "/output"},
                                {"name": "tmp", "mountPath": "/tmp"},
                            ],
                        }
                    ],
                }
            }
        },
    }


def test_deletion_leaves_the_volume_and_no_child_and_a_new_job_adopts_the_model(
    demo: Demo, cluster: Cluster
) -> None:
    kubectl = cluster.kubectl
    kubectl("delete", "ftj", NAME, "-n", NAMESPACE, "--wait")
    kinds = "jobs,pods,services,configmaps,deployments,replicasets"
    selector = f"kubetune.dev/finetunejob={NAME}"
    kubectl("apply", "--validate=strict", "-f", TRIAGE / "job.yaml")  # at once, while the children still go
    job = cluster.wait(NAMESPACE, NAME, "Trained")
    adopted = next(c for c in job["status"]["conditions"] if c["type"] == "Trained")
    assert adopted["reason"] == "ArtifactAdopted"
    assert job["status"]["artifact"]["digest"] == demo.job["status"]["artifact"]["digest"]
    assert not job["status"].get("attempts")
    kubectl("delete", "ftj", NAME, "-n", NAMESPACE, "--wait")
    until(
        lambda: not kubectl.get(kinds, "-n", NAMESPACE, "-l", selector)["items"],
        "all children to be collected",
    )
    assert kubectl.find("persistentvolumeclaim", f"{NAME}-output", "-n", NAMESPACE)


def _run(cluster: Cluster) -> str:
    """The job's run directory, relative to the volume."""
    uri = cluster.job(NAMESPACE, NAME)["status"]["artifact"]["uri"]
    return str(uri.partition(f"pvc://{NAME}-output/")[2].rpartition("/")[0])


def _volume_file(cluster: Cluster, name: str, reader: str = "cat") -> str:
    """Read a file of the job's run directory through the serving pod, which mounts the volume."""
    path = f"/output/{_run(cluster)}/{name}"
    try:
        return cluster.kubectl("exec", "-n", NAMESPACE, f"deploy/{NAME}", "--", reader, path)
    except subprocess.SubprocessError as error:  # pragma: no cover - a broken cluster
        pytest.fail(str(error))
