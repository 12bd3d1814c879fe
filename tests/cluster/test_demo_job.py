"""The demo job on the real cluster: it learns, is served and measured, and goes without a trace."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import yaml

from dev.demo.ask import exact_match, held_out
from dev.demo.run import NAMESPACE, TRIAGE, answers, local_surroundings
from tests.cluster.conftest import Cluster, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

NAME = "triage-1"


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
        lambda: cluster.series(
            f'kubetune_train_loss{{namespace="{NAMESPACE}",kubetune_dev_finetunejob="{NAME}"}}'
        ),
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


def test_the_tuned_model_beats_the_base_by_at_least_point_three(demo: Demo, cluster: Cluster) -> None:
    examples = held_out(TRIAGE / "heldout.jsonl")
    assert len(examples) == 80
    base, tuned = answers(cluster.kubectl, demo.job, demo.job["status"], examples)
    assert exact_match(tuned, examples) >= exact_match(base, examples) + 0.3


def test_prometheus_has_series_of_operator_trainer_and_server(demo: Demo, cluster: Cluster) -> None:
    assert demo.training_series
    assert "Reconciling" in [series["metric"]["condition"] for series in demo.jobs_series]
    assert until(
        lambda: cluster.series(
            f'{{__name__=~"vllm:.+",namespace="{NAMESPACE}",kubetune_dev_finetunejob="{NAME}"}}'
        ),
        "a vllm: series in Prometheus",
    )


@pytest.mark.parametrize("condition", ["Trained", "Served", "Ready"])
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


def test_describe_tells_what_happened(demo: Demo, cluster: Cluster) -> None:
    text = cluster.kubectl("describe", "ftj", NAME, "-n", NAMESPACE)
    for fact in ("Artifact", "pvc://triage-1-output/", "Completed", "Serving", "Events:"):
        assert fact in text


def test_the_printed_columns_say_the_essentials(demo: Demo, cluster: Cluster) -> None:
    header, row = cluster.kubectl("get", "ftj", NAME, "-n", NAMESPACE).splitlines()
    assert header.split() == ["NAME", "READY", "REASON", "MODEL", "PROGRESS", "AGE"]
    assert row.split()[1:5] == ["True", "Serving", "s3://models/SmolLM2-135M-Instruct", "50/50"]


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


def _volume_file(cluster: Cluster, name: str) -> str:
    """Read a file of the job's run directory through the serving pod, which mounts the volume."""
    run = cluster.job(NAMESPACE, NAME)["status"]["artifact"]["uri"].partition(f"pvc://{NAME}-output/")[2]
    path = f"/output/{run.rpartition('/')[0]}/{name}"
    try:
        return cluster.kubectl("exec", "-n", NAMESPACE, f"deploy/{NAME}", "--", "cat", path)
    except subprocess.SubprocessError as error:  # pragma: no cover - a broken cluster
        pytest.fail(str(error))
