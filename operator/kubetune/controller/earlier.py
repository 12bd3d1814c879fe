"""Makes sure, before a Job is made, that no other run of its FineTuneJob's name writes, or will.

An index is late by what its watches are, and so is the Job controller: it makes pods of Jobs that are gone.
So both kinds are listed live, and only when Jobs that could have made more pods are gone for some time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ..cluster.index import Index
from ..cluster.kube import Kube
from ..diagnose import stranger_story
from ..facts.parse import parse_job, parse_pod
from ..facts.views import TERMINAL_PHASES, JobView, Key, Kind, PodView, Raw, View
from ..stages.plan import Plan
from ..vocabulary.names import LABEL_JOB, SERVE, Names
from ..vocabulary.periods import TIMER_ERROR
from .job_state import JobState

SETTLED_AFTER: Final = 5.0
"""Seconds in which the Job controller hears that a Job is gone, and makes no more pods of it."""

_MOST_NOTES: Final = 2
"""Pods of a gang are kept by the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearance:
    """Whether a Job may be made."""

    wait: float = 0.0
    """Seconds until it can be known."""
    strangers: tuple[PodView, ...] = ()
    """Pods that still run for a Job that is gone or not ours."""
    notes: tuple[str, ...] = ()
    """What keeps them."""
    granted: bool = False

    def of(self, plan: Plan) -> Plan:
        """What of a plan may be carried out."""
        return plan if self.granted else plan.without_jobs()


GRANTED: Final = Clearance(granted=True)


class Departures:
    """When Jobs that had not finished went, by key. Before this process began one may have at any time."""

    def __init__(self, *, began: float) -> None:
        self._going_on: dict[Key, frozenset[str]] = {}
        self._left: dict[Key, float] = {}
        self._began = began

    def saw(self, key: Key, children: Iterable[View], now: float) -> None:
        """Compare the Jobs of a key with those that it had."""
        jobs = [child for child in children if isinstance(child, JobView)]
        if self._going_on.get(key, frozenset()) - {job.uid for job in jobs}:
            self._left = {k: left for k, left in self._left.items() if now - left < SETTLED_AFTER}
            self._left[key] = now
        going_on = frozenset(job.uid for job in jobs if not job.is_over)
        if going_on:
            self._going_on[key] = going_on
        else:
            self._going_on.pop(key, None)

    def settling(self, key: Key, now: float) -> float:
        """Seconds in which pods of a Job that is gone may still be made."""
        left = max(self._left.get(key, self._began), self._began) + SETTLED_AFTER - now
        return left if left > TIMER_ERROR else 0.0


class Gatekeeper:
    """Says whether the next Job of a FineTuneJob may be made."""

    def __init__(self, kube: Kube, index: Index) -> None:
        self._kube = kube
        self._index = index
        self._departures = Departures(began=asyncio.get_running_loop().time())

    def saw(self, key: Key) -> None:
        """Remember which Jobs there are; asked at every look."""
        self._departures.saw(key, self._index.children(key), asyncio.get_running_loop().time())

    async def ask(self, key: Key, state: JobState) -> Clearance:
        """Look for other writers: before the first Job that this process makes, and when one has vanished.

        Jobs that are found come into the index: what is not ours is waited for by what is observed next.
        """
        doubts = {"", *(uid for (kind, _), uid in state.births.items() if kind is Kind.JOB)}
        doubts -= {child.uid for child in self._index.children(key)}
        if doubts <= state.cleared:
            return GRANTED
        wait = self._departures.settling(key, asyncio.get_running_loop().time())
        if wait:
            return Clearance(wait=wait)
        jobs = await self._jobs(key)
        self.saw(key)
        pods = await self._pods(key, {view.uid for view in jobs if view.owner_uid == state.uid})
        if pods or any(view.owner_uid != state.uid for view in jobs):
            with state.strangers_seen.look(asyncio.get_running_loop().time()) as seen_for:
                told = [stranger_story(raw, seen_for) for _, raw in pods]
            notes = tuple(dict.fromkeys(filter(None, told)))[:_MOST_NOTES]
            return Clearance(strangers=tuple(view for view, _ in pods), notes=notes)
        state.cleared |= doubts
        return GRANTED

    async def _jobs(self, key: Key) -> Sequence[JobView]:
        selector = f"{LABEL_JOB}={key.name}"
        jobs = [parse_job(raw) for raw in await self._kube.list(Kind.JOB, key.namespace, selector=selector)]
        for view in jobs:
            self._index.put(view, key=key, live=True)
        return [view for view in jobs if _is_run_of(key.name, view)]

    async def _pods(self, key: Key, ours: set[str]) -> Sequence[tuple[PodView, Raw]]:
        """Pods at work for none of our Jobs: listed later than the Jobs, which may go meanwhile."""
        selector = f"{LABEL_JOB}={key.name}"
        pods = await self._kube.list(Kind.POD, key.namespace, selector=selector)
        return [
            (pod, raw)
            for pod, raw in ((parse_pod(raw), raw) for raw in pods)
            if pod.phase not in TERMINAL_PHASES
            and pod.owner_uid not in ours
            and pod.stage not in (None, SERVE)
        ]


def _is_run_of(name: str, job: JobView) -> bool:
    """Whether a Job is named like a run of a FineTuneJob of this name; others may carry its label."""
    return job.stage is not None and job.name == Names(name).run(job.stage, job.number)
