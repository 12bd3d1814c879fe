"""A real API server takes the chart, and the operator works with the chart's rights and settings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev import shell
from dev.chart import CHART
from dev.cluster.binaries import KUBERNETES_VERSION, ensure_binaries
from dev.cluster.control_plane import ControlPlane
from dev.cluster.waiting import wait_for
from dev.kubectl import Kubectl, condition
from dev.monitor_crd import PLURALS, ensure_monitor_crds
from tests.support import chart
from tests.support.operator_process import OperatorProcess, operator_process

pytestmark = pytest.mark.apiserver

EXISTING = ["team-a", "team-b"]
ACCOUNT = f"system:serviceaccount:{chart.NAMESPACE}:kubetune"


JOB: dict[str, Any] = {
    "apiVersion": "kubetune.dev/v1alpha1",
    "kind": "FineTuneJob",
    "metadata": {"name": "rights", "namespace": "team-a"},
    "spec": {
        "model": {"uri": "pvc://models/tiny"},
        "dataset": {"train": {"uri": "pvc://datasets/train.jsonl"}},
        "training": {"gpusPerNode": 0},
    },
}


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane.temporary() as started:
        yield started


def _are_established(run: Kubectl) -> bool:
    definitions = [run.get("crd", f"{plural}.monitoring.coreos.com") for plural in PLURALS]
    return all(condition(each, "Established").get("status") == "True" for each in definitions)


@pytest.fixture(scope="module")
def kubectl(plane: ControlPlane) -> Kubectl:
    programs = ensure_binaries()
    run = Kubectl(
        program=programs.program("kubectl"), helm=programs.program("helm"), kubeconfig=plane.kubeconfig
    )
    for crd in ensure_monitor_crds():
        run("create", "-f", crd)
    # Not kubectl wait: it fails on a definition that has no conditions yet.
    wait_for("the CRDs of monitors", lambda: _are_established(run), seconds=60)
    for namespace in [*EXISTING, chart.NAMESPACE]:
        run("create", "namespace", namespace)
    run("label", "namespace", chart.NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    return run


@pytest.mark.parametrize("case", chart.CASES)
def test_a_dry_run_of_the_install_is_accepted(kubectl: Kubectl, case: str, tmp_path: Path) -> None:
    out = helm(kubectl, case, tmp_path, "install", "--dry-run=server")
    assert "STATUS: pending-install" in out


def test_an_install_can_be_repeated_and_its_crd_survives_an_uninstall(
    kubectl: Kubectl, tmp_path: Path
) -> None:
    values = "monitoring"
    helm(kubectl, values, tmp_path, "install")
    helm(kubectl, values, tmp_path, "upgrade")
    assert len(kubectl.get("podmonitors", "-n", chart.NAMESPACE)["items"]) == 3
    [rules] = kubectl.get("prometheusrules", "-n", chart.NAMESPACE)["items"]
    # Nothing is dropped that the Prometheus Operator does not know.
    [rendered] = chart.of_kind(chart.render(chart.CASES[values]), "PrometheusRule")
    assert rules["spec"] == rendered["spec"]
    assert_rights(kubectl, "team-a")

    kubectl.run_helm("uninstall", chart.RELEASE, "-n", chart.NAMESPACE)
    assert kubectl.find("crd", "finetunejobs.kubetune.dev") is not None
    assert kubectl.find("deployment", "kubetune", "-n", chart.NAMESPACE) is None

    helm(kubectl, "namespaced", tmp_path, "install")
    assert_rights(kubectl, "team-a")
    assert not may(kubectl, "create", "jobs.batch", "default")
    kubectl.run_helm("uninstall", chart.RELEASE, "-n", chart.NAMESPACE)


def test_helm_itself_says_which_value_was_meant(kubectl: Kubectl) -> None:
    wrong = ("--set", "settings.traineImage.tag=t1,replica=2")
    place = (chart.RELEASE, CHART, "-n", chart.NAMESPACE)
    for verb in (("install",), ("upgrade", "--install"), ("template", "--kube-version", KUBERNETES_VERSION)):
        with pytest.raises(shell.CommandError) as refused:
            kubectl.run_helm(*verb, *place, *wrong)
        assert re.findall("values: (.*)", str(refused.value)) == [
            "replica is not a value of this chart; did you mean replicas?",
            "settings.traineImage is not a value of this chart; did you mean settings.trainerImage?",
        ]
    assert kubectl.find("serviceaccount", chart.RELEASE, "-n", chart.NAMESPACE) is None


@pytest.mark.parametrize("case", ["default", "openshift", "extras"])
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


@pytest.mark.parametrize("case", ["default", "namespaced"])
def test_the_operator_works_with_the_rights_and_settings_of_the_chart(
    plane: ControlPlane, kubectl: Kubectl, case: str, tmp_path: Path
) -> None:
    helm(kubectl, case, tmp_path, "upgrade", "--install")
    before = len(plane.audit_log.read_text().splitlines())
    with running_operator(kubectl, case, tmp_path):
        kubectl.apply(JOB)
        for what in ("job", "configmap", "service", "persistentvolumeclaim"):
            wait_for(f"the job's {what}", lambda what=what: has_child(kubectl, what), seconds=60)
        wait_for("an Event", lambda: has_event(kubectl), seconds=60)
        status = kubectl.get("finetunejob", "rights", "-n", "team-a")["status"]
        assert status["observedGeneration"] == 1
        kubectl("delete", "finetunejob", "rights", "-n", "team-a")
    lines = plane.audit_log.read_text().splitlines()[before:]
    entries = [json.loads(line) for line in lines]
    mine = [entry for entry in entries if entry["user"]["username"] == ACCOUNT]
    assert mine
    assert [e["requestURI"] for e in mine if e.get("responseStatus", {}).get("code") == 403] == []


@contextmanager
def running_operator(kubectl: Kubectl, case: str, tmp_path: Path) -> Iterator[OperatorProcess]:
    """Run the operator of this checkout as the chart's account, with the chart's settings."""
    token = kubectl("create", "token", "kubetune", "-n", chart.NAMESPACE).strip()
    config = yaml.safe_load(kubectl.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(config))
    variables = chart.variables(chart.CASES[case])
    with operator_process(kubeconfig, variables, log=tmp_path / "operator.log") as operator:
        wait_for("the operator to be ready", operator.ready, seconds=60)
        yield operator


def test_a_namespace_that_takes_its_rights_back_does_not_stop_the_others(
    kubectl: Kubectl, tmp_path: Path
) -> None:
    helm(kubectl, "namespaced", tmp_path, "upgrade", "--install")
    kubectl("delete", "rolebinding", "--all", "-n", "team-b")
    with running_operator(kubectl, "namespaced", tmp_path):
        kubectl.apply(JOB)
        wait_for("the job's children", lambda: has_child(kubectl, "job"), seconds=60)
        kubectl("delete", "finetunejob", "rights", "-n", "team-a")


def test_an_operator_that_loses_its_rights_for_a_while_goes_on_when_it_has_them_again(
    kubectl: Kubectl, tmp_path: Path
) -> None:
    # Without values of their own, Helm takes those of the release before.
    helm(kubectl, "default", tmp_path, "upgrade", "--install", "--reset-values")
    bindings = kubectl.get("clusterrolebinding", "-l", "app.kubernetes.io/name=kubetune")
    with running_operator(kubectl, "default", tmp_path) as operator:
        for binding in bindings["items"]:
            kubectl("delete", "clusterrolebinding", binding["metadata"]["name"])
        denied = "is forbidden"
        kubectl.apply(JOB)
        wait_for("a refusal", lambda: denied in (tmp_path / "operator.log").read_text(), seconds=60)
        kubectl.apply(*map(without_history, bindings["items"]))
        wait_for("the job's children", lambda: has_child(kubectl, "job"), seconds=120)
        assert operator.ready()
        kubectl("delete", "finetunejob", "rights", "-n", "team-a")


def without_history(raw: dict[str, Any]) -> dict[str, Any]:
    """An object as it can be created again."""
    meta = {key: raw["metadata"][key] for key in ("name", "labels")}
    return {**raw, "metadata": meta}


def has_child(kubectl: Kubectl, what: str) -> bool:
    return bool(kubectl.get(what, "-n", "team-a", "-l", "kubetune.dev/finetunejob=rights")["items"])


def has_event(kubectl: Kubectl) -> bool:
    return bool(
        kubectl.get("events", "-n", "team-a", "--field-selector=involvedObject.kind=FineTuneJob")["items"]
    )


def assert_rights(kubectl: Kubectl, namespace: str) -> None:
    assert may(kubectl, "create", "jobs.batch", namespace)
    assert may(kubectl, "patch", "finetunejobs.kubetune.dev", namespace, subresource="status")
    assert not may(kubectl, "patch", "finetunejobs.kubetune.dev", namespace)
    assert not may(kubectl, "get", "secrets", namespace)


def may(kubectl: Kubectl, verb: str, resource: str, namespace: str, *, subresource: str = "") -> bool:
    extra = [f"--subresource={subresource}"] if subresource else []
    command = ["auth", "can-i", verb, resource, "-n", namespace, "--as", ACCOUNT, *extra]
    return shell.succeeds([kubectl.program, "--kubeconfig", kubectl.kubeconfig, *command])


def helm(kubectl: Kubectl, case: str, tmp_path: Path, command: str, *options: str) -> str:
    values = tmp_path / "values.json"
    values.write_text(json.dumps(chart.CASES[case]))
    return kubectl.run_helm(
        *(command, chart.RELEASE, CHART, "--namespace", chart.NAMESPACE, "--values", values, *options)
    )
