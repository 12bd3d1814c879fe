"""What the gateway adds to what is behind it: to streams, to lists of many jobs, to uploads."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from dev.bench import gateway_process, streaming
from dev.bench.figures import Figure, median, percentile, spread
from dev.bench.gateway_process import BUCKET, MODEL
from dev.bench.machine import cpu_seconds, memory_mib
from dev.bench.own_s3 import KEY, REGION, SECRET, s3_endpoint
from dev.bench.streaming import STREAMS, Arrival
from dev.bench.waiting import until_it_answers
from dev.cluster.ports import free_ports
from dev.progress import step
from kubetune_gateway.store.bucket import Bucket, s3_client

PART: Final = "gateway"
OVERHEAD_P50: Final = 5
OVERHEAD_P95: Final = 15
"""Milliseconds on a stream."""
LIST_MILLISECONDS: Final = 150
UPLOAD_RATIO: Final = 0.8
_ROUNDS: Final = 5
"""Answers of each stream before the other side has its turn."""
_LISTS: Final = 50
_MEGABYTES: Final = 512
_ROW: Final = b'{"messages": [{"role": "user", "content": "%s"}]}\n' % (b"word " * 180)


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway that runs."""

    url: str
    pid: int


@contextmanager
def running(*, s3: str, jobs: int = 0, server: str = "") -> Iterator[Running]:
    """Run one in a process of its own while the block runs; ``server`` answers as the model."""
    port = free_ports(1)[0]
    told = {
        gateway_process.PORT: str(port),
        gateway_process.S3: s3,
        gateway_process.JOBS: str(jobs),
        gateway_process.SERVER: server,
    }
    process = subprocess.Popen([sys.executable, "-m", gateway_process.__name__], env={**os.environ, **told})
    try:
        url = f"http://127.0.0.1:{port}/v1"
        until_it_answers(process, f"{url}/files")
        yield Running(url, process.pid)
    finally:
        process.terminate()
        process.wait()


def measure(*, jobs: int, repeats: int) -> list[Figure]:
    """Measure each by itself."""
    with s3_endpoint(BUCKET) as s3:
        with step(f"Ask by {STREAMS} streams, with and without the gateway"):
            streams = _of_streams(s3, repeats)
        with step(f"List {jobs} jobs"), running(jobs=jobs, s3=s3) as gateway:
            lists = _of_lists(gateway, jobs)
        with step(f"Upload {_MEGABYTES} MB, and put the same beside"):
            uploads = asyncio.run(_of_uploads(s3, repeats))
    return [*streams, *lists, *uploads]


def _of_streams(s3: str, repeats: int) -> list[Figure]:
    """In turn: the server itself, and through the gateway."""
    direct: list[Arrival] = []
    through: list[Arrival] = []
    with _server() as server, running(s3=s3, server=server) as gateway:
        asyncio.run(streaming.ask(gateway.url, model=MODEL, rounds=1))  # connections are made
        before = cpu_seconds(gateway.pid)
        for _ in range(repeats):
            direct += asyncio.run(streaming.ask(server, model=MODEL, rounds=_ROUNDS))
            through += asyncio.run(streaming.ask(gateway.url, model=MODEL, rounds=_ROUNDS))
        busy = cpu_seconds(gateway.pid) - before

    def added(name: str, of: Callable[[Arrival], float]) -> Iterator[Figure]:
        for share, bar in ((0.5, OVERHEAD_P50), (0.95, OVERHEAD_P95)):
            alone, ours = (percentile([of(a) for a in each], share) for each in (direct, through))
            said = f"{1000 * ours:.1f} ms, without it {1000 * alone:.1f}"
            yield _milliseconds(f"added {name}, p{share * 100:g}", ours - alone, bar=bar, note=said)

    return [
        *added("to the first token", lambda arrival: arrival.first),
        *added("to the whole answer", lambda arrival: arrival.whole),
        _milliseconds("- the gateway's processor time for an answer", busy / len(through)),
    ]


