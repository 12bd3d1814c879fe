"""spec.evaluation: what the result is asked, what it is compared with, and what it has to reach."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, StringConstraints

from kubetune.api.base import ATOMIC, DecimalString, ListMap, ObjectName, Rule, SpecModel
from kubetune.api.v1alpha1.dataset import Columns, DataFile
from kubetune_trainer.contract.evaluation import BaselineType, Ignored, MetricType

_Name = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$", max_length=32)
]
_Stop = Annotated[str, StringConstraints(min_length=1, max_length=64)]
_Url = Annotated[
    str,
    StringConstraints(
        pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$", max_length=512
    ),
]
_Schema = Annotated[str, StringConstraints(min_length=2, max_length=16384)]

MOST_METRICS: Final = 8


class EvaluationData(DataFile):
    """Rows that a result is evaluated with, and how they are read."""

    format: Literal["Auto", "Chat", "ShareGPT", "PromptCompletion", "Alpaca"] = "Auto"
    """How rows are read, as in dataset.format."""
    columns: Columns | None = None
    """The data's own column names for the standard ones."""


class Generation(SpecModel):
    """How answers are decoded, the same for every candidate."""

    max_tokens: int = Field(default=256, ge=1, le=32768, strict=True)
    """Longest answer in tokens; longer ones are cut, and counted in the report."""
    temperature: DecimalString = Decimal("0")
    """0 takes the most probable token each time."""
    stop: tuple[_Stop, ...] | None = Field(default=None, max_length=4)
    """Texts at which an answer ends, besides the model's own."""


class JudgeCredentials(SpecModel):
    """A Secret with a judge's key."""

    secret_name: ObjectName
    """Secret in the job's namespace with OPENAI_API_KEY. Only prepare and the evaluator get it."""


class Judge(SpecModel):
    """A model that grades answers, behind an OpenAI-compatible URL."""

    url: _Url
    """Base URL, such as https://models.example.com/v1; prepare and the evaluator must reach it."""
    model: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    """Name of the model there."""
    credentials: JudgeCredentials | None = None
    """Secret with its key; without one none is sent."""
    rubric: Annotated[str, StringConstraints(min_length=1, max_length=8192)]
    """What a good answer is. The judge sees conversation, expected answer and answer; grades are 1 to 5."""
    timeout_seconds: int = Field(default=60, ge=1, le=600, strict=True)
    """How long one grade may take."""


def _is_for(field: str, alias: str, *types: str) -> Rule:
    listed = " and ".join(types)
    cel = " || ".join(f"self.type == '{kind}'" for kind in types)
    return Rule(
        cel=f"!has(self.{alias}) || {cel}",
        check=lambda metric: getattr(metric, field) is None or metric.type in types,
        path=f".{alias}",
        message=f"is for {listed} alone; remove it, or choose that type",
    )


def _needs(type_: str, field: str, alias: str) -> Rule:
    return Rule(
        cel=f"self.type != '{type_}' || has(self.{alias})",
        check=lambda metric: metric.type != type_ or getattr(metric, field) is not None,
        path=f".{alias}",
        message=f"{type_} needs {alias}; add it",
    )


class Metric(SpecModel):
    """How an answer is scored, from 0 to 1; docs/reference/evaluation-metrics.md has the rules."""

    rules: ClassVar = (
        _needs("Regex", "pattern", "pattern"),
        _needs("JSONSchema", "json_schema", "schema"),
        _needs("Judge", "judge", "judge"),
        _is_for("ignore", "ignore", "ExactMatch", "Contains"),
        _is_for("pattern", "pattern", "Regex"),
        _is_for("tolerance", "tolerance", "NumericMatch"),
        _is_for("json_schema", "schema", "JSONSchema"),
        _is_for("judge", "judge", "Judge"),
    )

    type: MetricType
    """ExactMatch: the expected answer and nothing else. Contains: it stands in the answer. Regex: pattern is
    found. TokenF1, RougeL: common words, as for SQuAD and summaries. NumericMatch: the last number is the
    expected one. JSONSchema: JSON that fits schema. ToolCall: the expected calls by name and arguments.
    Judge: a model's grade."""
    name: _Name | None = None
    """Name in gate, status and report. Default: the type; two metrics of one type need names."""
    ignore: Annotated[tuple[Ignored, ...], Field(max_length=4)] | None = None
    """Differences that do not count (ExactMatch, Contains). Default: Whitespace."""
    pattern: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = None
    """Regular expression that is searched in the answer (Regex). A group in it must capture what it captures
    in the expected answer."""
    tolerance: DecimalString | None = None
    """Largest difference (NumericMatch). Default: 0."""
    json_schema: _Schema | None = Field(default=None, alias="schema")
    """JSON Schema that the answer must fit, as JSON or YAML text (JSONSchema)."""
    judge: Judge | None = None
    """Who grades, and by what (Judge)."""

    @property
    def called(self) -> str:
        """Its name."""
        return self.name or self.type


