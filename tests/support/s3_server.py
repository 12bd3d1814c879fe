"""A real S3 endpoint over a folder, for tests without the cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from dev.bench import own_s3
from dev.bench.own_s3 import KEY as KEY
from dev.bench.own_s3 import REGION as REGION
from dev.bench.own_s3 import SECRET as SECRET
from dev.cluster import s3

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
    with own_s3.running(folder, *buckets) as url:
        yield S3Server(url, folder)


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
