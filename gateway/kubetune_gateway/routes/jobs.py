"""/fine_tuning/jobs: made, listed, looked at and cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from ..archive.entries import Entry, Live, newest_first
from ..archive.kept import Cancelled, Kept, Seen, seen, trimmed, unsettled
from ..contracts import Caller, Means
from ..ids import uid_of
from ..jobs.checkpoints import told
from ..jobs.events import events
from ..jobs.manifest import manifest
from ..jobs.record import record
from ..jobs.steps import Step, total_steps
from ..wire.checkpoints import JobCheckpoint
from ..wire.errors import ApiError, not_found
from ..wire.events import Event
from ..wire.jobs import MAX_SEED, CreateJob, FineTuningJob
from ..wire.pages import Page, page
from .document import answers, asks
from .requests import Needs, json_body, may, metadata_asked_for

router = APIRouter(prefix="/fine_tuning/jobs")

Reader = Annotated[Caller, may("get", "finetunejobs")]
Lister = Annotated[Caller, may("list", "finetunejobs")]
Writer = Annotated[Caller, may("create", "finetunejobs")]
Changer = Annotated[Caller, may("update", "finetunejobs")]
Deleter = Annotated[Caller, may("delete", "finetunejobs")]
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
    live, kept = await asyncio.gather(means.jobs.list(who.namespace), means.archive.listed(who.namespace))
    wanted, now = _metadata(request), means.now().timestamp()
    found = [job for job in newest_first(live, kept) if wanted is None or _has(job, wanted)]
    shown = page(found, after=after, limit=limit)
    shown["data"] = [
        job.told(now=now).model_dump(mode="json") if isinstance(job, Live) else job for job in shown["data"]
    ]
    return shown


@router.get("/{id_}", responses=answers(FineTuningJob))
async def retrieve(id_: str, means: Needs, who: Reader) -> dict[str, Any]:
    """One job."""
    return (await _one(means, who, id_)).told.model_dump(mode="json")


@router.post("/{id_}/cancel", responses=answers(FineTuningJob))
async def cancel(id_: str, means: Needs, who: Deleter) -> dict[str, Any]:
    """Cancel one. It is kept that it was before its FineTuneJob goes: what is told does not wait for that."""
    uid, live, kept = await _found(means, who, id_)
    found = _seen(id_, live, kept)
    if found.told.status in ("succeeded", "failed"):
        raise ApiError(
            f"The job has {found.told.status} already: there is nothing to cancel.",
            code="job_has_ended",
            param="id",
        )
    if found.told.status != "cancelled":
        wanted = Cancelled(raw=trimmed(found.raw), cancelled_at=int(means.now().timestamp()))
        cancelled = await means.archive.cancel(who.namespace, uid, wanted)
        kept = Kept(record=None if kept is None else kept.record, cancelled=cancelled)
    if live is not None:
        await means.jobs.delete(who.namespace, live["metadata"]["name"], uid=uid)
    return _seen(id_, live, kept).told.model_dump(mode="json")


@router.post("/{id_}/pause", responses=answers(FineTuningJob))
async def pause(id_: str, means: Needs, who: Changer) -> dict[str, Any]:
    """Refuse: a job cannot be paused."""
    await _one(means, who, id_)
    raise ApiError(
        "Jobs of this platform cannot be paused: cancel the job, or let it train to its end.",
        code="not_supported",
        param="id",
    )


@router.post("/{id_}/resume", responses=answers(FineTuningJob))
async def resume(id_: str, means: Needs, who: Changer) -> dict[str, Any]:
    """Refuse: no job is paused."""
    await _one(means, who, id_)
    raise ApiError(
        "The job is not paused, as jobs of this platform cannot be: there is nothing to resume.",
        code="not_supported",
        param="id",
    )


@router.get("/{id_}/checkpoints", responses=answers(Page[JobCheckpoint]))
async def weights(
    id_: str, means: Needs, who: Reader, after: str | None = None, limit: Limit = 10
) -> dict[str, Any]:
    """Its weights that can be asked as models, the last ones first."""
    found = await _one(means, who, id_)
    made = [] if found.told.status != "succeeded" else told(found.raw, await _steps(means, who, found))
    return page(made, after=after, limit=limit)


@router.get("/{id_}/events", responses=answers(Page[Event]))
async def history(
    id_: str, means: Needs, who: Reader, after: str | None = None, limit: Limit = 20
) -> dict[str, Any]:
    """What happened to it, the newest first."""
    found = await _one(means, who, id_)
    happened = events(found.raw, await _steps(means, who, found), found.beside)
    return page(happened, after=after, limit=limit)


async def _found(means: Means, who: Caller, id_: str) -> tuple[str, Mapping[str, Any] | None, Kept | None]:
    """The uid, the FineTuneJob if it is there, and what is kept of it."""
    uid = uid_of(id_)
    if uid is None:
        raise not_found("fine-tuning job", id_)
    live, kept = await asyncio.gather(
        means.jobs.get(who.namespace, uid), means.archive.get(who.namespace, uid)
    )
    return uid, live, kept


def _seen(id_: str, live: Mapping[str, Any] | None, kept: Kept | None) -> Seen:
    found = seen(live, kept)
    if found is None:
        raise not_found("fine-tuning job", id_)
    return found


async def _one(means: Means, who: Caller, id_: str) -> Seen:
    _, live, kept = await _found(means, who, id_)
    if live is not None:
        live = unsettled(live, {} if kept is None else kept.ended_at, means.now().timestamp())
    return _seen(id_, live, kept)


async def _steps(means: Means, who: Caller, found: Seen) -> list[Step]:
    uid = found.raw["metadata"]["uid"]
    return await means.archive.steps(who.namespace, uid, total=total_steps(found.raw))


def _metadata(request: Request) -> dict[str, str] | None:
    """Pairs that are asked for; an empty dict: jobs without any."""
    is_null = request.query_params.get("metadata") == "null"
    return {} if is_null else metadata_asked_for(request)


def _has(job: Entry, wanted: Mapping[str, str]) -> bool:
    metadata = job.metadata
    return wanted.items() <= metadata.items() if wanted and metadata else not (wanted or metadata)
