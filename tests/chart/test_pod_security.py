"""Every pod of the chart passes the restricted pod security standard, with a root that cannot be written."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import chart


@pytest.mark.parametrize("case", chart.CASES)
def test_pods_are_restricted(case: str) -> None:
    pods = pod_specs(chart.render(chart.CASES[case]))
    assert len(pods) == (3 if "gateway" in chart.CASES[case] else 2)
    for pod in pods:
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        assert all(volume.keys() <= {"name", "emptyDir", "projected"} for volume in pod.get("volumes", []))
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


def test_the_user_is_numeric_or_left_to_the_platform() -> None:
    for pod in pod_specs(chart.render()):
        assert pod["securityContext"]["runAsUser"] == 1000
    for pod in pod_specs(chart.render(chart.CASES["openshift"])):
        assert "runAsUser" not in pod["securityContext"]


def pod_specs(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    deployments = [item["spec"]["template"]["spec"] for item in chart.of_kind(objects, "Deployment")]
    return deployments + [item["spec"] for item in chart.of_kind(objects, "Pod")]
