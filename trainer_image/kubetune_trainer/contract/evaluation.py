"""How a result is evaluated, and what prepare and the evaluator tell of it. Pure pydantic."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, model_validator

from .config_base import ConfigModel, DecimalString, FileSource
from .messages_base import Count, Message, Number, Path, Sentence, Short

MetricType = Literal[
    "ExactMatch",
    "Contains",
    "Regex",
    "TokenF1",
    "RougeL",
    "NumericMatch",
    "JSONSchema",
    "ToolCall",
    "Judge",
]
Ignored = Literal["Case", "Punctuation", "Articles", "Whitespace"]
BaselineType = Literal["Base", "FewShot", "Retrieval"]
Verdict = Literal["Passed", "Failed", "Measured"]
"""Measured: there is no gate."""

TUNED: Final = "Tuned"
"""Name of the candidate that was trained; baselines have the name of their type."""

JUDGE_KEY: Final = "OPENAI_API_KEY"
"""Key of a judge's Secret."""

CANDIDATE_URL: Final = "KUBETUNE_CANDIDATE_URL"
"""Environment of the evaluator: base URL (ends in /v1) of the job's own server."""
CANDIDATE_MODEL: Final = "KUBETUNE_CANDIDATE_MODEL"
BASE_URL: Final = "KUBETUNE_BASE_URL"
"""Of the base model: the same server for an adapter, the baseline server for a full fine-tune."""
BASE_MODEL: Final = "KUBETUNE_BASE_MODEL"
API_KEYS: Final = "KUBETUNE_API_KEYS"
"""Folder with keys of the job's own servers, one in each file; unset where they ask for none."""
ARTIFACT_PATH: Final = "KUBETUNE_ARTIFACT_PATH"
"""Relative to the output volume."""
ARTIFACT_DIGEST: Final = "KUBETUNE_ARTIFACT_DIGEST"
OVERRIDE: Final = "KUBETUNE_OVERRIDE"
"""An Override as JSON, for the run that writes it into report and model card."""


def judge_variable(index: int) -> str:
    """Environment variable with the key of the judge of the metric at this place, from 0."""
    return f"JUDGE_{index}_{JUDGE_KEY}"


class EvaluationData(ConfigModel):
    """Rows that a result is evaluated with, and how to read them."""

    source: FileSource
    format: Literal["Auto", "Chat", "ShareGPT", "PromptCompletion", "Alpaca", "Text"] = "Auto"
    columns: dict[str, str] = Field(default_factory=dict)


class GenerationConfig(ConfigModel):
    """How answers are decoded, the same for every candidate."""

    max_tokens: int = 256
    temperature: DecimalString = "0"
    stop: tuple[str, ...] = ()


class JudgeConfig(ConfigModel):
    """A model that grades answers, behind an OpenAI-compatible URL."""

    url: str
    """Base URL; ends in /v1."""
    model: str
    rubric: str
    """What a good answer is; goes into the judge's prompt."""
    has_key: bool = False
    """Whether the pod's environment has its key (``judge_variable``)."""
    timeout_seconds: int = 60


class MetricConfig(ConfigModel):
    """How an answer is scored, from 0 to 1."""

    name: str
    """Unique among the metrics; the type, unless the spec says otherwise."""
    type: MetricType
    ignore: tuple[Ignored, ...] = ("Whitespace",)
    """ExactMatch, Contains: what differences do not count."""
    pattern: str | None = None
    """Regex: searched in the answer; a group that it has must capture the same as in what is expected."""
    tolerance: DecimalString = "0"
    """NumericMatch: largest difference."""
    json_schema: dict[str, Any] | None = None
    """JSONSchema: draft 2020-12 unless its $schema says otherwise."""
    judge: JudgeConfig | None = None


class BaselineConfig(ConfigModel):
    """What the result is compared with; all ask the base model."""

    type: BaselineType
    examples: int = 0
    """Training rows in the prompt (FewShot, Retrieval)."""


class RegressionConfig(ConfigModel):
    """What the result must not have forgotten."""

    data: EvaluationData | None = None
    """None: the general questions that the project ships."""
    max_drop: DecimalString
    """Largest drop against the base that passes."""


