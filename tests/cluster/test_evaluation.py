"""Results are judged by their own server on the real cluster: held back, overridden, compared, adopted.

The demo's job passes its gate in test_demo_job.py. Here models are tiny and learn nothing: nothing is asked
of what they learn. All jobs are under way together.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dev.cluster.s3 import S3Endpoint
from dev.demo.data import upload
from dev.kubectl import condition
from tests.cluster.conftest import Cluster, tiny_job, until
from tests.support.tiny_model import make_tiny_of

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the libraries that make the adapter
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

CREDENTIALS = {"secretName": "s3-credentials"}
HELDOUT = {"uri": "s3://datasets/triage/heldout.jsonl", "credentials": CREDENTIALS}
SERVING = {
    "resources": {"requests": {"cpu": "200m", "memory": "3Gi"}, "limits": {"memory": "6Gi"}},
    "engineArgs": {"max-model-len": "1024"},
}
ROWS = 40
CLIENTS, KEY, NEWER = "clients", f"sk-{uuid.uuid4()}", f"sk-{uuid.uuid4()}"
"""The Secret with keys for the adopted job's server, its key, and the one that comes after."""


def _asked(**fields: Any) -> dict[str, Any]:
    evaluation = {
        "dataset": HELDOUT,
        "maxRows": ROWS,
        "metrics": [{"type": "ExactMatch"}, {"type": "RougeL"}],
    }
    return {**evaluation, "generation": {"maxTokens": 96}, **fields}


def _held_back(namespace: str, uri: str) -> dict[str, Any]:
    job = tiny_job(namespace, "held-back", uri, maxSteps=1, learningRate="1e-9")
    baselines = [
        {"type": "Base"},
        {"type": "FewShot", "examples": 2},
        {"type": "Retrieval", "examples": 1},
    ]
    job["spec"] |= {"evaluation": _asked(baselines=baselines, gate={"minDelta": "0.05"}), "serving": SERVING}
    return job


def _full(namespace: str, uri: str) -> dict[str, Any]:
    job = tiny_job(namespace, "full", uri, maxSteps=1, adapter={"type": "Full"})
    return job | {"spec": job["spec"] | {"evaluation": _asked()}}


def _adopted(namespace: str, uri: str) -> dict[str, Any]:
    job = tiny_job(namespace, "adopted", uri)
    del job["spec"]["training"], job["spec"]["dataset"]
    job["spec"] |= {
        "artifact": {"uri": "s3://models/plain-peft", "credentials": CREDENTIALS},
        "evaluation": _asked(),
        "serving": SERVING
        | {
            "gpus": 0,
            "apiKey": {"secretName": CLIENTS},
            # vLLM itself would ask for this key, and the canary, which has none, would get no answer
            "podTemplate": {"envFrom": [{"prefix": "VLLM_", "secretRef": {"name": CLIENTS}}]},
        },
    }
    return job


def _plain_peft(model: Path, folder: Path) -> Path:
    """An adapter as ``PeftModel.save_pretrained`` leaves it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(model)
    config = LoraConfig(
        r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM"
    )
    get_peft_model(base, config).save_pretrained(folder)
    return folder


def _clients(namespace: str, **keys: str) -> dict[str, Any]:
    meta = {"name": CLIENTS, "namespace": namespace}
    # no stringData: what an apply leaves out of that stays
    data = {name: base64.b64encode(f"{key}\n".encode()).decode() for name, key in keys.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data}


@pytest.fixture(scope="module")
def jobs(cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """All jobs, under way; returns their namespace."""
    folder = tmp_path_factory.mktemp("evaluated")
    model = make_tiny_of("llama", folder / "model")
    upload(S3Endpoint(), model, "models/tiny-judged")
    upload(S3Endpoint(), _plain_peft(model, folder / "adapter"), "models/plain-peft")
    cluster.kubectl.apply(_clients(namespace, API_KEY=KEY))
    for make in (_held_back, _full, _adopted):
        cluster.kubectl.apply(make(namespace, "s3://models/tiny-judged"))
    yield namespace
    cluster.kubectl("delete", "ftj", "--all", "-n", namespace)


def _servers(cluster: Cluster, namespace: str, job: str) -> set[tuple[str, str]]:
    """Deployments and Services that lead to models."""
    found = cluster.kubectl.get(
        "deployments,services", "-n", namespace, "-l", f"kubetune.dev/finetunejob={job},kubetune.dev/role"
    )
    return {(item["kind"], item["metadata"]["name"]) for item in found["items"]}


def _file(cluster: Cluster, namespace: str, job: str, name: str) -> str:
    """A file of the evaluation, by the job's server, which has the volume mounted."""
    uri = cluster.job(namespace, job)["status"]["artifact"]["uri"]
    run = uri.removeprefix("pvc://").split("/", maxsplit=1)[1].rpartition("/")[0]
    return cluster.kubectl("exec", "-n", namespace, f"deploy/{job}", "--", "cat", f"/output/{run}/{name}")


