"""A real API server takes every manifest of the golden cases as it is, and pod security lets every pod in."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from dev.cluster.binaries import ensure_binaries
from dev.cluster.control_plane import ControlPlane
from tests.support.golden import cases, load

pytestmark = pytest.mark.apiserver


@pytest.fixture(scope="module")
def kubectl() -> Iterator[Any]:
    program = ensure_binaries().program("kubectl")
    with ControlPlane.temporary() as plane:

        def run(*arguments: str, stdin: str = "") -> str:
            command = [str(program), f"--kubeconfig={plane.kubeconfig}", *arguments]
            done = subprocess.run(
                command, input=stdin, capture_output=True, text=True, check=False, timeout=120
            )
            assert done.returncode == 0, done.stderr
            assert "Warning" not in done.stderr, done.stderr
            return done.stdout

        run("create", "namespace", "team-a")
        run("label", "namespace", "team-a", "pod-security.kubernetes.io/enforce=restricted")
        for account in ("default", "nlp"):
            meta = {"name": account, "namespace": "team-a"}
            manifest = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}
            run("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))
        run("create", "priorityclass", "batch", "--value=1")
        yield run


def test_every_child_and_every_pod_is_accepted(kubectl: Any) -> None:
    objects = []
    for name in cases():
        todo = load(name).plan
        for number, manifest in enumerate((*todo.create_once, *todo.apply)):
            child = copy.deepcopy(manifest)
            child["metadata"]["name"] = f"{name}-{number}"[:60]
            objects.append(child)
            if "template" in child.get("spec", {}):
                objects.append(as_pod(child))
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    answer = kubectl("create", "--dry-run=server", "--validate=strict", "-o", "name", "-f", "-", stdin=text)
    assert len(answer.split()) == len(objects)


def as_pod(child: dict[str, Any]) -> dict[str, Any]:
    """The pod that the child would make: Jobs and Deployments are let in whatever their pods ask for."""
    template = child["spec"]["template"]
    meta = {"name": child["metadata"]["name"], "namespace": "team-a", **template["metadata"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}
