"""What a plan is: objects to create once, objects to apply, objects to delete, and when to look again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from ..facts.views import Kind, Manifest, View


@dataclass(frozen=True, slots=True, kw_only=True)
class Doomed:
    """An object to delete; the uid makes sure that it is the one that was observed."""

    kind: Kind
    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The difference between what is desired and what is observed; empty when they match."""

    create_once: tuple[Manifest, ...] = ()
    """POSTed in parallel; 409 with our uid is success."""
    apply: tuple[Manifest, ...] = ()
    """Server-side applied: what may change later (the Deployment)."""
    delete: tuple[Doomed, ...] = ()
    requeue_after: timedelta | None = None
    """Look again after this long even if nothing happens."""

    @property
    def writes(self) -> bool:
        """Whether there is anything to carry out."""
        return bool(self.create_once or self.apply or self.delete)

    @property
    def makes_a_job(self) -> bool:
        """Whether pods that write will start."""
        return any(manifest["kind"] == Kind.JOB for manifest in self.create_once)

    def joined(self, other: Plan) -> Plan:
        """Both; looked at again when the first of them asks for it. What both create is created once."""
        new = tuple(m for m in other.create_once if m not in self.create_once)
        pauses = [pause for pause in (self.requeue_after, other.requeue_after) if pause is not None]
        return Plan(
            create_once=(*self.create_once, *new),
            apply=(*self.apply, *other.apply),
            delete=(*self.delete, *other.delete),
            requeue_after=min(pauses, default=None),
        )

    def without_jobs(self) -> Plan:
        """The same, but for Jobs."""
        return replace(self, create_once=tuple(m for m in self.create_once if m["kind"] != Kind.JOB))


def doomed(views: Iterable[View]) -> tuple[Doomed, ...]:
    """These objects, to be deleted."""
    return tuple(Doomed(kind=view.kind, name=view.name, uid=view.uid) for view in views)
