"""Makes the questions of an evaluation, with the prompts of every candidate, and checks all of them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from ...contract.config import TrainerConfig
from ...contract.errors import InvalidInput
from ...contract.evaluation import BaselineConfig, EvaluationConfig, EvaluationData
from ...contract.layout import RunDirectory
from ...contract.messages import DatasetSummary
from ...data.bad_rows import BadRows
from ...scoring.questions import PLAIN, Question, write_questions
from ...sources.source import DataFile, DataSource, Role
from .. import leaks, preview
from ..compared import Line
from ..reading import Reading
from ..staging import fetched
from . import judges, leaked, plan
from .corpus import MOST_ROWS, Corpus
from .draft import Draft, Drafter, metrics_of
from .exchange import exchange_of
from .files import Evaluation
from .prompts import Chooser, Examples, Room
from .requests import Prompter
from .rows import FIELDS, Rows, config_of, no_examples, spread

logger = logging.getLogger(__name__)

MOST_GENERAL = 200
"""Questions of the set General."""

_LOGGED = 2


@dataclass(slots=True, kw_only=True)
class Stage:
    """What questions are made from."""

    config: TrainerConfig
    evaluation: EvaluationConfig
    sources: Mapping[Role, DataSource]
    """Of the job's rows and of the evaluation's own."""
    prepared: RunDirectory
    """Where the job's rows are."""
    rows: DatasetSummary
    reading: Reading
    scratch: Path
    context: int | None
    """Tokens that the server holds; None where nothing limits them."""
    _files: dict[Role, Sequence[DataFile]] = field(default_factory=dict, init=False)

    def write(self) -> Evaluation:
        """Write the questions, and what leaked, into ``evaluation/`` of ``scratch``.

        Raises:
            DataInvalid: rows or files cannot be used; all bad rows are in ``errors.jsonl`` of ``scratch``.
            InvalidInput: nothing can be asked, or too little for the gate, or a judge cannot be asked.
            Transient: a judge does not answer now.
        """
        staged, errors = RunDirectory(self.scratch), self.scratch / self.prepared.errors_file.name
        staged.evaluation.mkdir(exist_ok=True)
        drafter = self._drafter()
        with closing(BadRows(errors)) as bad:
            main, general, told = self._drafts(drafter, bad)
            plan.require_decidable(self.evaluation, len(main))
            compared = self.evaluation.data is not None and self.config.dataset.train is not None
            known = leaked.Known() if compared else None
            corpus = self._corpus(known, bad)
            found = self._leaks(main, known, staged.evaluation_leaks_file)
            if found.leaked and self.evaluation.on_leak == "Fail":
                lines = len(_lines(main))
                raise leaks.refusal(
                    staged.evaluation_leaks_file, errors, found.leaked, lines, leaks.EVALUATION
                )
            questions, warnings = self._with_examples(main, corpus, drafter, bad)
        kinds = leaked.kinds(staged.evaluation_leaks_file)
        questions = [
            one.model_copy(update={"leak": kinds.get(Line(one.file, one.line))}) for one in questions
        ]
        write_questions([*questions, *(draft.question for draft in general)], staged.questions_file)
        made = plan.plan_of(self.config, questions, self.rows)
        self._show(main, drafter.prompter)
        judges.check(self.evaluation, questions[0])
        told += leaks.warnings(found, len(_lines(main)), leaks.EVALUATION)
        told += [*warnings, *plan.warnings(made, self.evaluation.gate)]
        return Evaluation(plan=made, warnings=tuple(told))

    def _drafter(self) -> Drafter:
        answer = self.evaluation.generation.max_tokens
        if self.context is not None and answer >= self.context:
            raise InvalidInput(
                f"evaluation.generation.maxTokens {answer:,} leaves no room for a prompt in the server's "
                f"{self.context:,} tokens: lower it, or raise max-model-len in serving.engineArgs if the "
                "model reads more."
            )
        finder = self.reading.tokeniser.turns
        return Drafter(
            prompter=Prompter(self.reading.tokenizer, finder.template if finder else None),
            finder=finder,
            room=Room(context=self.context, answer=answer),
            turns=self.evaluation.turns,
            reads_calls=self.config.serving is not None and self.config.serving.tool_call_parser,
        )

    def _drafts(self, drafter: Drafter, bad: BadRows) -> tuple[list[Draft], list[Draft], list[str]]:
        """Questions of the sets Main and General, and warnings; all bad rows of both are found together."""
        evaluation, gate = self.evaluation, self.evaluation.gate
        regression = gate.must_not_regress if gate else None
        own = regression.data if regression else None
        rows = self._rows(self._asked_role, evaluation.data)
        lines = self._validation_lines() if evaluation.data is None else _all_lines(rows, bad)
        others = self._rows("regression", own) if own else None
        other_lines = _all_lines(others, bad) if others else []
        _require_good(bad, len(lines) + len(other_lines) + bad.count)
        chosen = self._chosen(lines, evaluation.max_rows)
        kept = rows.read(bad, keep=chosen.__contains__)
        main = drafter.drafts(rows, kept, bad, of="Main", metrics=metrics_of(evaluation, "Main"))
        if others is not None:
            few = self._chosen(other_lines, MOST_GENERAL)
            kept = others.read(bad, keep=few.__contains__)
            metrics = metrics_of(evaluation, "General")
            general = drafter.drafts(others, kept, bad, of="General", metrics=metrics)
        else:
            few, general = set(), drafter.general() if regression else []
        _require_good(bad, len(chosen) + len(few))
        if not main:
            raise InvalidInput(f"{self._asked_field} has no rows to ask: give it some.")
        if regression and not general:
            raise InvalidInput(
                "evaluation.gate.mustNotRegress has no questions to ask: give its dataset rows, or remove it."
            )
        own_rows = [each for each in (rows, others) if each and each.role in ("evaluation", "regression")]
        return main, general, [warning for each in own_rows for warning in each.warnings]

    @property
    def _asked_role(self) -> Role:
        """Whose files have the rows that are asked about."""
        if self.evaluation.data is not None:
            return "evaluation"
        return "validation" if self.config.dataset.validation is not None else "train"

    @property
    def _asked_field(self) -> str:
        return FIELDS["evaluation"] if self.evaluation.data is not None else "dataset.validation"

    def _rows(self, role: Role, data: EvaluationData | None = None, *, asked: bool = True) -> Rows:
        if role not in self._files:
            self._files[role] = self.sources[role].fetch(fetched(self.scratch, role))
        return Rows(
            files=self._files[role],
            role=role,
            asked=asked,
            config=config_of(self.config.dataset, data),
            has_template=self.reading.tokeniser.has_template,
            control=self.reading.control,
        )

    def _validation_lines(self) -> list[Line]:
        """Where the validation rows stand that prepare kept."""
        lines = json.loads(self.prepared.validation_lines_file.read_bytes())
        return [Line(file, number) for file, numbers in lines.items() for number in numbers]

    def _chosen(self, lines: Sequence[Line], most: int) -> set[Line]:
        return {lines[index] for index in spread(len(lines), most, seed=self.config.training.seed)}

    def _training_rows(self) -> tuple[Rows, set[Line]]:
        """The rows of the training files, and those of them that are held out."""
        fraction = self.config.dataset.validation_fraction is not None
        return self._rows("train", asked=False), set(self._validation_lines()) if fraction else set()

    def _corpus(self, known: leaked.Known | None, bad: BadRows) -> Corpus | None:
        """Read the training rows for what needs them: examples, and ``known``; None without examples."""
        examples = any(baseline.type != "Base" for baseline in self.evaluation.baselines)
        if not examples and known is None:
            return None
        train, held_out = self._training_rows()
        rows = train.read(bad, keep=lambda line: line not in held_out)
        if known is not None:
            rows = known.passing(rows)
        if examples:
            corpus = Corpus.sample(rows, seed=self.config.training.seed)
            if not len(corpus):
                raise no_examples()
            return corpus
        for _ in rows:
            pass
        return None

    def _leaks(self, main: Sequence[Draft], known: leaked.Known | None, path: Path) -> leaks.Found:
        if known is None:
            return leaked.of_validation(self.prepared.leaks_file, _lines(main), path)
        asked = leaked.Known()
        for line, draft in _lines(main).items():
            asked.add(line, draft.row)
        return leaked.of_own(known, asked, path)

    def _with_examples(
        self, main: Sequence[Draft], corpus: Corpus | None, drafter: Drafter, bad: BadRows
    ) -> tuple[list[Question], list[str]]:
        """The questions with the prompts of every candidate, and what users should know about those."""
        if corpus is None:
            return [draft.question for draft in main], []
        chooser = Chooser(self.evaluation.baselines, corpus, seed=self.config.training.seed)
        chosen = [chooser.lines(draft.asked) for draft in main]
        wanted = {line for lines in chosen for examples in lines.values() for line in examples}
        train, _ = self._training_rows()
        found = ((line, exchange_of(row)) for line, row in train.read(bad, keep=wanted.__contains__))
        exchanges = {line: exchange for line, exchange in found if exchange is not None}
        examples = Examples(exchanges=exchanges, prompter=drafter.prompter, room=drafter.room)
        questions = []
        for draft, lines in zip(main, chosen, strict=True):
            prompts = {name: examples.prompt(name, draft.asked, some) for name, some in lines.items()}
            prompts = {PLAIN: draft.question.prompts[PLAIN], **prompts}
            questions.append(draft.question.model_copy(update={"prompts": prompts}))
        few = _too_few(self.evaluation.baselines, len(corpus))
        return questions, [*_of_corpus(corpus), *few, *examples.warnings(len(main))]

    def _show(self, main: Sequence[Draft], prompter: Prompter) -> None:
        """Write some questions to the log as the server will read them."""
        for draft in main[:_LOGGED]:
            asked = draft.asked
            text = (
                asked.before
                if isinstance(asked.before, str)
                else prompter.rendered(asked.before, asked.tools)
            )
            runs = [preview.Run("context", text), preview.Run("learned", draft.question.expected)]
            logger.info(
                "question %s as the server will read it, the expected answer in ⟦⟧: %s",
                draft.question.id,
                preview.as_text(runs),
            )


def _all_lines(rows: Rows, bad: BadRows) -> list[Line]:
    return [line for line, _ in rows.read(bad)]


def _lines(drafts: Iterable[Draft]) -> dict[Line, Draft]:
    """The rows that are asked about, each with one of its questions."""
    return {draft.asked.line: draft for draft in drafts}


def _require_good(bad: BadRows, read: int) -> None:
    if bad.count:
        raise bad.error(read)


def _too_few(baselines: Sequence[BaselineConfig], rows: int) -> list[str]:
    return [
        f"evaluation.baselines {one.type} asks for {one.examples} examples, and there are {rows:,} different "
        "training rows: its prompts have fewer."
        for one in baselines
        if one.examples > rows
    ]


def _of_corpus(corpus: Corpus) -> list[str]:
    if corpus.seen <= MOST_ROWS:
        return []
    return [
        f"Examples of FewShot and Retrieval are chosen from {MOST_ROWS:,} of {corpus.seen:,} training rows, "
        "drawn by training.seed."
    ]
