"""The operator of this checkout as a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from dev.cluster.ports import free_ports


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorProcess:
    """A running operator."""

    process: subprocess.Popen[bytes]
    health_url: str
    metrics_url: str

    def ready(self) -> bool:
        """Whether it has listed everything; fails when it has ended."""
        assert self.process.poll() is None, "the operator has ended"
        return health(f"{self.health_url}/readyz") == (200, "ok")

    def leads(self) -> bool:
        """Whether it is the one that acts, by its metric."""
        return "kubetune_leader 1.0" in health(self.metrics_url)[1].splitlines()

    def done(self) -> set[str]:
        """Names of the jobs of which its metrics say that they are done."""
        told = r'^kubetune_job_state\{finetunejob="(.*?)",.*stage="done"\} 1\.0$'
        return set(re.findall(told, health(self.metrics_url)[1], flags=re.MULTILINE))

    def writes(self) -> float:
        """Requests that change something and that it has sent, those for its Lease left out."""
        found = re.findall(
            r'^kubetune_kube_requests_total\{.*resource="(.*)",verb="(.*)"\} (.*)$',
            health(self.metrics_url)[1],
            flags=re.MULTILINE,
        )
        assert found
        reads = ("get", "list")
        return sum(float(count) for kind, verb, count in found if kind != "leases" and verb not in reads)


@contextmanager
def operator_process(
    kubeconfig: Path, environment: Mapping[str, str], *, log: Path
) -> Iterator[OperatorProcess]:
    """Run ``kubetune operator`` with settings from ``environment``; print its log when the block fails."""
    health_port, metrics_port = free_ports(2)
    variables = {
        **os.environ,
        **environment,
        "KUBETUNE_KUBECONFIG": str(kubeconfig),
        "KUBETUNE_HEALTH_PORT": str(health_port),
        "KUBETUNE_METRICS_PORT": str(metrics_port),
    }
    with log.open("wb") as sink:
        command = [sys.executable, "-m", "kubetune", "operator"]
        process = subprocess.Popen(command, env=variables, stdout=sink, stderr=sink)
        try:
            yield OperatorProcess(
                process=process,
                health_url=f"http://127.0.0.1:{health_port}",
                metrics_url=f"http://127.0.0.1:{metrics_port}/metrics",
            )
        except BaseException:
            print(log.read_text())
            raise
        finally:
            process.terminate()
            process.wait(timeout=30)


def health(url: str) -> tuple[int, str]:
    """Status and text of a probe; 0 when nobody answers."""
    try:
        answer = httpx.get(url, trust_env=False)
    except httpx.TransportError as error:
        return 0, str(error)
    return answer.status_code, answer.text
