"""Whose children are: a job's own, somebody else's under a name that it needs, or left from earlier. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ..api.v1alpha1 import FineTuneJob
from ..spec.sources import named_claim
from ..vocabulary.names import SERVE, Names, run_of
from .views import TERMINAL_PHASES, JobView, Kind, PodView, View


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A job's children, sorted by whose they are."""

    present: Mapping[tuple[Kind, str], View]
    """Ours, by kind and name."""
    conflicts: frozenset[tuple[Kind, str]]
    """Foreign objects that hold a child's name."""
    earlier: tuple[str, ...]
    """Kinds and names of what an earlier FineTuneJob of the same name, or a Job that is gone, has left."""
    pods: Mapping[str, Sequence[PodView]]
    """Pods by the uid of their Job, which is ours."""


def sort_by_owner(job: FineTuneJob, children: Sequence[View], *, stages: Collection[str]) -> Family:
    """Sort children by their owners; ``stages`` are those whose Jobs have names of ours."""
    names = Names(job.metadata.name)
    present: dict[tuple[Kind, str], View] = {}
    conflicts: set[tuple[Kind, str]] = set()
    earlier: list[str] = []
    for child in children:
        if isinstance(child, PodView) or not _is_named_like_a_child(job, names, stages, child):
            continue
        labelled = child.finetunejob == names.job
        kept = child.kind is Kind.CLAIM and labelled and child.owner_uid is None  # whenDeleted: Retain
        if child.owner_uid == job.metadata.uid or kept:
            present[child.kind, child.name] = child
        elif labelled and child.owner_uid is not None:
            earlier.append(f"{child.kind} {child.name}")
        else:
            conflicts.add((child.kind, child.name))
    pods: dict[str, list[PodView]] = {view.uid: [] for view in present.values() if isinstance(view, JobView)}
    for child in children:
        if not isinstance(child, PodView):
            continue
        if child.owner_uid in pods:
            pods[child.owner_uid].append(child)
        elif child.stage not in (None, SERVE) and child.phase not in TERMINAL_PHASES:
            earlier.append(f"Pod {child.name}")
    return Family(present=present, conflicts=frozenset(conflicts), earlier=tuple(sorted(earlier)), pods=pods)


def _is_named_like_a_child(job: FineTuneJob, names: Names, stages: Collection[str], child: View) -> bool:
    """Other objects may carry our label; only names that we need matter, and what we own."""
    if child.owner_uid == job.metadata.uid:
        return True
    own_claim = named_claim(job) is None
    has_servers = job.spec.serving is not None or job.spec.evaluation is not None
    served = has_servers and names.role_of(child.name) is not None
    guards = has_servers and names.guard_role(child.name) is not None
    by_kind = {
        Kind.CONFIG_MAP: child.name == names.config or guards,
        Kind.CLAIM: own_claim and child.name == names.output,
        Kind.SERVICE: child.name == names.rendezvous or served,
        Kind.DEPLOYMENT: served,
        Kind.JOB: _is_run(names, stages, child.name),
        Kind.NETWORK_POLICY: names.is_network(child.name),
    }
    return by_kind.get(child.kind, False)


def _is_run(names: Names, stages: Collection[str], name: str) -> bool:
    run = run_of(name)
    return run is not None and run[0] in stages and names.run(*run) == name
