"""Keys of judges, by reference: for prepare, which tries each judge once, and for the evaluator."""

from __future__ import annotations

from collections.abc import Iterator

from kubetune_trainer.contract.evaluation import JUDGE_KEY, judge_variable

from ..api.v1alpha1 import FineTuneJob
from .common import Item


def judge_keys(job: FineTuneJob) -> Iterator[Item]:
    """Environment variables with the keys of the evaluation's judges."""
    for index, metric in enumerate(job.spec.evaluation.metrics if job.spec.evaluation else ()):
        if metric.judge is not None and metric.judge.credentials is not None:
            reference = {"name": metric.judge.credentials.secret_name, "key": JUDGE_KEY}
            yield {"name": judge_variable(index), "valueFrom": {"secretKeyRef": reference}}


def has_judge(job: FineTuneJob) -> bool:
    """Whether a model outside grades answers."""
    return any(m.judge is not None for m in (job.spec.evaluation.metrics if job.spec.evaluation else ()))