class GateConfig(ConfigModel):
    """What a result has to reach to be served; a gate that asks for nothing has a min_delta of 0."""

    metric: str
    """Name of one of the metrics."""
    min_score: DecimalString | None = None
    min_delta: DecimalString | None = None
    """Least difference to the best baseline; None: not compared."""
    confidence: DecimalString = "0.95"
    """Of intervals; the lower end of the difference's must reach min_delta, and be above 0."""
    must_not_regress: RegressionConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _asks_for_something(cls, data: Any) -> Any:
        asked = ("min_score", "min_delta", "must_not_regress")
        nothing = isinstance(data, dict) and all(data.get(name) is None for name in asked)
        return {**data, "min_delta": "0"} if nothing else data


class EvaluationConfig(ConfigModel):
    """What is asked, how answers are scored, and what has to come out."""

    data: EvaluationData | None = None
    """None: the validation rows."""
    max_rows: int = 200
    generation: GenerationConfig = GenerationConfig()
    turns: Literal["Last", "All"] = "Last"
    """Which of an assistant's turns of a conversation are asked for."""
    metrics: tuple[MetricConfig, ...]
    baselines: tuple[BaselineConfig, ...] = (BaselineConfig(type="Base"),)
    gate: GateConfig | None = None
    on_leak: Literal["Warn", "Fail"] = "Warn"

    @property
    def main_metric(self) -> str:
        """Name of the metric that decides, or is shown first."""
        return self.gate.metric if self.gate else self.metrics[0].name

    @property
    def confidence(self) -> DecimalString:
        """Of all intervals."""
        return self.gate.confidence if self.gate else "0.95"


class Override(ConfigModel):
    """A person's decision to serve a result that did not pass."""

    by: str
    """Field manager that set the annotation, as the API server has it."""
    reason: str
    time: str | None = None
    """RFC 3339."""


class EvaluationPlan(Message):
    """What prepare found of the evaluation, in its summary."""

    rows: Count
    """Questions that every candidate is asked."""
    prompt_tokens: dict[str, Count] = Field(default_factory=dict)
    """Mean tokens of a prompt, by candidate."""
    detectable_difference: Number | None = None
    """Smallest difference between two candidates that so many rows can show at the gate's confidence."""
    tokens_saved_per_request: Count = 0
    """Estimate: the shortest prompt with examples less the tuned model's."""
    break_even_requests: Count | None = None
    """Estimate: after so many requests the tokens saved are worth those trained on; None: never."""


Decimals = Annotated[str, StringConstraints(pattern=r"^-?[0-9]{1,12}([.][0-9]{1,12})?$")]
"""A number that is computed with, as text."""


class CandidateSummary(Message):
    """One candidate's numbers by the metric that decides; scores have four decimals."""

    name: Short
    score: Decimals
    low: Decimals
    high: Decimals
    wins: Count | None = None
    """Rows in which the tuned model is better than this one; None for the tuned model itself."""
    losses: Count | None = None
    ties: Count | None = None
    prompt_tokens: Count
    """Mean."""
    latency_seconds: Decimals
    """Mean."""
    seconds_per_request: Decimals
    """Time of the server: of all requests together, by their number."""
    scores: dict[Short, Decimals] = Field(default_factory=dict)
    """By the name of the metric."""


class EvaluateSummary(Message):
    """Summary of a completed evaluation."""

    artifact: Short
    """Digest of what was evaluated."""
    metric: Short
    rows: Count
    candidates: Annotated[tuple[CandidateSummary, ...], Field(max_length=8)]
    verdict: Verdict
    said: Annotated[str, StringConstraints(max_length=1024)]
    """The verdict in a sentence, with its numbers."""
    report: Path
    """Directory of the report, relative to the output volume."""
    tokens_saved_per_request: Count = 0
    override: Override | None = None
    """The decision that stands in the report and the model card."""
    warnings: Annotated[tuple[Sentence, ...], Field(max_length=5)] = ()
