"""Why something waits: pods that do not start, claims that do not bind, pods that are refused, in sentences.

Pure. Called while a Job has fewer ready pods than it wants or a Deployment is not available; what it finds
heals by itself when the cause is removed, and says what to do.

==============  ====================================================
``images``      pulls that fail, or take long
``canaries``    servers that do not answer as training measured
``containers``  configuration, crashes, probes
``startup``     volumes, network and runtime of a pod that has a node
``claims``      the output claim
``kept``        one that an earlier job left
``scheduling``  pods without a node, and nodes that are lost
``edits``       what others did to children
==============  ====================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from ..facts.canary import Canary
from ..facts.observed import Diagnosis
from ..facts.views import Raw
from ..vocabulary.names import SERVE
from ..vocabulary.reasons import Reason
from ..vocabulary.sentences import respec, shortened
from .canaries import asked_at, diagnose_canary
from .claims import claim_problem, diagnose_claim, is_binding, waits_for_claim
from .containers import diagnose_container, diagnose_evicted, diagnose_outlived, diagnose_probe
from .edits import diagnose_held, diagnose_resized, selector_story, story_of, stranger_story
from .evidence import SeenFor, found, is_deleting, last, message_of, name_of
from .images import diagnose_pulling
from .kept_claim import kept_problem
from .scheduling import diagnose_idle, diagnose_lost, diagnose_unscheduled
from .startup import diagnose_startup

__all__ = [
    "SeenFor",
    "asked_at",
    "claim_problem",
    "diagnose",
    "diagnose_held",
    "diagnose_idle",
    "diagnose_lost",
    "diagnose_resized",
    "kept_problem",
    "refusal_of",
    "selector_story",
    "story_of",
    "stranger_story",
    "waits_for_claim",
]


def diagnose(
    *,
    stage: str,
    pods: Sequence[Raw],
    events: Mapping[str, Sequence[Raw]],
    claim: Raw | None,
    claim_events: Sequence[Raw],
    refusal: str,
    seen_for: SeenFor,
    canaries: Mapping[str, Canary] = MappingProxyType({}),
    trains: bool = True,
) -> Diagnosis | None:
    """Find the most telling reason; None when nothing is wrong.

    ``events`` are those of the pods, by pod name; ``claim`` is the output claim or None when it does not
    exist; ``refusal`` is what the API server says to whoever makes the pods, empty when it takes them;
    ``canaries`` is what servers that are not ready say of themselves, by pod name; ``trains`` is False of a
    job without spec.training.
    """
    all_found = _findings(
        stage,
        pods=pods,
        events=events,
        claim=claim,
        claim_events=claim_events,
        refusal=refusal,
        seen_for=seen_for,
        canaries=canaries,
        trains=trains,
    )
    return next(
        (finding for finding in tuple(all_found) if finding is not None), None
    )  # each asks for its time


def refusal_of(events: Sequence[Raw]) -> str:
    """What the API server answered a Job that cannot make its pods, by the newest of its Events."""
    newest = last(events, "FailedCreate", "SuccessfulCreate")
    if newest is None or newest.get("reason") != "FailedCreate":
        return ""
    return message_of(newest).removeprefix("Error creating: ")


def _findings(
    stage: str,
    *,
    pods: Sequence[Raw],
    events: Mapping[str, Sequence[Raw]],
    claim: Raw | None,
    claim_events: Sequence[Raw],
    refusal: str,
    seen_for: SeenFor,
    canaries: Mapping[str, Canary],
    trains: bool,
) -> Iterator[Diagnosis | None]:
    """Everything that may be wrong, the most telling first; what is still under way comes last."""
    staying = [pod for pod in pods if not is_deleting(pod)]
    told = [(pod, events.get(name_of(pod), ())) for pod in staying]
    peers = [name_of(pod) for pod in pods]
    for pod in staying:
        yield diagnose_canary(pod, canaries.get(name_of(pod)))
    for pod, own in told:
        yield diagnose_container(stage, pod, own)
    for pod in staying:
        yield diagnose_outlived(stage, pod, seen_for)
    for pod, own in told:
        yield diagnose_startup(stage, pod, own, peers, seen_for)
    yield diagnose_claim(stage, claim, claim_events, staying, seen_for)
    for pod in staying:
        yield diagnose_unscheduled(stage, pod, seen_for, binding=is_binding(claim), trains=trains)
    for pod in pods:
        yield diagnose_lost(stage, pod, seen_for)
    if refusal:
        yield _refused(stage, refusal, trains=trains)
    if stage == SERVE:
        yield diagnose_evicted(staying)
        for pod, own in told:
            yield diagnose_probe(pod, own, seen_for)
    for pod, own in told:
        yield diagnose_pulling(stage, pod, own)


def _refused(stage: str, refusal: str, *, trains: bool) -> Diagnosis:
    """Pods that the API server refuses to create."""
    message = re.sub(r'^pods "[^"]*" is forbidden: ', "", refusal)
    if "exceeded quota" in message:
        what = f"A quota of this namespace leaves no room for the pod: {shortened(message, limit=400)}"
        if not trains and stage != SERVE:
            return found(Reason.QUOTA_EXCEEDED, stage, what, "Free resources, or raise the quota")
        ask = respec("ask for less", stage=stage)
        return found(Reason.QUOTA_EXCEEDED, stage, what, f"Free resources, raise the quota, or {ask}")
    if "must specify" in message:
        what = f"A quota of this namespace asks for more to be set: {shortened(message, limit=400)}"
        if not trains and stage != SERVE:
            return found(Reason.QUOTA_EXCEEDED, stage, what, "Give the namespace a LimitRange with defaults")
        block = "serving" if stage == SERVE else "training"
        fix = respec(f"Set it in {block}.resources", stage=stage)
        return found(
            Reason.QUOTA_EXCEEDED, stage, what, f"{fix}, or give the namespace a LimitRange with defaults"
        )
    what = f"The pod is refused: {shortened(message, limit=400)}"
    change = respec("change the podTemplate", stage=stage)
    return found(Reason.POD_REJECTED, stage, what, f"Change what refuses it, or {change}")
