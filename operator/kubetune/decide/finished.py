"""Whether anything can still happen to a FineTuneJob: most are at rest, and cost nothing then. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ..facts.managers import decided
from ..facts.views import Raw, View
from ..servers.rollout import is_of_server
from ..servers.state import had_server
from ..vocabulary.json_values import condition_in
from ..vocabulary.reasons import ConditionType, Reason, facts_of


def is_finished(raw: Raw, children: Iterable[View]) -> bool:
    """Whether nothing can happen to the job any more: seen, final, and no server wanted or left.

    A status that tells of a server which the spec does not ask for any more has been written before a live
    read showed that the server is gone: no watch tells of one whose label was edited.
    """
    meta, status = raw["metadata"], raw.get("status") or {}
    if status.get("observedGeneration") != meta.get("generation"):
        return False
    if any(c.owner_uid == meta["uid"] and is_of_server(c, meta["name"]) for c in children):
        return False
    serves = (raw.get("spec") or {}).get("serving") is not None
    if had_server(raw) and not serves:
        return False
    if condition_in(status, ConditionType.READY).get("status") == "True":
        return not serves
    stalled = condition_in(status, ConditionType.STALLED)
    if stalled.get("reason") == Reason.GATE_FAILED and decided(meta.get("annotations") or {}):
        return False
    return stalled.get("status") == "True" and facts_of(str(stalled.get("reason"))).final


def is_at_rest(raw: Raw) -> bool:
    """Whether the job has what its present spec asks for or has ended for good, by its status alone."""
    status = raw.get("status") or {}
    seen = status.get("observedGeneration") == raw["metadata"].get("generation")
    ready = condition_in(status, ConditionType.READY).get("status") == "True"
    return (seen and ready) or is_finished(raw, ())
