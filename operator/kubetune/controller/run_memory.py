"""What this process has seen of a job's runs, by its own clock: complete gangs, held nodes, ends."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from ..facts.observed import Known, Observed
from ..facts.views import TERMINAL_PHASES, JobView, Raw, View


@dataclass(slots=True)
class RunMemory:
    """Seen of one job's runs; times are the event loop's."""

    complete: set[str] = field(default_factory=set)
    """uids of Jobs whose pods were all ready at one time."""
    partial: dict[str, float] = field(default_factory=dict)
    """Since when some pods of a Job have nodes while others find none, by the Job's uid."""
    ended: dict[tuple[str, int], float] = field(default_factory=dict)
    """When the end of a run was first known, by stage and number."""

    def see(self, children: Iterable[View]) -> None:
        """Take in the Jobs as they are now."""
        for child in children:
            if isinstance(child, JobView) and child.has_all_pods:
                self.complete.add(child.uid)
                self.partial.pop(child.uid, None)

    def see_pods(self, job: JobView, pods: Sequence[Raw], now: float) -> None:
        """Take in all pods of a Job: whether some hold nodes while others find none."""
        alive = [pod for pod in pods if (pod.get("status") or {}).get("phase") not in TERMINAL_PHASES]
        placed = sum(bool((pod.get("spec") or {}).get("nodeName")) for pod in alive)
        if job.uid in self.complete or not 0 < placed < max(job.completions, 1):
            self.partial.pop(job.uid, None)
        else:
            self.partial.setdefault(job.uid, now)

    def known(self, *, gang_timeout: timedelta, now: float) -> Known:
        """Return what decisions may read of it."""
        overdue = {
            uid
            for uid, since in self.partial.items()
            if now - since >= gang_timeout.total_seconds() * _share(uid)
        }
        return Known(complete=frozenset(self.complete), overdue=frozenset(overdue))

    def rest(self, observed: Observed, now: float) -> timedelta:
        """Return for how long the latest end of a run has been known."""
        ends = {(run.stage, run.number) for runs in observed.runs.values() for run in runs if run.ending}
        self.ended = {end: self.ended.get(end, now) for end in ends}
        return timedelta(seconds=now - max(self.ended.values())) if self.ended else timedelta.max


def _share(uid: str) -> float:
    """Up to a tenth more: of two gangs that wait for each other one must give way first."""
    return 1 + hashlib.sha256(uid.encode()).digest()[0] / 2560
