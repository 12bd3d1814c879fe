"""What a server's state says: whether it serves, and a reason and a sentence where it does not. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..api.v1alpha1 import FineTuneJob
from ..api.v1alpha1.serving import Serving
from ..facts.observed import Diagnosis, Server
from ..facts.views import Kind, Raw
from ..vocabulary.names import Names
from ..vocabulary.reasons import ConditionType, Finding, Reason
from ..vocabulary.sentences import sentences
from .rollout import has_drifted, has_failed, is_rolled_out

ANSWERS = "The Service answers with this model"


def answers(server: Server) -> Finding:
    """That the Service answers, and how it is known that it does so with what was trained."""
    canary = server.canary
    if canary is None:
        return Finding(Reason.SERVING, f"{ANSWERS}.")
    if canary.verdict == "Same":
        return Finding(Reason.SERVING, f"{ANSWERS}, as training measured: see status.serving.canary.")
    unproven = f"{ANSWERS}; that it is what was trained is not proven"
    return Finding(Reason.SERVING_UNPROVEN, sentences(unproven, canary.message))


def is_served(server: Server) -> bool:
    """Whether it answers with this model, be it as the spec said earlier."""
    live = server.deployment
    answers = server.answered or server.answered_before
    return answers and live is not None and live.available > 0 and not has_failed(live)


def is_current(serving: Serving, server: Server) -> bool:
    """Whether what the spec asks for now is what is applied, rolled out and has answered."""
    live = server.deployment
    return (
        live is not None
        and server.answered
        and is_served(server)
        and is_rolled_out(serving, server)
        and not has_drifted(serving, server)
    )


def trouble_of(server: Server, diagnosis: Diagnosis | None) -> Finding | None:
    """What keeps the server from what the spec asks for, whatever its pods do."""
    live = server.deployment
    if server.dispute is not None:
        return Finding(Reason.CHANGED_BY_OTHERS, server.dispute)
    if live is None or not has_failed(live):
        return None
    # The Deployment gave up; what keeps the new pods from starting is the message's second half.
    failed = next(c.message for c in live.conditions if c.type == "Progressing")
    old = "; earlier servers keep answering" if live.available > 0 else ""
    why = diagnosis.message if diagnosis else ""
    return Finding(Reason.ROLLOUT_FAILED, sentences(f"{failed.removesuffix('.')}{old}", why))


def finding_of(job: FineTuneJob, serving: Serving, server: Server) -> Finding:
    """How far the server is when nothing is wrong with it."""
    if is_current(serving, server):
        return answers(server)
    live = server.deployment
    if serving.replicas is None and live is not None and live.size == 0:
        return Finding(
            Reason.DEPLOYING,
            f"No server runs: Deployment {live.name} is scaled to 0, and without serving.replicas the "
            "number is left to others.",
        )
    if server.silence is not None:
        url = Names(job.metadata.name).url(job.metadata.namespace)
        return Finding(
            Reason.DEPLOYING,
            f"A server is ready, but {url} does not answer the operator: {server.silence}. Allow it in the "
            "namespace's NetworkPolicy, or look at the server's log.",
        )
    number = serving.replicas or 1
    servers = "The server starts" if number == 1 else f"{number} servers start"
    return Finding(Reason.DEPLOYING, f"{servers}; ready means that one answered with this model.")


def changed(name: str, owners: Mapping[str, Sequence[str]]) -> str:
    """Say who changes a Deployment again and again."""
    fields = {field for owned in owners.values() for field in owned}
    what = f"{', '.join(sorted(fields))} of Deployment {name}" if fields else f"Deployment {name}"
    who = " and ".join(sorted(owners)) or "Something"
    change = "change" if len(owners) > 1 else "changes"
    they = "they are" if fields else "it is"
    remedy = "End what changes it, or change spec.serving instead."
    if fields == {"replicas"}:
        remedy = "Leave serving.replicas out if that is to decide their number, or end what changes it."
    return f"{who} {change} {what} again and again; {they} put right ever more slowly. {remedy}"


def deleted(kind: Kind, name: str) -> str:
    """Say that a Deployment or Service is deleted again and again."""
    return (
        f"{kind} {name} is deleted again and again, and made again ever more slowly. End what deletes it, or "
        "remove spec.serving."
    )


def had_server(raw: Raw) -> bool:
    """Whether the status of a FineTuneJob says that there is a server, was one, or was to be one."""
    status: Mapping[str, object] = raw.get("status") or {}
    conditions = status.get("conditions")
    types = [c.get("type") for c in conditions] if isinstance(conditions, list) else []
    return status.get("serving") is not None or ConditionType.SERVED in types
