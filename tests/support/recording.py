"""The recorder in a thread, and the lives of FineTuneJobs that a gateway of the tests has in memory."""

from __future__ import annotations

import asyncio
import copy
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubetune_gateway.archive.store import Archive
from kubetune_gateway.files.store import FileStore
from kubetune_gateway.ids import job_id
from kubetune_gateway.recorder.feed import Change
from kubetune_gateway.recorder.recorder import Pace, Periodic, Recorder
from kubetune_gateway.store.bucket import Bucket, s3_client
from kubetune_gateway.telemetry import Telemetry
from kubetune_gateway.webhooks.deliveries import Deliveries, Pauses
from kubetune_gateway.webhooks.endpoint import Endpoint
from tests.support import http_server
from tests.support.golden_jobs import golden
from tests.support.openai_gateway import PLACES, MemoryJobs
from tests.support.s3_server import KEY, REGION, SECRET, S3Server

PACE = Pace(steps=0.05, sweep=0.2, again=0.05)
NOWHERE = "http://127.0.0.1:9"
"""Nobody answers on the port of discard."""


class Changes:
    """What changes in a list of objects, as a watch would tell it: the list is compared again and again."""

    def __init__(self, jobs: MemoryJobs) -> None:
        self._jobs = jobs
        self._known = self._now()
        self._heard: list[Callable[[Change, Mapping[str, Any]], None]] = []

    def subscribe(self, tell: Callable[[Change, Mapping[str, Any]], None]) -> Callable[[], None]:
        self._heard.append(tell)
        for raw in self._known.values():
            tell("ADDED", raw)
        return lambda: self._heard.remove(tell)

    async def look(self) -> None:
        while True:
            now = self._now()
            for uid in self._known | now:
                if uid not in now:
                    self._tell("DELETED", self._known[uid])
                elif uid not in self._known:
                    self._tell("ADDED", now[uid])
                elif now[uid] is not self._known[uid]:
                    self._tell("MODIFIED", now[uid])
            self._known = now
            await asyncio.sleep(0.02)

    def _now(self) -> dict[str, dict[str, Any]]:
        return {raw["metadata"]["uid"]: raw for raw in list(self._jobs.objects)}

    def _tell(self, change: Change, raw: Mapping[str, Any]) -> None:
        for tell in list(self._heard):
            tell(change, raw)


@contextmanager
def recording(
    s3: S3Server,
    jobs: MemoryJobs,
    *,
    address: str = NOWHERE,
    endpoints: Sequence[Endpoint] = (),
    pauses: Pauses = Pauses(least=0.05, most=0.1),  # noqa: B008 - it is frozen
    telemetry: Telemetry | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    periodic: Sequence[Periodic] = (),
) -> Iterator[None]:
    """Record while the block runs. At its end all is dropped where it is, as in a crash."""
    loops: list[asyncio.AbstractEventLoop] = []
    ready = threading.Event()

    async def record() -> None:
        async with s3_client(endpoint=s3.url, region=REGION, key=KEY, secret=SECRET) as client:
            bucket, feed = Bucket(client, PLACES.bucket), Changes(jobs)
            recorder = Recorder(
                feed=feed,
                jobs=jobs,
                archive=Archive(bucket, PLACES),
                files=FileStore(bucket, PLACES),
                deliveries=Deliveries(
                    endpoints, bucket, PLACES, telemetry or Telemetry(), now=now, pauses=pauses
                ),
                now=now,
                periodic=periodic,
                pace=PACE,
                address=lambda raw: address,
            )
            loops.append(asyncio.get_running_loop())
            tasks = [asyncio.ensure_future(recorder.run()), asyncio.ensure_future(feed.look())]
            stopping.append(tasks[0])
            ready.set()
            try:
                await tasks[0]
            except asyncio.CancelledError:
                pass
            finally:
                tasks[1].cancel()

    stopping: list[asyncio.Future[None]] = []
    thread = threading.Thread(target=lambda: asyncio.run(record()))
    thread.start()
    assert ready.wait(60)
    try:
        yield
    finally:
        loops[0].call_soon_threadsafe(stopping[0].cancel)
        thread.join()


@dataclass(slots=True)
class Told:
    """What rank 0 tells."""

    url: str = ""
    steps: dict[int, dict[str, Any]] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    """After which steps it was asked, the latest last."""
    most: int = 1000

    def add(self, step: int, **metrics: float) -> None:
        """Measure one, or more of one."""
        known = self.steps.get(step, {"step": step, "time": 1772366000.0 + step})
        self.steps[step] = {**known, **metrics}


@contextmanager
def rank0() -> Iterator[Told]:
    """Answer as rank 0 of a training does."""
    told = Told()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            after = int(parse_qs(asked.query)["after"][0])
            told.asked.append(after)
            found = [told.steps[step] for step in sorted(told.steps) if step > after][: told.most]
            body = "".join(json.dumps(one) + "\n" for one in found).encode()
            self.send_response(200 if asked.path == "/steps" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http_server.serving(Handler) as url:
        told.url = url
        yield told


class Life:
    """One job of team-a, and what becomes of it."""

    def __init__(self, jobs: MemoryJobs, name: str) -> None:
        self._jobs = jobs
        self.uid = str(uuid.uuid4())
        self.id = job_id(self.uid)
        self.becomes(name)

    def becomes(self, name: str, **status: Any) -> None:
        raw = copy.deepcopy(golden(name))
        raw["metadata"] |= {"uid": self.uid, "namespace": "team-a", "name": f"job-{self.uid[:8]}"}
        self.write({**raw, "status": raw["status"] | status})

    def write(self, raw: Mapping[str, Any]) -> None:
        self._jobs.objects = [*self._others(), dict(raw)]

    def goes(self) -> None:
        self._jobs.objects = self._others()

    @property
    def is_there(self) -> bool:
        return len(self._jobs.objects) > len(self._others())

    def _others(self) -> list[dict[str, Any]]:
        return [raw for raw in self._jobs.objects if raw["metadata"]["uid"] != self.uid]


def until(found: Callable[[], Any]) -> Any:
    """What is there within a minute."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.05)
    raise AssertionError("not within a minute")


def kept(s3: S3Server, job: Life) -> Any:
    """What the recorder has written of a job; it is there within a minute."""
    path = s3.folder / PLACES.bucket / PLACES.job_record("team-a", job.uid)
    until(path.exists)
    return json.loads(path.read_bytes())
