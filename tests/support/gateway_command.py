"""The gateway of this checkout as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.ports import free_ports
from tests.support.operator_process import health


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayProcess:
    """A running gateway."""

    process: subprocess.Popen[bytes]
    url: str
    """Base URL of the API."""
    health_url: str
    log: Path

    def ready(self) -> bool:
        """Whether it says that it is ready; fails when it has ended."""
        assert self.process.poll() is None, self.log.read_text()
        return health(f"{self.health_url}/readyz") == (200, "ok")


@contextmanager
def gateway_process(
    kubeconfig: Path, environment: Mapping[str, str], *, log: Path
) -> Iterator[GatewayProcess]:
    """Run ``kubetune-gateway serve`` with settings from ``environment`` while the block runs."""
    port, health_port = free_ports(2)
    variables = {
        **os.environ,
        **environment,
        "KUBETUNE_KUBECONFIG": str(kubeconfig),
        "KUBETUNE_GATEWAY_API_PORT": str(port),
        "KUBETUNE_GATEWAY_METRICS_PORT": str(health_port),
    }
    with log.open("wb") as sink:
        command = [sys.executable, "-m", "kubetune_gateway", "serve"]
        process = subprocess.Popen(command, env=variables, stdout=sink, stderr=sink)
        try:
            yield GatewayProcess(
                process=process,
                url=f"http://127.0.0.1:{port}/v1",
                health_url=f"http://127.0.0.1:{health_port}",
                log=log,
            )
        except BaseException:
            print(log.read_text())
            raise
        finally:
            process.kill()
            process.wait()
