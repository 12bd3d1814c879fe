"""Conditions of a FineTuneJob: what holds, why not yet, and what a person has to do.

Pure. Compatible with kstatus: Reconciling and Stalled are there only when they are True, Served only when the
spec asks for a server.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from ..api.conditions import Condition, new_condition
from ..api.v1alpha1 import FineTuneJob
from ..facts.observed import Observed, Outcome
from ..facts.views import DeploymentView
from ..vocabulary.errors import SpecError
from ..vocabulary.names import Names
from ..vocabulary.reasons import ConditionType, Reason
from ..vocabulary.sentences import sentences
from .stalls import Stall, last_ending, stage_of, stall_of

_MOST_NAMED: Final = 3
"""Of the objects that are waited for."""

Truth = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A reason and its sentence."""

    reason: Reason
    message: str


def conditions_of(
    job: FineTuneJob, observed: Observed, *, now: datetime, error: SpecError | None
) -> list[Condition]:
    """All conditions, as if each had changed now."""
    stall = stall_of(job, observed)
    if error is not None:
        stall = Stall(reason=Reason.INVALID_SPEC, message=str(error), stage="prepare")
    stuck = Finding(stall.reason, stall.message) if stall else None
    current = stuck or _current(job, observed)
    ready = stuck is None and is_ready(job, observed)
    found: list[tuple[ConditionType, Truth, Finding]] = []
    if ready:
        reason = Reason.SERVING if job.spec.serving else Reason.COMPLETED
        found.append((ConditionType.READY, "True", Finding(reason, current.message)))
    else:
        unknown = current.reason is Reason.PREPARING
        found.append((ConditionType.READY, "Unknown" if unknown else "False", current))
    if stuck:
        found.append((ConditionType.STALLED, "True", stuck))
    elif not ready:
        found.append((ConditionType.RECONCILING, "True", current))
    found.append((ConditionType.PREPARED, *_prepared(observed, current)))
    found.append((ConditionType.TRAINED, *_trained(observed, current, stuck)))
    if job.spec.serving is not None:
        found.append((ConditionType.SERVED, *_served(observed, current)))
    generation = job.metadata.generation
    return [
        new_condition(kind, truth, reason=said.reason, message=said.message, generation=generation, now=now)
        for kind, truth, said in found
    ]


def is_ready(job: FineTuneJob, observed: Observed) -> bool:
    """Whether everything that the spec asks for is reached."""
    if observed.artifact is None or observed.conflicts or observed.earlier:
        return False
    serving, live = job.spec.serving, observed.deployment
    if serving is None:
        return True
    rolled_out = live is not None and _is_rolled_out(live, serving.replicas)
    return observed.answered and is_served(observed) and rolled_out


def is_served(observed: Observed) -> bool:
    """Whether the public Service answers with this model."""
    live = observed.deployment
    answers = observed.answered or observed.answered_before
    return answers and live is not None and live.available > 0 and not _has_failed(live)


def _is_rolled_out(live: DeploymentView, replicas: int) -> bool:
    seen = live.observed_generation >= live.generation
    return seen and live.updated >= replicas and live.available >= replicas and live.replicas <= replicas


def _has_failed(live: DeploymentView) -> bool:
    return any(c.type == "Progressing" and c.status == "False" for c in live.conditions)


def _current(job: FineTuneJob, observed: Observed) -> Finding:
    """What is going on at the first stage that is not reached."""
    if observed.earlier:
        return _waiting_for(observed.earlier)
    stage = stage_of(observed)
    done = stage == "serve" and is_ready(job, observed)
    live = observed.deployment
    if stage == "serve" and job.spec.serving is not None and live is not None and _has_failed(live):
        return _rollout_failed(observed, live)
    if observed.diagnosis is not None and not done:
        return Finding(observed.diagnosis.reason, observed.diagnosis.message)
    match stage:
        case "prepare":
            return _preparing(observed)
        case "train":
            return _training(job, observed)
        case _:
            return _serving(job, observed)


