"""One evaluation: what is asked in which order, and the report of what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import openai

from ..contract.config import TrainerConfig
from ..contract.errors import InvalidInput
from ..contract.evaluation import BaselineType, EvaluationConfig, MetricConfig
from ..contract.layout import RunDirectory
from ..scoring import gate
from ..scoring.questions import Question
from ..scoring.report import Report, ReportRow
from ..store.manifest import Manifest
from . import candidates as who
from . import losses, results, warnings
from .asking import Asking, Patience
from .candidates import Candidate
from .grading import Grading, KeptGrade, judges_of
from .kept import Kept
from .results import Paper
from .server import Answer, Server
from .sitting import Sitting

_NONSENSE = 0.1
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
    def tuned(self) -> Candidate:
        """The model that was trained; raises InvalidInput where the environment does not say where it is."""
        return who.tuned(self.config, self.environment)

    def sit(self) -> Papers:
        """Ask what was not answered before, and score everything.

        Raises:
            TrainerError: a server or a judge cannot be asked; what was answered before is kept.
            InvalidInput: too much of what a judge said is no grade.
            OSError: the volume failed.
        """
        with (
            Kept(self.run.answers_file, Answer) as answers,
            Kept(self.run.grades_file, KeptGrade) as grades,
        ):
            return asyncio.run(self._sit(answers, grades))

    def report(self, papers: Papers, *, canary: str, dataset: dict[str, Any]) -> Report:
        """Report, without an override; ``canary`` is what the server said of itself."""
        confidence = float(self.evaluation.confidence)
        candidates = results.table(papers.main, confidence=confidence)
        general = results.table(papers.general, confidence=confidence) if papers.general else ()
        general_metric = self.general_metric.name if general else None
        verdict, said, passed = gate.decide(self.evaluation, candidates, general, general_metric)
        config, details = self.config, self.artifact.details
        main = [question for question in self.questions if question.set == "Main"]
        unstable = results.unstable(papers.pairs)
        leaked = sum(question.leak is not None for question in main)
        return Report(
            name=config.name,
            namespace=config.namespace,
            use_case=config.use_case,
            created=datetime.now(UTC),
            verdict=verdict,
            said=said,
            artifact=self.artifact.digest,
            canary=canary,
            artifact_type=str(details.get("type")),
            base_model=str(details.get("base_model")),
            base_revision=str(details.get("base_revision")),
            data=_data(config, self.evaluation),
            rows=len(main),
            general_rows=len(self.questions) - len(main),
            leaked_rows=leaked,
            metric=self.evaluation.main_metric,
            config=self.evaluation,
            candidates=candidates,
            general=general,
            general_metric=general_metric,
            gate=passed,
            price=results.price(candidates, self.evaluation.main_metric),
            unstable=unstable,
            training=config.training.model_dump(mode="json"),
            dataset=dataset,
            losses=losses.curve(self.run),
            warnings=tuple(
                warnings.found(
                    self.evaluation,
                    candidates,
                    rows=len(main),
                    leaked=leaked,
                    unstable=unstable,
                    ungraded=results.ungraded(papers.main),
                )
            ),
        )

    async def _sit(self, answers: Kept[Answer], grades: Kept[KeptGrade]) -> Papers:
        async with (
            openai.DefaultAsyncHttpxClient() as connections,
            Grading(judges_of(self.evaluation, self.environment), grades) as grading,
        ):
            sittings = []
            for candidate, questions, metrics in self._asked():
                server = Server(candidate, connections, timeout=self.patience.answer)
                asking = Asking(candidate.name, server, answers, self.patience.away)
                generation = self.evaluation.generation
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
        return Papers(main=main, general=general, pairs=tuple(sittings[0].pairs()))

    def _asked(self) -> list[tuple[Candidate, list[Question], tuple[MetricConfig, ...]]]:
        """Candidate after candidate, and what each is asked: the tuned model and the base both sets."""
        main, general = (
            [question for question in self.questions if question.set == of] for of in ("Main", "General")
        )

        def base(name: BaselineType) -> Candidate:
            return who.baseline(name, self.config, self.artifact, self.environment)

        asked = [(self.tuned, main, self.evaluation.metrics)]
        asked += [(base(each.type), main, self.evaluation.metrics) for each in self.evaluation.baselines]
        if general:
            asked.insert(1, (self.tuned, general, (self.general_metric,)))
            place = next((place for place, (each, *_) in enumerate(asked) if each.name == "Base"), len(asked))
            asked.insert(place, (base("Base"), general, (self.general_metric,)))
        return asked


def _require_grades(papers: Sequence[Paper], grading: Grading) -> None:
    if not papers:
        return
    rows = len(papers[0].answers)
    for metric, count in results.ungraded(papers).items():
        if count > _NONSENSE * rows:
            raise InvalidInput(
                f"The judge of {metric} gave {count:,} of {rows:,} questions no grade: "
                f"{grading.nonsense[metric]} Take another model as judge, or say in its rubric more clearly "
                "what a good answer is."
            )


def _data(config: TrainerConfig, evaluation: EvaluationConfig) -> str:
    dataset = config.dataset
    if evaluation.data is not None:
        return evaluation.data.source.uri
    if dataset.validation is not None:
        return dataset.validation.uri
    return f"{dataset.validation_fraction} of {dataset.train.uri}"
