"""Pods that try whom they reach: a small program in Python that a pod of any image with Python runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from dev.kubectl import Kubectl

Target = tuple[str, str, int]
"""``STREAM`` or ``DGRAM``, an address or name, and a port."""

# Names are asked for with a query of one's own: the C library would ask for seconds until it gives up.
_REACH: Final = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
QUERY = bytes.fromhex("abcd01000001000000000000") + b"".join(
    bytes([len(part)]) + part for part in [b"kubernetes", b"default", b"svc", b"cluster", b"local", b""]
) + bytes([0, 1, 0, 1])
def reaches(target):
    kind, address, port = target
    try:
        with socket.socket(type=getattr(socket, "SOCK_" + kind)) as client:
            client.settimeout(2)
            client.connect((address, port))
            if kind == "DGRAM":
                client.send(QUERY)
                client.recv(1000)
        return True
    except OSError:
        return False
targets = json.loads(sys.argv[1])
with ThreadPoolExecutor(len(targets)) as pool:
    print(json.dumps(dict(zip(targets, pool.map(reaches, targets.values())))))
"""


def reached_by(kubectl: Kubectl, namespace: str, pod: str, targets: Mapping[str, Target]) -> set[str]:
    """Which of the targets, by name, a running pod reaches now."""
    command = ("exec", "-n", namespace, pod, "--", "python3", "-c", _REACH)
    found = json.loads(kubectl(*command, json.dumps(targets)))
    return {name for name, reached in found.items() if reached}


def python_pod(
    namespace: str, name: str, image: str, *, run: str, labels: Mapping[str, str], **container: Any
) -> dict[str, Any]:
    """A pod that runs a program in Python, under the restricted standard."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "python",
                    "image": image,
                    "command": ["python3", "-c", run],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    **container,
                }
            ],
        },
    }


def wait_until_ready(kubectl: Kubectl, namespace: str, *pods: str) -> None:
    """Wait for pods."""
    kubectl(
        *("wait", "--for=condition=Ready", "-n", namespace, "--timeout=300s"), *(f"pod/{pod}" for pod in pods)
    )