def _answers(cluster: Cluster, namespace: str, job: str) -> list[str]:
    """Keys of the answers that are kept, in the order in which they came."""
    try:
        text = _file(cluster, namespace, job, "evaluation/answers.jsonl")
    except Exception:  # the server is not there yet, or nobody has answered
        return []
    return [json.loads(line)["key"] for line in text.splitlines() if line.endswith("}")]


def test_an_evaluator_that_is_killed_goes_on_and_what_did_not_pass_is_served_only_when_a_person_says_so(
    cluster: Cluster, jobs: str
) -> None:
    name, kubectl = "held-back", cluster.kubectl
    cluster.wait(jobs, name, "Reconciling", reason="Evaluating")
    before = until(lambda: _answers(cluster, jobs, name), "the first answers")
    kubectl(
        "delete",
        "pod",
        "-n",
        jobs,
        "-l",
        f"kubetune.dev/finetunejob={name},kubetune.dev/stage=evaluate",
        "--now",
    )

    def stalled() -> dict[str, Any] | None:
        job = cluster.job(jobs, name)
        return job if condition(job, "Stalled").get("status") == "True" else None

    kept: list[str] = before
    job: dict[str, Any] | None = None
    while job is None:
        kept = _answers(cluster, jobs, name) or kept
        job = stalled()
    assert kept[: len(before)] == before
    assert len(kept) == len(set(kept))
    assert kubectl.find("job", f"{name}-evaluate-2", "-n", jobs)

    why = condition(job, "Stalled")
    assert why["reason"] == "GateFailed"
    assert "ExactMatch" in why["message"]
    assert [c["name"] for c in job["status"]["evaluation"]["candidates"]] == [
        "Tuned",
        "Base",
        "FewShot",
        "Retrieval",
    ]
    until(lambda: not _servers(cluster, jobs, name), "the end of the server of what did not pass")

    kubectl("annotate", "ftj", name, "-n", jobs, "kubetune.dev/promote=The rows are mislabelled.")
    job = cluster.wait(jobs, name, "Ready")
    assert condition(job, "Promoted")["reason"] == "GateOverridden"
    assert job["status"]["evaluation"]["override"]["by"] == "kubectl-annotate"
    assert _servers(cluster, jobs, name) == {("Deployment", name), ("Service", name)}
    card = _file(cluster, jobs, name, "adapter/README.md")
    assert "The rows are mislabelled." in card
    assert "FewShot" in card
    report = json.loads(_file(cluster, jobs, name, "evaluation/report.json"))
    assert report["override"]["reason"] == "The rows are mislabelled."
    assert report["rows"] == ROWS
    rows = [json.loads(line) for line in _file(cluster, jobs, name, "evaluation/rows.jsonl").splitlines()]
    assert len(rows) == ROWS
    assert all(set(row["candidates"]) == {"Tuned", "Base", "FewShot", "Retrieval"} for row in rows)
    assert "<html" in _file(cluster, jobs, name, "evaluation/report.html")
    events = kubectl.get("events", "-n", jobs, "--field-selector", f"involvedObject.name={name}")["items"]
    assert {"GateFailed", "GateOverridden"} <= {event["reason"] for event in events}