def _waiting_for(earlier: tuple[str, ...]) -> Finding:
    """What keeps new pods from starting, by name: two runs must not write to one directory."""
    more = len(earlier) - _MOST_NAMED
    named = ", ".join(earlier[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    are = "are" if len(earlier) > 1 else "is"
    return Finding(
        Reason.WAITING_FOR_EARLIER_PODS,
        f"{named} {are} left from an earlier FineTuneJob of this name or a Job that was deleted, and must be "
        "gone before anything starts. If it lasts, delete what is left, or see which finalizer or lost node "
        "keeps it.",
    )


def _preparing(observed: Observed) -> Finding:
    ending, _ = last_ending(observed)
    if ending is not None and ending.outcome is not Outcome.SUCCEEDED:
        return Finding(Reason.RETRYING, f"Prepare runs again. {ending.message}")
    return Finding(Reason.PREPARING, "Model and data are fetched, checked and tokenised.")


def _training(job: FineTuneJob, observed: Observed) -> Finding:
    attempt = observed.attempt
    nodes = job.spec.training.nodes
    pods = "1 pod" if nodes == 1 else f"{nodes} pods"
    if attempt is None:
        return Finding(Reason.TRAINING, f"Attempt 1 starts on {pods}.")
    if attempt.ending is None:
        up = attempt.job.ready + attempt.job.succeeded if attempt.job else 0
        does = "starts" if observed.progress is None else "runs"
        if up < nodes:
            are = "is" if nodes == 1 else "are"
            return Finding(Reason.TRAINING, f"Attempt {attempt.number} {does}: {up} of {pods} {are} ready.")
        return Finding(Reason.TRAINING, f"Attempt {attempt.number} runs on {pods}.")
    return Finding(Reason.RETRYING, f"Attempt {attempt.number + 1} follows. {attempt.ending.message}")


def _serving(job: FineTuneJob, observed: Observed) -> Finding:
    serving = job.spec.serving
    if serving is None:
        return Finding(Reason.COMPLETED, "The verified result is on the output volume.")
    if is_ready(job, observed):
        return Finding(Reason.SERVING, "The Service answers with this model.")
    if observed.silence is not None:
        url = Names(job.metadata.name).url(job.metadata.namespace)
        return Finding(
            Reason.DEPLOYING,
            f"A server is ready, but {url} does not answer the operator: {observed.silence}. Allow it in the "
            "namespace's NetworkPolicy, or look at the server's log.",
        )
    servers = "The server starts" if serving.replicas == 1 else f"{serving.replicas} servers start"
    return Finding(Reason.DEPLOYING, f"{servers}; ready means that one answered with this model.")


def _rollout_failed(observed: Observed, live: DeploymentView) -> Finding:
    """The Deployment gave up; what keeps the new pods from starting is the message's second half."""
    failed = next(c.message for c in live.conditions if c.type == "Progressing")
    old = "; earlier servers keep answering" if live.available > 0 else ""
    why = observed.diagnosis.message if observed.diagnosis else ""
    return Finding(Reason.ROLLOUT_FAILED, sentences(f"{failed.removesuffix('.')}{old}", why))


def _prepared(observed: Observed, current: Finding) -> tuple[Truth, Finding]:
    if observed.prepared is None and observed.artifact is None:
        return "False", current
    if observed.prepared is None:
        return "True", Finding(Reason.COMPLETED, "Model and data were checked.")
    rows, steps = observed.prepared.dataset.train_rows, observed.prepared.plan.total_steps
    return "True", Finding(Reason.COMPLETED, f"{rows} rows to train on in {steps} steps.")


def _trained(observed: Observed, current: Finding, stuck: Finding | None) -> tuple[Truth, Finding]:
    if observed.artifact is None:
        attempt = observed.attempt
        if (
            stuck is None
            and attempt is not None
            and attempt.ending is not None
            and observed.prepared is not None
        ):
            return "False", Finding(attempt.ending.reason, current.message)
        return "False", current
    by_attempt = any(
        a.ending is not None and a.ending.outcome is Outcome.SUCCEEDED for a in observed.attempts
    )
    if by_attempt:
        return "True", Finding(Reason.COMPLETED, "A verified result is on the output volume.")
    return "True", Finding(
        Reason.ARTIFACT_ADOPTED,
        "The output volume held the verified result of an equal run: nothing was trained.",
    )


def _served(observed: Observed, current: Finding) -> tuple[Truth, Finding]:
    if is_served(observed):
        return "True", Finding(Reason.SERVING, "The Service answers with this model.")
    return "False", current
