"""A real API server takes the chart: its objects, its PodMonitors and its pods in a restricted namespace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from dev import shell
from dev.chart import CHART
from dev.cluster.binaries import ensure_binaries
from dev.cluster.control_plane import ControlPlane
from dev.kubectl import Kubectl
from dev.monitor_crd import ensure_pod_monitor_crd
from tests.support import chart

pytestmark = pytest.mark.apiserver

EXISTING = ["team-a", "team-b"]
ACCOUNT = f"system:serviceaccount:{chart.NAMESPACE}:kubetune"


@pytest.fixture(scope="module")
def kubectl() -> Iterator[Kubectl]:
    programs = ensure_binaries()
    with ControlPlane.temporary() as plane:
        run = Kubectl(
            program=programs.program("kubectl"), helm=programs.program("helm"), kubeconfig=plane.kubeconfig
        )
        run("create", "-f", ensure_pod_monitor_crd())
        run("wait", "--for=condition=Established", "crd/podmonitors.monitoring.coreos.com", "--timeout=60s")
        for namespace in [*EXISTING, chart.NAMESPACE]:
            run("create", "namespace", namespace)
        run("label", "namespace", chart.NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
        yield run


@pytest.mark.parametrize("case", chart.CASES)
def test_a_dry_run_of_the_install_is_accepted(kubectl: Kubectl, case: str, tmp_path: Any) -> None:
    out = helm(kubectl, case, tmp_path, "install", "--dry-run=server")
    assert "STATUS: pending-install" in out


def test_an_install_can_be_repeated_and_its_crd_survives_an_uninstall(
    kubectl: Kubectl, tmp_path: Any
) -> None:
    values = "monitoring"
    helm(kubectl, values, tmp_path, "install")
    helm(kubectl, values, tmp_path, "upgrade")
    assert len(kubectl.get("podmonitors", "-n", chart.NAMESPACE)["items"]) == 3
    assert_rights(kubectl, "team-a")

    kubectl.run_helm("uninstall", chart.RELEASE, "-n", chart.NAMESPACE)
    assert kubectl.find("crd", "finetunejobs.kubetune.dev") is not None
    assert kubectl.find("deployment", "kubetune", "-n", chart.NAMESPACE) is None

    helm(kubectl, "namespaced", tmp_path, "install")
    assert_rights(kubectl, "team-a")
    assert not may(kubectl, "create", "jobs.batch", "default")
    kubectl.run_helm("uninstall", chart.RELEASE, "-n", chart.NAMESPACE)


@pytest.mark.parametrize("case", ["default", "openshift"])
def test_its_pods_may_run_in_a_restricted_namespace(kubectl: Kubectl, case: str) -> None:
    objects = chart.render(chart.CASES[case])
    template = chart.of_kind(objects, "Deployment")[0]["spec"]["template"]
    operator = {"apiVersion": "v1", "kind": "Pod", **template}
    operator["metadata"] = {**template["metadata"], "name": "operator", "namespace": chart.NAMESPACE}
    test = chart.of_kind(objects, "Pod")[0]
    for pod in (operator, test):
        # No ServiceAccount exists before the install, and which one it is does not matter here.
        pod["spec"].pop("serviceAccountName")
        kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))


def assert_rights(kubectl: Kubectl, namespace: str) -> None:
    assert may(kubectl, "create", "jobs.batch", namespace)
    assert may(kubectl, "patch", "finetunejobs.kubetune.dev", namespace, subresource="status")
    assert not may(kubectl, "patch", "finetunejobs.kubetune.dev", namespace)
    assert not may(kubectl, "get", "secrets", namespace)


def may(kubectl: Kubectl, verb: str, resource: str, namespace: str, *, subresource: str = "") -> bool:
    extra = [f"--subresource={subresource}"] if subresource else []
    command = ["auth", "can-i", verb, resource, "-n", namespace, "--as", ACCOUNT, *extra]
    return shell.succeeds([kubectl.program, "--kubeconfig", kubectl.kubeconfig, *command])


def helm(kubectl: Kubectl, case: str, tmp_path: Any, command: str, *options: str) -> str:
    values = tmp_path / "values.json"
    values.write_text(json.dumps(chart.CASES[case]))
    return kubectl.run_helm(
        *(command, chart.RELEASE, CHART, "--namespace", chart.NAMESPACE, "--values", values, *options)
    )
