"""Grades by judges, asked beside the candidates, and each for the same answer once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Self

from pydantic import BaseModel, ConfigDict

from ..contract.evaluation import EvaluationConfig, judge_variable
from ..scoring.judge import Judge, NoGradeError
from ..scoring.questions import PLAIN, Question
from .kept import Kept
from .request import digest
from .server import Answer

AT_ONCE = 8
"""Grades that all judges are asked for at once: what services allow those who pay little."""


class KeptGrade(BaseModel):
    """A line of grades.jsonl, beside its key."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    score: float
    """From 0 to 1."""
    why: str


def judges_of(evaluation: EvaluationConfig, environment: Mapping[str, str]) -> dict[str, Judge]:
    """The judges by the names of their metrics, with the keys that the operator gave this pod."""
    return {
        metric.name: Judge(metric.name, metric.judge, environment.get(judge_variable(index)))
        for index, metric in enumerate(evaluation.metrics)
        if metric.judge is not None
    }


class Grading:
    """Asks judges, and keeps every grade as it comes; for one event loop."""

    def __init__(self, judges: Mapping[str, Judge], kept: Kept[KeptGrade]) -> None:
        self._judges = judges
        self._kept = kept
        self._room = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """By the grade's key."""
        self.ungraded: dict[str, str] = {}
        """Why a judge gave no grade the last time, by the metric's name. Another process asks again."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for judge in self._judges.values():
            await judge.close()

    def begin(self, metrics: Iterable[str], question: Question, answer: Answer) -> None:
        """Ask the judges of these metrics about an answer, unless they were asked before."""
        for metric in metrics:
            key = self._key(metric, question, answer)
            if key not in self._kept and key not in self._tasks:
                self._tasks[key] = asyncio.create_task(self._grade(key, metric, question, answer))

    async def settle(self) -> None:
        """Wait for all grades that are asked for.

        Raises:
            TrainerError: a judge cannot be asked.
        """
        await asyncio.gather(*self._tasks.values())

    def score(self, metric: str, question: Question, answer: Answer) -> float | None:
        """The grade; None where the judge gave none."""
        grade = self._kept.get(self._key(metric, question, answer))
        return None if grade is None else grade.score

    def _key(self, metric: str, question: Question, answer: Answer) -> str:
        judge = self._judges[metric]
        prompt = question.prompts[PLAIN]
        asked = question.model_dump(mode="json", include={"expected", "expected_calls", "tools"})
        told = asdict(answer.said)
        config = judge.config.model_dump(mode="json", include={"url", "model", "rubric"})
        return digest({"judge": config, "prompt": prompt.model_dump(mode="json"), "row": asked, "said": told})

    async def _grade(self, key: str, metric: str, question: Question, answer: Answer) -> None:
        async with self._room:
            try:
                grade = await self._judges[metric].grade(question, answer.said)
            except NoGradeError as error:
                self.ungraded[metric] = str(error)
                return
        self._kept.add(key, KeptGrade(score=grade.score, why=grade.why))
