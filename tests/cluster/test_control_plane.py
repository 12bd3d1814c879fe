"""A control plane of its own for a test: it starts, fails on demand, and leaves nothing."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev import shell
from dev.cluster import processes
from dev.cluster.control_plane import ControlPlane

pytestmark = pytest.mark.apiserver


@pytest.fixture(scope="module")
def control_plane() -> Iterator[ControlPlane]:
    with ControlPlane.temporary() as started:
        yield started


def kubectl(control_plane: ControlPlane, *arguments: str) -> list[str | Path]:
    program = control_plane.instance.binaries.program("kubectl")
    return [program, "--kubeconfig", control_plane.kubeconfig, *arguments]


def test_it_answers_its_administrator(control_plane: ControlPlane) -> None:
    assert "kube-system" in shell.output(kubectl(control_plane, "get", "namespaces"))


def test_its_controllers_work(control_plane: ControlPlane) -> None:
    shell.output(kubectl(control_plane, "create", "namespace", "made"))

    # The controller manager makes it in every namespace.
    shell.output(
        kubectl(
            control_plane, "wait", "--for=create", "serviceaccount/default", "-n", "made", "--timeout=300s"
        )
    )


def test_writes_are_in_the_audit_log(control_plane: ControlPlane) -> None:
    shell.output(kubectl(control_plane, "create", "configmap", "audited"))

    lines = control_plane.audit_log.read_text().splitlines()
    assert any('"verb":"create"' in line and '"name":"audited"' in line for line in lines)


def test_the_api_server_goes_and_comes_back_with_what_it_knew(control_plane: ControlPlane) -> None:
    shell.output(kubectl(control_plane, "create", "configmap", "kept"))

    control_plane.stop_apiserver()
    assert not shell.succeeds(kubectl(control_plane, "get", "configmap", "kept"))

    control_plane.start_apiserver()
    assert shell.succeeds(kubectl(control_plane, "get", "configmap", "kept"))


def test_requests_hang_while_etcd_is_paused(control_plane: ControlPlane) -> None:
    with control_plane.paused_etcd(), pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(kubectl(control_plane, "create", "configmap", "late"), timeout=3, check=False)

    assert shell.succeeds(kubectl(control_plane, "get", "configmaps"))


def test_two_run_side_by_side_and_leave_nothing(control_plane: ControlPlane) -> None:
    with ControlPlane.temporary() as other:
        root = other.instance.root
        assert other.url != control_plane.url
        assert shell.succeeds(kubectl(other, "get", "namespaces"))

    assert not root.exists()
    assert list(processes.marked(root)) == []
