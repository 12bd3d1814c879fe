"""Whether a job's Service has answered with its model, asked in the background where it has not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..api.conditions import is_true
from ..api.v1alpha1 import FineTuneJob
from ..facts.views import DeploymentView, Key, Kind, View
from ..pods_http.probes import Probes
from ..vocabulary.names import Names
from ..vocabulary.reasons import ConditionType
from .job_state import JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the Service said."""

    present: bool = False
    """A completion, by the Deployment's present intent."""
    earlier: bool = False
    """A completion, by an earlier intent, whose servers stay until new ones are ready."""
    failure: str | None = None
    """Why there has been no completion for a while although a server is ready."""


def answer_of(probes: Probes, job: FineTuneJob, state: JobState, children: Sequence[View]) -> Answer:
    """Tell what is known, and ask once for each intent of the Deployment."""
    key, names = Key(Kind.FINE_TUNE_JOB, job.metadata.namespace, job.metadata.name), Names(job.metadata.name)
    found = {(child.kind, child.name): child for child in children if child.owner_uid == state.uid}
    deployment = found.get((Kind.DEPLOYMENT, names.serving))
    intent = (isinstance(deployment, DeploymentView) and deployment.intent) or ""
    if not state.recalled:  # once: later the status tells only what this process has said
        state.recalled, state.answered = True, _before_this_process(job, intent)
    if not isinstance(deployment, DeploymentView) or (Kind.SERVICE, names.serving) not in found:
        probes.stop_asking(key)
        state.answered = None
        return Answer()
    if state.answered == intent:
        return Answer(present=True)
    if deployment.ready == 0:
        probes.stop_asking(key)  # nobody is there to answer; the next server is asked anew
    elif deployment.observed_generation >= deployment.generation:

        def done() -> None:
            state.answered = intent

        probes.ask(key, intent=intent, base_url=names.url(key.namespace), model=key.name, done=done)
    return Answer(earlier=state.answered is not None, failure=probes.failure(key))


def _before_this_process(job: FineTuneJob, intent: str) -> str | None:
    """The intent that had answered by the status; empty for one that is not known any more."""
    if job.status is None or not is_true(job.status.conditions, ConditionType.SERVED):
        return None  # Ready may be that of a job that had no server
    ready = is_true(job.status.conditions, ConditionType.READY)
    return intent if ready and job.status.observed_generation == job.metadata.generation else ""
