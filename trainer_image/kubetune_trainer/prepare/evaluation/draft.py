"""Turns rows that are asked about into questions with the prompt that has no examples, and checks each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ...contract.errors import BadRow, InvalidInput
from ...contract.evaluation import EvaluationConfig, MetricConfig
from ...data.bad_rows import BadRows
from ...data.chat import Conversation, Message
from ...data.findings import Finding, Findings, findings_of
from ...data.formats import Example, Plain
from ...scoring.general import general_questions
from ...scoring.metrics import misfit
from ...scoring.questions import PLAIN, Question, Set
from ...template.turns import TurnFinder
from ..compared import Line
from .asked import Asked, Turns, asked_of
from .prompts import Room, plain
from .requests import Prompter, sent_tools
from .rows import Rows

SHIPPED = "general questions"
"""How the file of the questions that the project ships is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A question, and what chooses its examples."""

    asked: Asked
    question: Question
    row: Example


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafter:
    """Makes questions for one model."""

    prompter: Prompter
    finder: TurnFinder | None
    """None without a chat template."""
    room: Room
    turns: Turns
    reads_calls: bool
    """Whether the server reads calls of tools in answers."""

    def drafts(
        self,
        rows: Rows,
        chosen: Iterable[tuple[Line, Example]],
        bad: BadRows,
        *,
        of: Set,
        metrics: Sequence[MetricConfig],
    ) -> list[Draft]:
        """Questions of the chosen rows; every row that cannot be asked or scored is added to ``bad``.

        Raises:
            InvalidInput: a metric is none, the template takes no system prompt of the job, or a row has
                tools that the server does not take.
        """
        names = [file.name for file in rows.files]
        found: list[Draft] = []
        for line, row in chosen:
            place = names.index(line.file) + 1 if len(names) > 1 else None
            try:
                found += self._of_row(line, row, place, of, metrics)
            except Exception as error:
                for finding in findings_of(error):
                    name = rows.called(line.file)
                    bad.add(BadRow(line=line.number, kind=finding.kind, message=finding.message, file=name))
        return found

    def general(self) -> list[Draft]:
        """The general questions that the project ships; those that do not fit are left out."""
        found: list[Draft] = []
        for one in general_questions():
            row: Example
            if self.finder is None:
                row = Plain(prompt=one.ask, completion=one.expected)
            else:
                messages: tuple[Message, ...] = ({"role": "user", "content": one.ask},)
                messages += ({"role": "assistant", "content": one.expected},)
                row = Conversation(messages=messages, trained=(False, True))
            line = Line(SHIPPED, one.line)
            try:
                found += self._of_row(line, row, None, "General", ())
            except Findings:  # a template that wants a system message, or a tiny context
                continue
        return found

    def _of_row(
        self, line: Line, row: Example, place: int | None, of: Set, metrics: Sequence[MetricConfig]
    ) -> Iterator[Draft]:
        for asked in asked_of(line, row, self.turns, self.finder):
            if not self.reads_calls and (asked.tools or asked.calls):
                raise _no_parser(asked)
            question = Question(
                id=_identity(asked, place, of),
                set=of,
                file=line.file,
                line=line.number,
                turn=asked.turn,
                expected=asked.expected,
                expected_calls=asked.calls,
                tools=sent_tools(asked.tools),
                prompts={PLAIN: plain(asked, self.prompter, self.room)},
            )
            for metric in metrics:
                if why := misfit(metric, question):
                    message = f"The metric {metric.name} cannot score it: {why}."
                    raise Findings([Finding("metric_misfit", message)])
            yield Draft(asked=asked, question=question, row=row)


def metrics_of(config: EvaluationConfig, of: Set) -> list[MetricConfig]:
    """The metrics that score own rows of a set: of General only the one that decides."""
    return [one for one in config.metrics if of == "Main" or one.name == config.main_metric]


def _no_parser(asked: Asked) -> InvalidInput:
    what = "lists tools" if asked.tools else "expects a call of a tool"
    return InvalidInput(
        f"{asked.line.file}, line {asked.line.number}, {what}, and the server takes no tools without a "
        "parser of the model's calls: set serving.engineArgs.tool-call-parser to the one for this model, "
        "such as hermes, or leave such rows out of the evaluation."
    )


def _identity(asked: Asked, place: int | None, of: Set) -> str:
    """``[general-][file:]line[.turn]``; the file's place where there are several."""
    general = "general-" if of == "General" else ""
    file = "" if place is None else f"{place}:"
    turn = f".{asked.turn}" if asked.several else ""
    return f"{general}{file}{asked.line.number}{turn}"
