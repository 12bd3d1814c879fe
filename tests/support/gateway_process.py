"""The gateway in a process of its own, which can be killed and measured, with the means of openai_gateway."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from dev.cluster import ports
from dev.paths import REPOSITORY
from kubetune_gateway.app import app
from kubetune_gateway.chat.upstream import sessions
from kubetune_gateway.store.bucket import s3_client
from tests.support.openai_gateway import means
from tests.support.s3_server import KEY, REGION, SECRET, S3Server, wait_until_it_answers


@dataclass(frozen=True, slots=True)
class GatewayProcess:
    """Where it answers, and the process."""

    url: str
    process: subprocess.Popen[bytes]

    def peak_bytes(self) -> int:
        """The most memory that it has had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024

    def kill(self) -> None:
        """End it as a node that fails does."""
        self.process.kill()
        self.process.wait()


@contextmanager
def running(s3: S3Server) -> Iterator[GatewayProcess]:
    """Run one while the block runs."""
    port = ports.free_ports(1)[0]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.gateway_process", s3.url, str(port)], cwd=REPOSITORY
    )
    found = GatewayProcess(f"http://127.0.0.1:{port}/v1", process)
    try:
        wait_until_it_answers(f"{found.url}/openapi.json")
        yield found
    finally:
        found.kill()


async def _serve(s3: str, port: int) -> None:
    async with (
        s3_client(endpoint=s3, region=REGION, key=KEY, secret=SECRET) as client,
        sessions() as session,
    ):
        config = uvicorn.Config(app(means(client, session)), host="127.0.0.1", port=port, log_level="warning")
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2])))
