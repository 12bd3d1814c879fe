"""A real S3 endpoint over a folder, for tests without the cluster."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from dev.cluster import ports, s3

KEY, SECRET, REGION = "kubetune", "kubetune-secret", "us-east-1"
DEADLINE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class S3Server:
    """Where it answers, and its buckets' folder."""

    url: str
    folder: Path


needed = pytest.mark.skipif(not s3.gateway_is_built(), reason="`make cluster` builds the S3 endpoint")
"""On tests that run one."""


@contextmanager
def running(folder: Path, *buckets: str) -> Iterator[S3Server]:
    """Run one with these buckets while the block runs."""
    for bucket in buckets:
        (folder / bucket).mkdir(parents=True, exist_ok=True)
    address = f"127.0.0.1:{ports.free_ports(1)[0]}"
    process = subprocess.Popen(
        [s3.build_gateway(), f"--port={address}", f"--region={REGION}", "--health=/health", "posix", folder],
        env={"ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_it_answers(f"http://{address}/health")
        yield S3Server(f"http://{address}", folder)
    finally:
        process.kill()
        process.wait()


def wait_until_it_answers(url: str) -> None:
    """Return when it does. Raises AssertionError after a minute."""
    end = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < end:
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")
