"""An S3 endpoint by itself, over a folder."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dev.bench.waiting import until_it_answers
from dev.cluster import s3
from dev.cluster.ports import free_ports

KEY: Final = "kubetune"
SECRET: Final = "kubetune-secret"
REGION: Final = "us-east-1"


@contextmanager
def s3_endpoint(bucket: str) -> Iterator[str]:
    """Run one with this bucket while the block runs, over a folder that then goes; yields its URL."""
    with tempfile.TemporaryDirectory(prefix="kubetune-bench-") as made, running(Path(made), bucket) as url:
        yield url


@contextmanager
def running(folder: Path, *buckets: str) -> Iterator[str]:
    """Run one with these buckets while the block runs; yields its URL."""
    for bucket in buckets:
        (folder / bucket).mkdir(parents=True, exist_ok=True)
    address = f"127.0.0.1:{free_ports(1)[0]}"
    process = subprocess.Popen(
        [s3.build_gateway(), f"--port={address}", f"--region={REGION}", "--health=/health", "posix", folder],
        env={"ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until_it_answers(process, f"http://{address}/health")
        yield f"http://{address}"
    finally:
        process.kill()
        process.wait()
