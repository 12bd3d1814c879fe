"""Looks at pods, claims and Events of a child that waits; nothing is listed for healthy or finished jobs.

Decides when to look and what to read; what it means is ``diagnose``'s.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from typing import Final

from . import names
from .api.v1alpha1 import FineTuneJob
from .constants import LOOK_AFTER
from .diagnose import diagnose
from .errors import KubeError, KubeTuneError
from .index import TERMINAL_PHASES
from .jobstate import JobState
from .kube import Kube
from .names import Names
from .observe import Diagnosis
from .pace import Pace
from .parse import parse_pod
from .views import DeploymentView, JobView, Key, Kind, PodView, Raw, View

logger = logging.getLogger(__name__)

Waiting = JobView | DeploymentView

LOOKS_PER_SECOND: Final = 2.0
LOOK_LIMIT: Final = 30.0

_MOST_PODS: Final = 3
"""Pods of a gang wait for the same reason: the Events of a few say it."""


class Looker:
    """Finds out why a child waits."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        # A full cluster makes thousands wait, and one look is up to a dozen requests.
        self._pace = Pace(per_second=LOOKS_PER_SECOND)

    async def look(self, job: FineTuneJob, children: Sequence[View], state: JobState) -> float | None:
        """Renew ``state.diagnosis`` when it is time; return the seconds until the next one."""
        now = asyncio.get_running_loop().time()
        waiting = [
            child
            for child in children
            if isinstance(child, JobView | DeploymentView) and child.owner_uid == state.uid and _waits(child)
        ]
        state.waiting = {child.uid: state.waiting.get(child.uid, now) for child in waiting}
        key = Key(job.metadata.namespace, job.metadata.name)
        if not waiting:
            state.next_look = state.diagnosis = None
            self._pace.forget(key)
            return None
        first = LOOK_AFTER.total_seconds()
        if state.next_look is None:
            state.next_look, state.look_period = min(state.waiting.values()) + first, first
        pause = state.next_look - now
        if pause <= 0:
            pause = self._pace.delay(key, now)
        if pause > 0:
            return pause
        oldest = min(waiting, key=lambda child: state.waiting[child.uid])
        before = state.diagnosis
        try:
            state.diagnosis = await self._diagnose(job, oldest)
        except KubeTuneError as error:  # what is found explains; nothing depends on it
            logger.info(
                "A look at pods failed",
                extra={"namespace": oldest.namespace, "job": job.metadata.name, "reason": str(error)},
            )
        # The same again is asked for less often: that it heals is heard from the watches.
        same = before is not None and state.diagnosis == before
        state.look_period = min(state.look_period * 2, LOOK_LIMIT) if same else first
        state.next_look = now + state.look_period
        return state.look_period

    async def strangers(self, key: Key, children: Sequence[View], state: JobState) -> tuple[PodView, ...]:
        """Return pods that still run for a Job that is gone: they may write where the next ones will.

        Looked for before the first Job of a FineTuneJob, and after one of its Jobs vanished; never otherwise.
        """
        jobs = {child.uid for child in children if child.kind is Kind.JOB and child.owner_uid == state.uid}
        doubts = {birth.uid for (kind, _), birth in state.births.items() if kind is Kind.JOB} - jobs
        if not jobs:
            doubts.add("")
        if doubts <= state.pods_cleared:
            return ()
        pods = await self._kube.list(Kind.POD, key.namespace, selector=f"{names.LABEL_JOB}={key.name}")
        views = (parse_pod(pod) for pod in pods)
        strangers = tuple(
            view
            for view in views
            if view.phase not in TERMINAL_PHASES
            and view.owner_uid not in jobs
            and view.stage in ("prepare", "train")
        )
        if not strangers:
            state.pods_cleared |= doubts
        return strangers

    async def _diagnose(self, job: FineTuneJob, child: Waiting) -> Diagnosis | None:
        namespace, owner = job.metadata.namespace, job.metadata.name
        stage = (child.stage or "") if isinstance(child, JobView) else "serve"
        selector = f"{names.LABEL_JOB}={owner},{names.LABEL_STAGE}={stage}"
        pods = await self._kube.list(Kind.POD, namespace, selector=selector)
        if isinstance(child, JobView):
            pods = [pod for pod in pods if _owner(pod) == child.uid]
        stuck = [pod for pod in pods if not _is_ready(pod)]
        # A Deployment's older pods do not tell whether the newer ones could be made.
        short = isinstance(child, DeploymentView) or len(pods) < child.completions
        shown = [pod["metadata"]["name"] for pod in stuck[:_MOST_PODS]]
        claim, job_events, pod_events = await asyncio.gather(
            self._claim(job),
            self._maker_events(namespace, child, pods if short else None),
            asyncio.gather(*(self._kube.events_of(namespace, kind="Pod", name=name) for name in shown)),
        )
        claim_events: Sequence[Raw] = ()
        if claim is not None and (claim.get("status") or {}).get("phase") != "Bound":
            claim_events = await self._kube.events_of(
                namespace, kind=Kind.CLAIM, name=claim["metadata"]["name"]
            )
        return diagnose(
            stage=stage,
            pods=pods,
            events=dict(zip(shown, pod_events, strict=True)),
            claim=claim,
            claim_events=claim_events,
            job_events=job_events,
        )

    async def _claim(self, job: FineTuneJob) -> Raw | None:
        storage = job.spec.storage
        name = (storage and storage.claim_name) or Names(job.metadata.name).output
        try:
            return await self._kube.get(Kind.CLAIM, job.metadata.namespace, name)
        except KubeError:
            return None

    async def _maker_events(
        self, namespace: str, child: Waiting, pods: Sequence[Raw] | None
    ) -> Sequence[Raw]:
        """Events of what makes the pods: the Job, or the Deployment's ReplicaSets; none when it made all."""
        if pods is None:
            return ()
        if isinstance(child, JobView):
            return await self._kube.events_of(namespace, kind="Job", name=child.name)
        named = re.compile(rf'"({re.escape(child.name)}-[a-z0-9]+)"')
        found = {match for c in child.conditions for match in named.findall(c.message)}
        makers = {owner["name"] for pod in pods for owner in pod["metadata"].get("ownerReferences") or ()}
        events: list[Raw] = []
        for maker in sorted(found | makers)[:_MOST_PODS]:
            events += await self._kube.events_of(namespace, kind="ReplicaSet", name=maker)
        return events


def _waits(child: Waiting) -> bool:
    """Whether a child has fewer ready pods than it wants."""
    if isinstance(child, JobView):
        ended = any(
            child.condition(type_) for type_ in ("Complete", "Failed", "FailureTarget", "SuccessCriteriaMet")
        )
        return not ended and not child.deleting and child.ready + child.succeeded < max(1, child.completions)
    behind = child.observed_generation < child.generation
    return behind or min(child.available, child.updated) < _wanted(child)


def _wanted(child: DeploymentView) -> int:
    replicas = child.live[0]
    return int(replicas) if replicas.isdecimal() else 1


def _is_ready(pod: Raw) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _owner(pod: Raw) -> str | None:
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((owner["uid"] for owner in owners if owner.get("controller")), None)
