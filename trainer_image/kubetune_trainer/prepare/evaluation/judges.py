"""Asks each judge once, so that a wrong URL, model or key is found before training."""

from __future__ import annotations

import asyncio
import logging
import os

from ...contract.evaluation import EvaluationConfig, judge_variable
from ...scoring.judge import Judge
from ...scoring.questions import Question

logger = logging.getLogger(__name__)


def check(evaluation: EvaluationConfig, question: Question) -> None:
    """Let each judge grade the expected answer of a question.

    Raises:
        InvalidInput: a judge cannot be asked as it is configured, or gives no grade.
        Transient: one does not answer now.
    """
    if any(metric.judge is not None for metric in evaluation.metrics):
        asyncio.run(_check(evaluation, question))


async def _check(evaluation: EvaluationConfig, question: Question) -> None:
    for index, metric in enumerate(evaluation.metrics):
        if metric.judge is None:
            continue
        key = os.environ.get(judge_variable(index)) if metric.judge.has_key else None
        async with Judge(metric.name, metric.judge, key) as judge:
            await judge.check(question)
        logger.info("the judge of %s, %s, answers", metric.name, metric.judge.model)
