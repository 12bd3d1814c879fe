"""/fine_tuning/jobs: made, listed, looked at and cancelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from ..contracts import Caller, Means
from ..ids import uid_of
from ..jobs.events import events
from ..jobs.manifest import manifest
from ..jobs.record import record
from ..wire.errors import not_found
from ..wire.events import Event
from ..wire.jobs import MAX_SEED, CreateJob, FineTuningJob
from ..wire.pages import Page, page
from .document import answers, asks
from .requests import Needs, json_body, may

router = APIRouter(prefix="/fine_tuning/jobs")

Reader = Annotated[Caller, may("get", "finetunejobs")]
Lister = Annotated[Caller, may("list", "finetunejobs")]
Writer = Annotated[Caller, may("create", "finetunejobs")]
Limit = Annotated[int, Query(ge=0, le=1000)]


@router.post("", openapi_extra=asks(CreateJob), responses=answers(FineTuningJob))
async def create(request: Request, means: Needs, who: Writer) -> dict[str, Any]:
    """Make a job of a file that was uploaded."""
    asked = await json_body(request, CreateJob)
    kept = await means.files.get(who.namespace, asked.training_file, now=means.now())
    if asked.validation_file:
        await means.files.get(who.namespace, asked.validation_file, now=means.now())
    wanted = manifest(
        asked,
        means.platform,
        namespace=who.namespace,
        token=means.random(3).hex(),
        examples=kept.lines,
        seed=int.from_bytes(means.random(4)) % (MAX_SEED + 1),
    )
    return record(await means.jobs.create(wanted)).model_dump(mode="json")


@router.get("", responses=answers(Page[FineTuningJob]))
async def listing(
    request: Request, means: Needs, who: Lister, after: str | None = None, limit: Limit = 20
) -> dict[str, Any]:
    """All jobs of the namespace, the newest first; `metadata[key]=value` chooses some."""
    jobs = [record(raw) for raw in await means.jobs.list(who.namespace)]
    wanted = _metadata(request)
    found = [job for job in jobs if wanted is None or _has(job, wanted)]
    newest_first = sorted(found, key=lambda job: (job.created_at, job.id), reverse=True)
    return page(newest_first, after=after, limit=limit)


@router.get("/{id_}", responses=answers(FineTuningJob))
async def retrieve(id_: str, means: Needs, who: Reader) -> dict[str, Any]:
    """One job."""
    return record(await _one(means, who, id_)).model_dump(mode="json")


@router.get("/{id_}/events", responses=answers(Page[Event]))
async def history(
    id_: str, means: Needs, who: Reader, after: str | None = None, limit: Limit = 20
) -> dict[str, Any]:
    """What happened to it, the newest first."""
    return page(events(await _one(means, who, id_)), after=after, limit=limit)


async def _one(means: Means, who: Caller, id_: str) -> Mapping[str, Any]:
    uid = uid_of(id_)
    raw = await means.jobs.get(who.namespace, uid) if uid else None
    if raw is None:
        raise not_found("fine-tuning job", id_)
    return raw


def _metadata(request: Request) -> dict[str, str] | None:
    """Pairs that are asked for; an empty dict: jobs without any."""
    if request.query_params.get("metadata") == "null":
        return {}
    pairs = {
        name.removeprefix("metadata[").removesuffix("]"): value
        for name, value in request.query_params.items()
        if name.startswith("metadata[") and name.endswith("]")
    }
    return pairs or None


def _has(job: FineTuningJob, wanted: Mapping[str, str]) -> bool:
    return wanted.items() <= job.metadata.items() if wanted and job.metadata else not (wanted or job.metadata)
