"""How soon a FineTuneJob has to be looked at when one of its children has changed. Pure.

Pods of a gang end within a second of each other, and controllers write down step by step what comes of it:
half of all changes alone lead to nothing, and a look at each costs more than all that the last one needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ..facts.views import TERMINAL_PHASES, DeploymentView, JobView, Key, PodView, View

LINGER: Final = 1.0
"""Seconds that a change may wait for what comes next. Whatever comes meanwhile takes it along."""


@dataclass(frozen=True, slots=True)
class News:
    """A FineTuneJob that has to be looked at."""

    key: Key
    wait: float = 0.0
    """Seconds until then, at most."""


def patience(view: View, siblings: Iterable[View]) -> float:
    """Seconds that a change of a child may wait; ``siblings`` are all children of its key.

    What lets the next stage begin, ends a stage or says that something went wrong is looked at at once.
    """
    match view:
        case PodView():
            waits = view.phase == "Succeeded" and _is_one_of_several(view, siblings)
        case JobView():
            waits = not view.deleting and (not view.is_over or _is_known_to_end(view, siblings))
        case DeploymentView():
            waits = not view.deleting and view.ready == 0  # there is nobody who could answer yet
        case _:
            waits = False
    return LINGER if waits else 0.0


def _is_one_of_several(pod: PodView, siblings: Iterable[View]) -> bool:
    """Whether more pods of its Job have to succeed."""
    views = tuple(siblings)
    job = next((v for v in views if isinstance(v, JobView) and v.uid == pod.owner_uid), None)
    return job is not None and len(_ends(job, views, ("Succeeded",))) < job.completions


def _is_known_to_end(job: JobView, siblings: Iterable[View]) -> bool:
    """Whether its pods have said already how it ends."""
    return len(_ends(job, siblings, TERMINAL_PHASES)) >= max(job.completions, 1)


def _ends(job: JobView, siblings: Iterable[View], phases: tuple[str, ...]) -> set[int]:
    """Indexes of a Job's pods that have ended in one of these phases."""
    pods = (view for view in siblings if isinstance(view, PodView) and view.owner_uid == job.uid)
    return {pod.index or 0 for pod in pods if pod.phase in phases}
