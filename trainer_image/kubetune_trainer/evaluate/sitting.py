"""One candidate before the questions of one set: what it is asked, and how its answers are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..contract.evaluation import TUNED, GenerationConfig, MetricConfig
from ..scoring.metrics import metric_of
from ..scoring.questions import Question
from .asking import Asking
from .candidates import Candidate
from .grading import Grading
from .kept import Kept
from .request import Request, request_of, without_repeats
from .results import Paper
from .server import Answer

TWICE = 8
"""Questions of the set Main that the tuned model is asked twice."""


class Sitting:
    """Asks and scores; what is asked is the same whenever it is made from the same."""

    def __init__(
        self,
        candidate: Candidate,
        questions: Sequence[Question],
        metrics: Sequence[MetricConfig],
        generation: GenerationConfig,
        asking: Asking,
        kept: Kept[Answer],
        grading: Grading,
    ) -> None:
        """Raises InvalidInput for a metric's pattern or schema that is none."""
        self.candidate = candidate
        self.questions = tuple(questions)
        self._asking = asking
        self._kept = kept
        self._grading = grading
        self._metrics = {each.name: metric_of(each) for each in metrics if each.type != "Judge"}
        self._judged = [each.name for each in metrics if each.type == "Judge"]
        self._order = [each.name for each in metrics]
        self._requests = tuple(request_of(each, candidate, generation) for each in self.questions)
        twice = candidate.name == TUNED and self.questions[0].set == "Main"
        self._again = tuple(
            request_of(request.question, candidate, generation, repetition=1)
            for request in without_repeats(self._requests)[: TWICE if twice else 0]
        )

    async def begin(self) -> None:
        """Ask and score the first question, so that what is wrong with all of them shows.

        Raises TrainerError.
        """
        await self._ask(self._requests[:1])
        await self._grading.settle()
        self._scores(self.questions[0], self._answer(self._requests[0]))

    async def go_on(self) -> None:
        """Ask what is left; judges may still be grading then.

        Raises TrainerError.
        """
        await self._ask((*self._requests, *self._again))

    def paper(self) -> Paper:
        """All answers and their scores, once all is asked and graded."""
        answers = tuple(self._answer(request) for request in self._requests)
        scores = [
            self._scores(question, answer) for question, answer in zip(self.questions, answers, strict=True)
        ]
        return Paper(
            candidate=self.candidate,
            answers=answers,
            asked=tuple(map(self._answer, without_repeats((*self._requests, *self._again)))),
            scores={name: tuple(each[name] for each in scores) for name in self._order},
        )

    def pairs(self) -> list[tuple[Answer, Answer]]:
        """First and second answers to what was asked twice."""
        once = without_repeats(self._requests)
        return [(self._answer(one), self._answer(two)) for one, two in zip(once, self._again, strict=False)]

    async def _ask(self, requests: Sequence[Request]) -> None:
        again = {request.key for request in self._again}

        def answered(request: Request) -> None:
            if request.key not in again:
                self._grading.begin(self._judged, request.question, self._answer(request))

        await self._asking.ask(requests, answered)

    def _answer(self, request: Request) -> Answer:
        answer = self._kept.get(request.key)
        assert answer is not None
        return answer

    def _scores(self, question: Question, answer: Answer) -> Mapping[str, float | None]:
        scores: dict[str, float | None] = {
            name: metric.score(question, answer.said) for name, metric in self._metrics.items()
        }
        return scores | {name: self._grading.score(name, question, answer) for name in self._judged}
