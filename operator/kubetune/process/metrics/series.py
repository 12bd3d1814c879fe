"""The table of series of a job: each row says a name, labels, and what a job has there. Pure.

What a job does not have, it does not tell: 0 would look like something measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from ...facts.views import DeploymentView
from ...vocabulary.json_values import condition_in, dict_of, dicts_of, int_of, number_of, text_of
from ...vocabulary.names import ROLE_SERVING, Names
from ...vocabulary.reasons import ConditionType
from ...vocabulary.strangers import plain
from .fields import MOST_CHARACTERS, MetricField
from .gpus import gpus
from .job import Job

Values = Iterable[tuple[tuple[str, ...], float]]
"""Values of labels, beside namespace and name, and the number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One family of series."""

    name: str
    documentation: str
    labels: tuple[str, ...] = ()
    """Beside those that all have: namespace and finetunejob."""
    values: Callable[[Job], Values]


def series_of(fields: tuple[MetricField, ...]) -> tuple[Series, ...]:
    """All series of a job, where the platform has these fields told."""

    def info(job: Job) -> Values:
        model = text_of(dict_of(job.spec.get("model")).get("uri"))
        yield (plain(model)[:MOST_CHARACTERS], *(field.value(job.raw) for field in fields)), 1

    return (
        Series(
            name="kubetune_job_info",
            documentation="1, with the base model as a label, and fields that settings.metricFields lists.",
            labels=("model", *(field.label for field in fields)),
            values=info,
        ),
        *_SERIES,
    )


def _state(job: Job) -> Values:
    stage = text_of(job.status.get("stage"))
    if stage:
        yield (stage, text_of(condition_in(job.status, ConditionType.READY).get("reason"))), 1


def _attempts(job: Job) -> Values:
    numbers = [number_of(attempt.get("number")) for attempt in dicts_of(job.status.get("attempts"))]
    yield from _one((), numbers[-1] if numbers else None)


def _by_stage(field: str, *path: str) -> Callable[[Job], Values]:
    """A number of each item of a list of the status that is by stage."""

    def values(job: Job) -> Iterator[tuple[tuple[str, ...], float]]:
        found: Any = job.status
        for name in path:
            found = dict_of(found).get(name)
        for item in dicts_of(found):
            yield from _one((text_of(item.get("stage")),), number_of(item.get(field)))

    return values


def _gpus(job: Job) -> Values:
    used, waiting = gpus(job)
    yield ("used",), used
    yield ("waiting",), waiting


def _cost(job: Job) -> Values:
    usage = dict_of(job.status.get("usage"))
    yield from _one((text_of(usage.get("currency")),), number_of(usage.get("cost")))


def _progress(job: Job) -> Values:
    progress = dict_of(job.status.get("progress"))
    step, total = number_of(progress.get("step")), number_of(progress.get("totalSteps"))
    if step is not None and total:
        yield (), min(1.0, step / total)


def _servers(job: Job) -> Values:
    if "serving" not in job.status:
        return
    name = Names(job.name).server(ROLE_SERVING)
    found = next((v for v in job.children if isinstance(v, DeploymentView) and v.name == name), None)
    yield ("wanted",), found.size if found else int_of(dict_of(job.spec.get("serving")).get("replicas", 1))
    yield ("ready",), found.ready if found else 0


def _scores(job: Job) -> Values:
    for candidate in dicts_of(dict_of(job.status.get("evaluation")).get("candidates")):
        name = text_of(candidate.get("name"))
        for metric, score in sorted(dict_of(candidate.get("scores")).items()):
            yield from _one((name, metric), number_of(score))


def _one(labels: tuple[str, ...], value: float | None) -> Values:
    return [] if value is None else [(labels, value)]


_SERIES: Final = (
    Series(
        name="kubetune_job_state",
        documentation="1, with the stage at hand, or done, and the reason of the condition Ready as labels.",
        labels=("stage", "reason"),
        values=_state,
    ),
    Series(
        name="kubetune_job_attempts",
        documentation="Number of the latest attempt to train.",
        values=_attempts,
    ),
    Series(
        name="kubetune_job_run_failures",
        documentation="Runs that failed by the job's own fault.",
        labels=("stage",),
        values=_by_stage("failures", "retries"),
    ),
    Series(
        name="kubetune_job_run_interruptions",
        documentation="Latest runs, one after another, that ended through no fault of their own.",
        labels=("stage",),
        values=_by_stage("interruptions", "retries"),
    ),
    Series(
        name="kubetune_job_gpus",
        documentation="GPUs of training and servers. used: of pods that are ready; waiting: of pods that are "
        "asked for and not ready.",
        labels=("state",),
        values=_gpus,
    ),
    Series(
        name="kubetune_job_gpu_seconds",
        documentation="GPU-seconds that the pods of a stage have taken, over all its runs.",
        labels=("stage",),
        values=_by_stage("gpuSeconds", "usage", "stages"),
    ),
    Series(
        name="kubetune_job_pod_seconds",
        documentation="Pod-seconds that a stage has taken, over all its runs.",
        labels=("stage",),
        values=_by_stage("podSeconds", "usage", "stages"),
    ),
    Series(
        name="kubetune_job_cost",
        documentation="Cost of what all stages but serving have taken, by settings.prices.",
        labels=("currency",),
        values=_cost,
    ),
    Series(
        name="kubetune_job_progress_ratio",
        documentation="Share of the steps of training that is done, from 0 to 1.",
        values=_progress,
    ),
    Series(
        name="kubetune_job_servers",
        documentation="Servers behind the public Service: wanted and ready.",
        labels=("state",),
        values=_servers,
    ),
    Series(
        name="kubetune_evaluation_score",
        documentation="Mean score of a candidate of a FineTuneJob's evaluation by a metric, from 0 to 1.",
        labels=("candidate", "metric"),
        values=_scores,
    ),
)
