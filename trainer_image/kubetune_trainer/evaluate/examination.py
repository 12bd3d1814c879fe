"""One evaluation: who is asked what, in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import openai

from ..contract import evaluation as names
from ..contract.config import TrainerConfig
from ..contract.errors import InvalidInput
from ..contract.evaluation import BaselineType, EvaluationConfig, MetricConfig
from ..contract.layout import RunDirectory
from ..scoring.questions import Question
from ..scoring.report import ReportRow
from ..store.manifest import Manifest
from . import candidates as who
from . import results
from .asking import Asking, Patience
from .candidates import Candidate
from .grading import Grading, KeptGrade, judges_of
from .kept import Kept
from .results import Paper
from .server import Answer, Server
from .sitting import Sitting

_UNGRADED = 0.1
"""Part of the questions that may be without a grade."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    """All answers and scores; of each set the tuned model's come first."""

    main: tuple[Paper, ...]
    general: tuple[Paper, ...]
    pairs: tuple[tuple[Answer, Answer], ...]
    """What the tuned model was asked twice."""

    def rows(self, questions: Sequence[Question]) -> Iterator[ReportRow]:
        """Lines of rows.jsonl: first those of the set Main."""
        for papers, which in ((self.main, "Main"), (self.general, "General")):
            of_set = [question for question in questions if question.set == which]
            yield from results.rows(of_set, papers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What is evaluated, by what, and where it lies."""

    config: TrainerConfig
    evaluation: EvaluationConfig
    run: RunDirectory
    artifact: Manifest
    questions: tuple[Question, ...]
    general_metric: MetricConfig
    environment: Mapping[str, str]
    patience: Patience

    @property
    def tuned(self) -> Candidate | None:
        """The model that was trained; None where the base alone is asked.

        Raises InvalidInput where the environment does not say what its name is.
        """
        return who.tuned(self.config, self.environment)

    @property
    def main(self) -> list[Question]:
        """Questions of the set Main."""
        return [question for question in self.questions if question.set == "Main"]

    @property
    def general(self) -> list[Question]:
        """Questions of the set General."""
        return [question for question in self.questions if question.set == "General"]

    def sit(self) -> Papers:
        """Ask what was not answered before, and score everything.

        Raises:
            TrainerError: a server or a judge cannot be asked; what was answered before is kept.
            InvalidInput: a judge gave too few grades.
            OSError: the volume failed.
        """
        with (
            Kept(self.run.answers_file, Answer) as answers,
            Kept(self.run.grades_file, KeptGrade) as grades,
        ):
            return asyncio.run(self._sit(answers, grades))

    async def _sit(self, answers: Kept[Answer], grades: Kept[KeptGrade]) -> Papers:
        async with (
            openai.DefaultAsyncHttpxClient(trust_env=False) as connections,  # a proxy is for judges
            Grading(judges_of(self.evaluation, self.environment), grades) as grading,
        ):
            generation = self.evaluation.generation
            sittings = []
            for candidate, questions, metrics in self._asked():
                server = self._server(candidate, connections)
                asking = Asking(candidate.name, server, answers, self.patience.away)
                sittings.append(Sitting(candidate, questions, metrics, generation, asking, answers, grading))
            for sitting in sittings:
                await sitting.begin()
            for sitting in sittings:
                await sitting.go_on()
            await grading.settle()
        papers = [(sitting.questions[0].set, sitting.paper()) for sitting in sittings]
        main, general = (tuple(paper for which, paper in papers if which == of) for of in ("Main", "General"))
        for each in (main, general):
            _require_grades(each, grading)
        return Papers(
            main=main, general=general, pairs=tuple(pair for sitting in sittings for pair in sitting.pairs())
        )

    def _server(self, candidate: Candidate, connections: openai.DefaultAsyncHttpxClient) -> Server | None:
        """The server of a candidate; None where an earlier run has asked it."""
        if not candidate.url:
            return None
        folder = self.environment.get(names.API_KEYS)
        keys = Path(folder) if folder else None
        return Server(candidate, connections, timeout=self.patience.answer, keys=keys)

    def _asked(self) -> list[tuple[Candidate, list[Question], tuple[MetricConfig, ...]]]:
        """Candidate after candidate, and what each is asked: the tuned model and the base both sets."""

        def base(name: BaselineType) -> Candidate:
            return who.baseline(name, self.config, self.artifact, self.environment)

        tuned, general = self.tuned, (self.general_metric,)
        asked = [(tuned, self.main, self.evaluation.metrics)] if tuned else []
        if tuned and self.general:
            asked.append((tuned, self.general, general))
        if self.general:
            asked.append((base("Base"), self.general, general))
        asked += [(base(each.type), self.main, self.evaluation.metrics) for each in self.evaluation.baselines]
        return asked


def _require_grades(papers: Sequence[Paper], grading: Grading) -> None:
    if not papers:
        return
    rows = len(papers[0].answers)
    for metric, count in results.ungraded(papers).items():
        if count > _UNGRADED * rows:
            raise InvalidInput(
                f"The judge of {metric} gave {count:,} of {rows:,} questions no grade: "
                f"{grading.ungraded[metric]} Take another model as judge, or say in its rubric more clearly "
                "what a good answer is."
            )