def test_the_base_of_a_full_fine_tune_is_asked_by_a_server_of_its_own_and_all_servers_go(
    cluster: Cluster, jobs: str
) -> None:
    name, seen = "full", set[frozenset[str]]()

    def done() -> dict[str, Any] | None:
        there = _servers(cluster, jobs, name)
        seen.add(frozenset(server for kind, server in there if kind == "Deployment"))
        job = cluster.job(jobs, name)
        assert condition(job, "Stalled").get("status") != "True", condition(job, "Stalled")
        return job if condition(job, "Ready").get("status") == "True" else None

    job = until(done, "Ready of a full fine-tune")
    assert seen <= {frozenset(), frozenset({f"{name}-baseline"}), frozenset({name})}
    assert condition(job, "BaseAnswered")["status"] == "True"
    assert condition(job, "Promoted")["reason"] == "NotGated"
    tuned, base = job["status"]["evaluation"]["candidates"]
    assert (tuned["name"], base["name"]) == ("Tuned", "Base")
    assert job["status"]["plan"]["resources"]["baseline"]["requests"]
    until(lambda: not _servers(cluster, jobs, name), "the end of servers that only the evaluation needed")


def test_an_adapter_that_plain_peft_has_made_is_adopted_judged_and_served(
    cluster: Cluster, jobs: str
) -> None:
    name = "adopted"
    job = cluster.wait(jobs, name, "Ready")
    types = {c["type"] for c in job["status"]["conditions"]}
    assert "Trained" not in types
    assert condition(job, "Served")["reason"] == "ServingUnproven"
    assert job["status"]["artifact"]["rank"] == 4
    assert job["status"]["evaluation"]["rows"] == ROWS
    assert not cluster.kubectl.find("job", f"{name}-train-1", "-n", jobs)


_MODELS = "/v1/models"


def test_a_server_asks_for_a_key_that_nobody_reads_and_that_changes_without_a_restart(
    cluster: Cluster, jobs: str
) -> None:
    name, kubectl = "adopted", cluster.kubectl
    cluster.wait(jobs, name, "Ready")  # the evaluator and the operator got their answers
    (pod,) = kubectl.get(
        "pods", "-n", jobs, "-l", f"kubetune.dev/finetunejob={name},kubetune.dev/role=serving"
    )["items"]
    with (
        kubectl.port_forward(jobs, f"svc/{name}", 80) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):

        def status(path: str = _MODELS, key: str | None = None) -> int:
            return client.get(path, headers={} if key is None else {"api-key": key}).status_code

        question = {"model": name, "prompt": "a", "max_tokens": 1}
        refused = client.post("/v1/completions", json=question)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
        bearer = {"authorization": f"Bearer {KEY}"}
        assert client.post("/v1/completions", json=question, headers=bearer).status_code == 200
        assert [status(path) for path in ("/health", "/metrics", "/kubetune/canary")] == [200] * 3
        assert [status(path) for path in (_MODELS, "/version", "/invocations", "/adapters")] == [401] * 4
        assert [status(key=key) for key in (KEY, NEWER)] == [200, 401]

        kubectl.apply(_clients(jobs, NEWER=NEWER))
        kubectl(
            "annotate", "pod", pod["metadata"]["name"], "-n", jobs, "tests/look=now"
        )  # kubelets look late
        until(lambda: status(key=NEWER) == 200, "the new key")
        assert status(key=KEY) == 401
    (after,) = kubectl.get("pod", pod["metadata"]["name"], "-n", jobs)["status"]["containerStatuses"]
    assert after["restartCount"] == 0
    assert after["containerID"] == pod["status"]["containerStatuses"][0]["containerID"]

    told = [
        kubectl("logs", "-n", jobs, f"deploy/{name}"),
        kubectl("logs", "-n", jobs, f"job/{name}-evaluate"),
        kubectl("get", "ftj,jobs,deployments,pods,configmaps,events", "-n", jobs, "-o", "json"),
    ]
    assert not [text for text in told if KEY in text or NEWER in text]