@contextmanager
def _server() -> Iterator[str]:
    """Run what streams in a process of its own, and return its URL."""
    port = free_ports(1)[0]
    process = subprocess.Popen([sys.executable, "-m", streaming.__name__, str(port)])
    try:
        until_it_answers(process, f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


def _of_lists(gateway: Running, jobs: int) -> list[Figure]:
    first = _seconds_of_lists(gateway, {"limit": "20"})
    whole = _seconds_of_lists(gateway, {"limit": "100", "after": _page(gateway, {"limit": "500"})["last_id"]})
    return [
        _milliseconds(f"the first 20 of {jobs} jobs, p95", percentile(first, 0.95), bar=LIST_MILLISECONDS),
        _milliseconds("- p50", percentile(first, 0.5)),
        _milliseconds("100 after the 500th, p95", percentile(whole, 0.95), bar=LIST_MILLISECONDS),
        _milliseconds("- p50", percentile(whole, 0.5)),
    ]


def _seconds_of_lists(gateway: Running, query: dict[str, Any]) -> list[float]:
    found = []
    with httpx.Client(trust_env=False) as client:
        for _ in range(_LISTS):
            start = time.perf_counter()
            client.get(f"{gateway.url}/fine_tuning/jobs", params=query).raise_for_status()
            found.append(time.perf_counter() - start)
    return found


def _page(gateway: Running, query: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{gateway.url}/fine_tuning/jobs", params=query, trust_env=False).json()
    return found


async def _of_uploads(s3: str, repeats: int) -> list[Figure]:
    """In turn: a client's upload, S3's own put, and the parts that the gateway makes without a gateway."""
    ours, puts, parts, peaks, busy = [], [], [], [], []
    with tempfile.TemporaryDirectory(prefix="kubetune-bench-") as folder:
        path = Path(folder) / "rows.jsonl"
        _write(path)
        size = path.stat().st_size / 1e6
        async with s3_client(endpoint=s3, region=REGION, key=KEY, secret=SECRET) as client:
            bucket = Bucket(client, BUCKET)
            for _ in range(repeats):
                with running(s3=s3) as gateway:
                    before = cpu_seconds(gateway.pid)
                    ours.append(size / await asyncio.to_thread(_upload, gateway, path))
                    busy.append(cpu_seconds(gateway.pid) - before)
                    peaks.append(memory_mib(gateway.pid, "VmHWM"))
                start = time.perf_counter()
                with path.open("rb") as body:
                    await client.put_object(Bucket=BUCKET, Key="put", Body=body)
                puts.append(size / (time.perf_counter() - start))
                start = time.perf_counter()
                await bucket.upload("parts", _chunks(path))
                parts.append(size / (time.perf_counter() - start))
                await bucket.delete("put", "parts")
    ratios = [one / other for one, other in zip(ours, puts, strict=True)]
    return [
        Figure(
            part=PART,
            name=f"upload of {size:.0f} MB, times S3's own put",
            value=median(ratios),
            unit="times",
            bar=UPLOAD_RATIO,
            at_least=True,
            note=spread(ratios),
        ),
        _figure("- through the gateway", ours, "MB/s"),
        _figure("- S3's own put", puts, "MB/s"),
        _figure("- the gateway's parts, without it", parts, "MB/s"),
        _figure("- the gateway's processor time", busy, "s"),
        _figure("- its memory at its highest", peaks, "MiB"),
    ]


def _upload(gateway: Running, path: Path) -> float:
    with path.open("rb") as body, httpx.Client(trust_env=False, timeout=600) as client:
        start = time.perf_counter()
        told = {"purpose": "fine-tune"}
        client.post(f"{gateway.url}/files", files={"file": body}, data=told).raise_for_status()
        return time.perf_counter() - start


def _write(path: Path) -> None:
    rows = _ROW * (2**20 // len(_ROW))
    with path.open("wb") as file:
        for _ in range(_MEGABYTES):
            file.write(rows)


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            yield chunk


def _figure(name: str, values: list[float], unit: str) -> Figure:
    return Figure(part=PART, name=name, value=median(values), unit=unit, note=spread(values))


def _milliseconds(name: str, seconds: float, *, bar: float | None = None, note: str = "") -> Figure:
    return Figure(part=PART, name=name, value=1000 * seconds, unit="ms", bar=bar, note=note)
