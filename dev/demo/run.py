"""The demo from start to end: data in place, job applied, followed, judged, served."""

from __future__ import annotations

import json
import time
from typing import Any

import yaml

from dev import paths
from dev.cluster import s3
from dev.demo import table
from dev.demo.follow import StalledError, follow
from dev.kubectl import Kubectl
from dev.progress import console, note, step

TRIAGE = paths.REPOSITORY / "examples" / "triage"
NAMESPACE = "demo"
FILES_SECRET = "openai-files"  # by which jobs that clients of OpenAI's API make read their files
NAMESPACE_ELSEWHERE = "kubetune-demo"  # in a cluster that has its own things, perhaps under that name
CHANGES_ELSEWHERE = (
    f"create the namespace {NAMESPACE_ELSEWHERE} unless it is there, held to restricted pod security",
    "apply in it the ConfigMap triage and the FineTuneJob triage-1, which takes a GPU and a claim of 5 GiB",
)
"""What the demo changes in a cluster that is not ours, the installation aside."""
_DEADLINE = 1800.0  # seconds; generous: a cold pull of 5 GB images is in it


def run(kubectl: Kubectl, *, manifest: str, surroundings: list[dict[str, Any]]) -> None:
    """Run the job of ``examples/triage/<manifest>`` among the objects that it needs; print the answers."""
    job = yaml.safe_load((TRIAGE / manifest).read_text())
    namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
    with step(f"kubectl apply -f examples/triage/{manifest}"):
        kubectl.apply(*(each for each in surroundings if not _is_there(kubectl, each)))
        kubectl("apply", "--validate=strict", "-f", TRIAGE / manifest)
    start = time.monotonic()
    try:
        done = follow(kubectl, namespace=namespace, name=name, until="Ready", deadline=_DEADLINE)
    except StalledError as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        note(f"\n  {kubectl.environment}\n  kubectl describe ftj {name} -n {namespace}")
        raise SystemExit(1) from None
    note(f"   served {time.monotonic() - start:.0f} s after kubectl apply")
    found = done["status"]["evaluation"]
    console.print(table.scores(found))
    console.print(table.answers(evaluated_rows(kubectl, done), found["metric"]))
    note(f"\n{found['message']}")
    _what_next(kubectl, namespace=namespace, name=name, status=done["status"])


def _is_there(kubectl: Kubectl, wanted: dict[str, Any]) -> bool:
    """Tell whether it is a namespace that somebody has made already: its labels are theirs."""
    return wanted["kind"] == "Namespace" and kubectl.find("namespace", wanted["metadata"]["name"]) is not None


def restricted_namespace(name: str) -> dict[str, Any]:
    """A namespace that is held to restricted pod security."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def local_surroundings(namespace: str = NAMESPACE) -> list[dict[str, Any]]:
    """What jobs on the local cluster need: a namespace, and Secrets with the S3 endpoint's keys."""
    secrets = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "stringData": s3_credentials(),
        }
        for name in ("s3-credentials", FILES_SECRET)
    ]
    return [restricted_namespace(namespace), *secrets]


def hub_surroundings(namespace: str = NAMESPACE_ELSEWHERE) -> list[dict[str, Any]]:
    """What the job for any cluster needs: a namespace, and the rows as a ConfigMap."""
    rows = {path.name: path.read_text() for path in sorted(TRIAGE.glob("*.jsonl"))}
    metadata = {"name": "triage", "namespace": namespace}
    return [
        restricted_namespace(namespace),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": rows},
    ]


def s3_credentials() -> dict[str, str]:
    """Return the keys of the local S3 endpoint as a credentials Secret has them."""
    endpoint = s3.S3Endpoint()
    return {
        "AWS_ACCESS_KEY_ID": endpoint.access_key,
        "AWS_SECRET_ACCESS_KEY": endpoint.secret_key,
        "AWS_ENDPOINT_URL": endpoint.url,
        "AWS_REGION": endpoint.region,
    }


def evaluated_rows(kubectl: Kubectl, job: dict[str, Any]) -> list[dict[str, Any]]:
    """rows.jsonl of the evaluation, by the server, which has the job's volume."""
    namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
    folder = job["status"]["evaluation"]["reportUri"].removeprefix("pvc://").partition("/")[2]
    path = f"/output/{folder}/rows.jsonl"
    text = kubectl("exec", "-n", namespace, f"deploy/{name}", "--", "cat", path)
    return [json.loads(line) for line in text.splitlines()]


def _what_next(kubectl: Kubectl, *, namespace: str, name: str, status: dict[str, Any]) -> None:
    url, model = status["serving"]["url"], status["serving"]["modelName"]
    report = status["evaluation"]["reportUri"].removeprefix("pvc://").partition("/")[2]
    prompt = "My pod has been in ImagePullBackOff since lunch."
    messages = (
        f'[{{"role": "system", "content": "Name the team that answers this request."}}, '
        f'{{"role": "user", "content": "{prompt}"}}]'
    )
    console.print(f"\nServed at {url} inside the cluster. Go on with:\n", markup=False)
    console.print(
        f"  {kubectl.environment}\n"
        f"  kubectl get ftj -n {namespace}\n"
        f"  kubectl describe ftj {name} -n {namespace}\n"
        f"  kubectl exec -n {namespace} deploy/{name} -- cat /output/{report}/report.html > report.html\n"
        f"  kubectl port-forward -n {namespace} svc/{name} 8000:80 & sleep 2; "
        f"curl -s --noproxy localhost localhost:8000/v1/chat/completions -H 'Content-Type: application/json' "
        f'-d \'{{"model": "{model}", "temperature": 0, "messages": {messages}}}\'',
        markup=False,
        soft_wrap=True,
    )
