"""Looks at pods, claims and Events of a child that waits; nothing is listed for healthy or finished jobs.

Decides when to look and what to read; what it means is ``diagnose``'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ..api.v1alpha1 import FineTuneJob
from ..children.claim import needs_sharing
from ..cluster.kube import Kube
from ..decide.failures import failure_of
from ..diagnose import (
    SeenFor,
    asked_at,
    claim_problem,
    diagnose,
    diagnose_held,
    diagnose_idle,
    diagnose_lost,
    diagnose_resized,
    kept_problem,
    refusal_of,
    waits_for_claim,
)
from ..facts.canary import Canary
from ..facts.observed import Diagnosis
from ..facts.views import BareView, DeploymentView, JobView, Key, Kind, Raw, View
from ..pods_http.probes import Probes
from ..spec.sources import named_claim, output_claim
from ..stages.train_status import remembered_artifact
from ..vocabulary import names
from ..vocabulary.errors import KubeTuneError, NotFound
from ..vocabulary.json_values import condition_in
from ..vocabulary.periods import LOOK_AFTER, TIMER_ERROR
from ..vocabulary.sentences import sentences
from ..vocabulary.strangers import all_plain, plain_lines
from .job_state import JobState, Trouble
from .rate import Pace

logger = logging.getLogger(__name__)

Waiting = JobView | DeploymentView

LOOKS_PER_SECOND: Final = 2.0
LOOK_LIMIT: Final = 30.0

_HELD: Final = "Its other pods hold their nodes, and give them back if this lasts."

_MOST_PODS: Final = 3
"""Pods of a gang wait for the same reason: the Events of a few say it."""


class Looker:
    """Finds out why a child waits."""

    def __init__(self, kube: Kube, probes: Probes) -> None:
        self._kube = kube
        self._probes = probes
        # A full cluster makes thousands wait, and one look is up to a dozen requests.
        self._pace = Pace(per_second=LOOKS_PER_SECOND)

    async def look(self, job: FineTuneJob, children: Sequence[View], state: JobState) -> float | None:
        """Renew ``state.diagnosis`` when it is time; return the seconds until the next one."""
        now = asyncio.get_running_loop().time()
        waiting = [
            child
            for child in children
            if isinstance(child, JobView | DeploymentView)
            and child.owner_uid == state.uid
            and (_waits(child) or _is_resized(job, child))
        ]
        state.waiting = {child.uid: state.waiting.get(child.uid, now) for child in waiting}
        key = Key(Kind.FINE_TUNE_JOB, job.metadata.namespace, job.metadata.name)
        if not waiting:
            state.next_look = state.diagnosis = None
            self._pace.forget(key)
            return None
        first = LOOK_AFTER.total_seconds()
        if state.next_look is None:
            state.next_look, state.look_period = min(state.waiting.values()) + first, first
        pause = state.next_look - now
        if pause < TIMER_ERROR:
            pause = self._pace.delay(key, now)
        if pause >= TIMER_ERROR:
            return pause
        oldest = min(waiting, key=lambda child: state.waiting[child.uid])
        before = state.diagnosis
        try:
            with state.first_seen.look(now) as seen_for:
                state.diagnosis = await self._diagnose(job, oldest, state, seen_for)
            if state.diagnosis is not None and oldest.uid in state.runs.partial:
                told = sentences(state.diagnosis.message, _HELD)
                state.diagnosis = replace(state.diagnosis, message=told)
        except Exception as error:  # what is found explains; nothing else depends on it
            state.blind = state.blind or Trouble(since=now)
            if state.blind.is_due(error, now):
                said = failure_of(error)
                state.diagnosis = Diagnosis(reason=said.reason, message=said.message, stage=_stage_of(oldest))
            logger.info(
                "A look at pods failed",
                extra={"namespace": oldest.namespace, "job": job.metadata.name, "reason": str(error)},
                exc_info=not isinstance(error, KubeTuneError),
            )
        else:
            state.blind = None
        # The same again is asked for less often: that it heals is heard from the watches.
        same = before is not None and state.diagnosis == before
        state.look_period = min(state.look_period * 2, LOOK_LIMIT) if same else first
        state.next_look = now + state.look_period
        return state.look_period

    async def unfit_claim(
        self, job: FineTuneJob, children: Sequence[View], state: JobState
    ) -> Diagnosis | None:
        """Say why an output claim that is there already cannot do; asked until the first Job is made.

        A prepare that runs well is never looked at, and its end would be the start of GPU pods. A claim that
        this FineTuneJob made needs no look.
        """
        if state.has_begun(children):
            return None
        if remembered_artifact(job) is not None:
            return None  # its Jobs were tidied up, and the claim has the model that is served
        kept = named_claim(job) is None and any(_was_left(job, child) for child in children)
        if named_claim(job) is None and not kept and not needs_sharing(job):
            return None
        try:
            claim = await self._kube.get(Kind.CLAIM, job.metadata.namespace, output_claim(job))
        except NotFound:
            return state.unfit if kept else None  # a new one is made when the relist has found it gone
        problem = claim_problem(job, claim, stage=names.PREPARE)
        return kept_problem(job, claim) if problem is None and kept else problem

    async def _diagnose(
        self, job: FineTuneJob, child: Waiting, state: JobState, seen_for: SeenFor
    ) -> Diagnosis | None:
        namespace, owner = job.metadata.namespace, job.metadata.name
        stage = _stage_of(child)
        which = f"{names.LABEL_STAGE}={stage}"
        if isinstance(child, DeploymentView):
            which = f"{names.LABEL_ROLE}={names.Names(owner).role_of(child.name)}"
        selector = f"{names.LABEL_JOB}={owner},{which}"
        pods = _cleaned(await self._kube.list(Kind.POD, namespace, selector=selector))
        if isinstance(child, JobView):
            pods = [pod for pod in pods if _owner(pod) == child.uid]
        if child.deleting:
            raw = await self._kube.get(child.kind, namespace, child.name)
            return diagnose_held(stage, raw, pods, seen_for, kind=child.kind)
        if isinstance(child, JobView):
            if _is_resized(job, child):
                raw = await self._kube.get(child.kind, namespace, child.name)
                return diagnose_resized(stage, raw, wanted=_gang(job, child))
            if _is_ending(child):
                lost = (diagnose_lost(stage, pod, seen_for) for pod in pods)
                return next((finding for finding in lost if finding is not None), None)
            state.runs.see_pods(child, pods, asyncio.get_running_loop().time())
            idle = None if pods else diagnose_idle(stage, child, seen_for)
            if idle is not None:
                return idle
        shown = [pod for pod in pods if not _is_ready(pod)][:_MOST_PODS]
        claim, refusal, pod_events = await asyncio.gather(
            self._claim(job),
            self._refusal(child, made=len(pods)),
            asyncio.gather(*(self._events(pod) for pod in shown)),
        )
        told = {pod["metadata"]["name"]: events for pod, events in zip(shown, pod_events, strict=True)}
        if claim is not None and (stage != names.SERVE or waits_for_claim(claim, pods, told)):
            unfit = claim_problem(job, claim, stage=stage)
            if unfit is not None:
                return unfit
        is_bound = claim is None or (claim.get("status") or {}).get("phase") == "Bound"
        return diagnose(
            stage=stage,
            pods=pods,
            events=told,
            claim=claim,
            claim_events=() if claim is None or is_bound else await self._events(claim),
            refusal=refusal,
            seen_for=seen_for,
            canaries=await self._canaries(shown) if stage == names.SERVE else {},
            trains=job.spec.training is not None,
        )

    async def _canaries(self, pods: Sequence[Raw]) -> dict[str, Canary]:
        """What servers that run without being ready say of themselves, by pod name."""
        hosts = {pod["metadata"]["name"]: host for pod in pods if (host := asked_at(pod)) is not None}
        said = await asyncio.gather(*(self._probes.canary(host) for host in hosts.values()))
        return {name: canary for name, canary in zip(hosts, said, strict=True) if canary is not None}

    async def _claim(self, job: FineTuneJob) -> Raw | None:
        try:
            return await self._kube.get(Kind.CLAIM, job.metadata.namespace, output_claim(job))
        except NotFound:
            return None

    async def _events(self, raw: Raw) -> Sequence[Raw]:
        meta = raw["metadata"]
        return _cleaned(await self._kube.events_of(meta["namespace"], name=meta["name"], uid=meta["uid"]))

    async def _refusal(self, child: Waiting, *, made: int) -> str:
        """What the API server says to the controller that makes the pods; a Deployment repeats it."""
        if isinstance(child, DeploymentView):
            failed = (c for c in child.conditions if c.type == "ReplicaFailure" and c.status == "True")
            return next((c.message for c in failed if c.reason == "FailedCreate"), "")
        if made >= child.completions:
            return ""
        told = await self._kube.events_of(child.namespace, name=child.name, uid=child.uid)
        return refusal_of(_cleaned(told))


def _cleaned(objects: Sequence[Raw]) -> Sequence[Raw]:
    """What pods, kubelets and controllers say, as people may see it; where a log ends, its lines stay."""
    return [all_plain(raw, plain_lines) for raw in objects]


def _was_left(job: FineTuneJob, child: View) -> bool:
    """Whether a child is the output claim of an earlier FineTuneJob of this name."""
    if not isinstance(child, BareView) or child.kind is not Kind.CLAIM or child.name != output_claim(job):
        return False
    born, made = job.metadata.creation_timestamp, child.created
    return child.owner_uid is None and born is not None and made is not None and made < born


def _waits(child: Waiting) -> bool:
    """Whether a child has fewer ready pods than it wants, or pods that do not end."""
    if isinstance(child, JobView):
        if child.has_ended:
            return False
        if child.suspended and not child.deleting and not _is_ending(child):
            return False  # no pod is expected before whoever suspended it resumes it
        return child.deleting or _is_ending(child) or not child.has_all_pods
    behind = child.observed_generation < child.generation
    # While earlier pods are left, those that are available may be theirs.
    return behind or min(child.available, child.updated) < child.size or child.replicas > child.updated


def _stage_of(child: Waiting) -> str:
    return (child.stage or "") if isinstance(child, JobView) else names.SERVE


def _gang(job: FineTuneJob, child: JobView) -> int:
    """How many pods a Job was made for."""
    return job.spec.trains.nodes if child.stage == names.TRAIN else 1


def _is_resized(job: FineTuneJob, child: Waiting) -> bool:
    """Whether a Job that goes on is not for as many pods any more."""
    if not isinstance(child, JobView) or child.has_ended:
        return False
    return child.completions != _gang(job, child) or child.parallelism < child.completions


def _is_ending(child: JobView) -> bool:
    """Whether a Job has its verdict, and waits for its last pods."""
    return any(child.condition(type_) for type_ in ("FailureTarget", "SuccessCriteriaMet"))


def _is_ready(pod: Raw) -> bool:
    return condition_in(pod.get("status") or {}, "Ready").get("status") == "True"


def _owner(pod: Raw) -> str | None:
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((owner["uid"] for owner in owners if owner.get("controller")), None)