class Baseline(SpecModel):
    """What the result is compared with."""

    rules: ClassVar = (
        Rule(
            cel="self.type != 'Base' || !has(self.examples)",
            check=lambda baseline: baseline.type != "Base" or baseline.examples is None,
            path=".examples",
            message="Base is asked without examples; remove it, or choose FewShot or Retrieval",
        ),
    )

    type: BaselineType
    """Base: the base model with the same prompt. FewShot: with training rows before it. Retrieval: with the
    training rows that are nearest to it (BM25)."""
    examples: int | None = Field(default=None, ge=1, le=64, strict=True)
    """Training rows in the prompt. Default: 5 for FewShot, 3 for Retrieval."""


class Regression(SpecModel):
    """What the result must not have forgotten."""

    dataset: EvaluationData | None = None
    """Rows of another kind, scored by gate.metric. Default: the general questions that KubeTune brings."""
    max_drop: DecimalString
    """Largest drop of the score against the base model that passes, such as "0.02"."""


def _at_most_one(field: str, alias: str) -> Rule:
    return Rule(
        cel=f"!has(self.{alias}) || double(self.{alias}) <= 1.0",
        check=lambda gate: getattr(gate, field) is None or getattr(gate, field) <= 1,
        path=f".{alias}",
        message='scores are from 0 to 1; write for example "0.6"',
    )


class Gate(SpecModel):
    """What a result has to reach to be served."""

    rules: ClassVar = (
        _at_most_one("min_score", "minScore"),
        _at_most_one("min_delta", "minDelta"),
        Rule(
            cel="double(self.confidence) >= 0.5 && double(self.confidence) < 1.0",
            check=lambda gate: Decimal("0.5") <= gate.confidence < 1,
            path=".confidence",
            message='must be at least 0.5 and below 1; write for example "0.95"',
        ),
    )

    metric: _Name | None = None
    """Name of the metric that decides. Default: the first one."""
    min_score: DecimalString | None = None
    """Least score, such as "0.6"."""
    min_delta: DecimalString | None = None
    """By how much the result must be better than the best baseline, with the confidence that is asked for,
    such as "0.05"; "0" takes any difference that is no accident. Default: "0" where the gate asks for nothing
    else."""
    confidence: DecimalString = Decimal("0.95")
    """Of the intervals that decide."""
    must_not_regress: Regression | None = None
    """What the result must not have forgotten."""


class Evaluation(SpecModel):
    """How the result is judged before it is served, by its own server."""

    model_config = ATOMIC

    rules: ClassVar = (
        Rule(
            cel="self.metrics.all(m, self.metrics.exists_one(n, "
            "(has(n.name) ? n.name : n.type) == (has(m.name) ? m.name : m.type)))",
            check=lambda evaluation: len({m.called for m in evaluation.metrics}) == len(evaluation.metrics),
            path=".metrics",
            message="two metrics have one name; give each its own name",
        ),
        Rule(
            cel="!has(self.gate) || !has(self.gate.metric) || "
            "self.metrics.exists(m, (has(m.name) ? m.name : m.type) == self.gate.metric)",
            check=lambda evaluation: (
                evaluation.gate is None
                or evaluation.gate.metric is None
                or evaluation.gate.metric in {m.called for m in evaluation.metrics}
            ),
            path=".gate.metric",
            message="none of the metrics has this name; add the metric, or name another",
        ),
        Rule(
            cel="!has(self.gate) || size(self.baselines) > 0 || "
            "(!has(self.gate.minDelta) && (has(self.gate.minScore) || has(self.gate.mustNotRegress)))",
            check=lambda evaluation: (
                evaluation.gate is None
                or bool(evaluation.baselines)
                or (
                    evaluation.gate.min_delta is None
                    and (evaluation.gate.min_score, evaluation.gate.must_not_regress) != (None, None)
                )
            ),
            path=".gate",
            message="there is no baseline to be better than; add one, or ask for minScore alone",
        ),
    )

    dataset: EvaluationData | None = None
    """Rows with the answers that are expected. Default: the validation rows."""
    max_rows: int = Field(default=200, ge=1, le=100000, strict=True)
    """Rows that are asked: more are sampled."""
    generation: Generation = Field(default_factory=Generation)
    """How answers are decoded."""
    turns: Literal["Last", "All"] = "Last"
    """Which of the assistant's turns of a conversation are asked for."""
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1, max_length=MOST_METRICS)]
    """How answers are scored."""
    baselines: Annotated[tuple[Baseline, ...], Field(max_length=3), ListMap("type")] = (
        Baseline(type="Base"),
    )
    """What the result is compared with."""
    gate: Gate | None = None
    """What the result has to reach to be served. Without it everything is measured, and nothing held back."""
    on_leak: Literal["Warn", "Fail"] = "Warn"
    """What follows when evaluation rows stand in the training rows as well."""
