"""The gateway's application in a process of its own, with FineTuneJobs in memory: what it costs itself.

``python -m dev.bench.gateway_process`` with the variables below.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import uvicorn
import uvloop

from dev.bench.own_s3 import KEY, REGION, SECRET
from kubetune.vocabulary.times import rfc3339
from kubetune_gateway.app import app
from kubetune_gateway.archive.store import Archive
from kubetune_gateway.chat.upstream import Upstream, sessions
from kubetune_gateway.completions.store import Completions
from kubetune_gateway.contracts import Caller, Means, Resource, Verb
from kubetune_gateway.files.store import FileStore
from kubetune_gateway.jobs.manifest import manifest
from kubetune_gateway.limits.kinds import Limits
from kubetune_gateway.platform import Base, Platform
from kubetune_gateway.process.main import collect_rarely
from kubetune_gateway.store.bucket import Bucket, s3_client
from kubetune_gateway.store.places import Places
from kubetune_gateway.telemetry import Telemetry
from kubetune_gateway.uploads.store import UploadStore
from kubetune_gateway.wire.jobs import CreateJob

PORT: Final = "KUBETUNE_BENCH_PORT"
S3: Final = "KUBETUNE_BENCH_S3"
JOBS: Final = "KUBETUNE_BENCH_JOBS"
"""How many there are."""
SERVER: Final = "KUBETUNE_BENCH_SERVER"
"""Base URL of a server that answers as the model."""
BUCKET: Final = "clients"
NAMESPACE: Final = "team-a"
MODEL: Final = "gpt-4o-mini"
_SPEC: Final = {"training": {"gpusPerNode": 1}, "serving": {}}
_FIRST: Final = datetime(2026, 1, 1, tzinfo=UTC)


class _Anybody:
    """Everybody is of one namespace."""

    async def identify(self, headers: Mapping[str, str]) -> Caller:
        return Caller(user="bench", namespace=NAMESPACE)


class _Anything:
    """And may do everything."""

    async def require(self, caller: Caller, verb: Verb, resource: Resource) -> None:
        pass


@dataclass(frozen=True, slots=True)
class _Jobs:
    """FineTuneJobs as a watch would have left them in memory."""

    objects: Sequence[Mapping[str, Any]]

    async def list(self, namespace: str) -> Sequence[Mapping[str, Any]]:
        return self.objects

    async def get(self, namespace: str, uid: str) -> Mapping[str, Any] | None:
        return next((raw for raw in self.objects if raw["metadata"]["uid"] == uid), None)

    async def create(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        raise NotImplementedError

    async def patch(
        self, namespace: str, name: str, *, uid: str, patch: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        raise NotImplementedError

    async def delete(self, namespace: str, name: str, *, uid: str) -> None:
        raise NotImplementedError


def finished_job(number: int, platform: Platform) -> dict[str, Any]:
    """A FineTuneJob that came over the API and is done."""
    asked = CreateJob(model=MODEL, training_file=f"file-{number:026}", suffix="triage", metadata={"n": "1"})
    made = manifest(asked, platform, namespace=NAMESPACE, token=f"{number:06x}", examples=500, seed=number)
    created = rfc3339(_FIRST + timedelta(minutes=number))
    ended = {"lastTransitionTime": created, "observedGeneration": 1}
    conditions = [
        {"type": kind, "status": status, "reason": "Serving", "message": "It answers.", **ended}
        for kind, status in {
            "Prepared": "True",
            "Trained": "True",
            "Ready": "True",
            "Stalled": "False",
        }.items()
    ]
    status = {
        "observedGeneration": 1,
        "stage": "done",
        "conditions": conditions,
        "attempts": [{"number": 1, "podsReady": created, "toStep": 375, "endTime": created}],
        "progress": {"step": 375, "totalSteps": 375, "trainedTokens": 1_500_000, "trainLoss": "0.41"},
    }
    uid = f"00000000-0000-4000-8000-{number:012x}"
    about = {**made["metadata"], "uid": uid, "creationTimestamp": created, "generation": 1}
    return {**made, "metadata": about, "status": status}


async def serve() -> None:
    """Answer until SIGTERM."""
    places = Places(BUCKET)
    base = Base(uri="hf://Qwen/Qwen3-8B", url=os.environ.get(SERVER))
    platform = Platform(models={MODEL: base}, places=places, spec=_SPEC)
    jobs = _Jobs([finished_job(number, platform) for number in range(int(os.environ[JOBS]))])
    telemetry = Telemetry()
    async with (
        s3_client(endpoint=os.environ[S3], region=REGION, key=KEY, secret=SECRET) as client,
        sessions() as session,
    ):
        bucket = Bucket(client, BUCKET)
        often = 10**6  # all requests are one caller's
        limits = Limits(
            requests_per_minute=often, burst=often, chat_requests_per_minute=often, chat_burst=often
        )
        files = FileStore(bucket, places)
        means = Means(
            callers=_Anybody(),
            access=_Anything(),
            jobs=jobs,
            bucket=bucket,
            files=files,
            completions=Completions(bucket, places),
            archive=Archive(bucket, places),
            uploads=UploadStore(bucket, places, files, part_bytes=limits.part_bytes),
            upstream=Upstream(session, telemetry),
            platform=platform,
            telemetry=telemetry,
            now=lambda: datetime.now(UTC),
            random=secrets.token_bytes,
            limits=limits,
        )
        config = uvicorn.Config(
            app(means), host="127.0.0.1", port=int(os.environ[PORT]), log_level="warning", access_log=False
        )
        await uvicorn.Server(config).serve()


def main() -> int:
    """Run as the gateway's own process does."""
    collect_rarely()
    uvloop.run(serve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
