"""From spec.evaluation to the EvaluationConfig: names, defaults, and what the schema could not say. Pure."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final

import yaml

from kubetune_trainer.contract.config import FileSource
from kubetune_trainer.contract.evaluation import (
    BaselineConfig,
    EvaluationConfig,
    EvaluationData,
    GateConfig,
    GenerationConfig,
    JudgeConfig,
    MetricConfig,
    RegressionConfig,
)

from ..api.base import decimal_text
from ..api.v1alpha1 import FineTuneJob
from ..api.v1alpha1 import evaluation as api
from ..vocabulary.errors import SpecError
from .sources import Role, mount_of

_EXAMPLES: Final = {"Base": 0, "FewShot": 5, "Retrieval": 3}


def resolve_evaluation(job: FineTuneJob) -> EvaluationConfig | None:
    """Resolve what the spec leaves open; None without an evaluation.

    Raises SpecError where metrics ask for what the server is not started with.
    """
    evaluation = job.spec.evaluation
    if evaluation is None:
        return None
    _check_tool_calls(job, evaluation)
    return EvaluationConfig(
        data=_data(evaluation.dataset, "evaluation"),
        max_rows=evaluation.max_rows,
        generation=GenerationConfig(
            max_tokens=evaluation.generation.max_tokens,
            temperature=decimal_text(evaluation.generation.temperature),
            stop=evaluation.generation.stop or (),
        ),
        turns=evaluation.turns,
        metrics=tuple(_metric(metric, index) for index, metric in enumerate(evaluation.metrics)),
        baselines=tuple(
            BaselineConfig(type=b.type, examples=b.examples or _EXAMPLES[b.type])
            for b in evaluation.baselines
        ),
        gate=_gate(evaluation),
        on_leak=evaluation.on_leak,
    )


def _check_tool_calls(job: FineTuneJob, evaluation: api.Evaluation) -> None:
    engine = job.spec.serving.engine_args if job.spec.serving else None
    if engine is not None and engine.tool_call_parser is not None:
        return
    index = next((i for i, metric in enumerate(evaluation.metrics) if metric.type == "ToolCall"), None)
    if index is not None:
        raise SpecError(
            f"spec.evaluation.metrics[{index}]",
            "the server tells no calls of tools from text without a parser",
            "set serving.engineArgs.tool-call-parser to the one for this model, such as hermes",
        )


def _metric(metric: api.Metric, index: int) -> MetricConfig:
    judge = metric.judge
    return MetricConfig(
        name=metric.called,
        type=metric.type,
        **({} if metric.ignore is None else {"ignore": metric.ignore}),
        pattern=metric.pattern,
        tolerance=decimal_text(metric.tolerance or Decimal(0)),
        json_schema=_json_schema(metric.json_schema, index),
        judge=None
        if judge is None
        else JudgeConfig(
            url=judge.url,
            model=judge.model,
            rubric=judge.rubric,
            has_key=judge.credentials is not None,
            timeout_seconds=judge.timeout_seconds,
        ),
    )


def _json_schema(text: str | None, index: int) -> dict[str, Any] | None:
    """A schema that was written as text; whether it is one prepare says, which has the library for it."""
    if text is None:
        return None
    field = f"spec.evaluation.metrics[{index}].schema"
    try:
        schema = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SpecError(
            field, f"is neither JSON nor YAML ({str(error).splitlines()[0]})", "correct it"
        ) from None
    if not isinstance(schema, dict):
        raise SpecError(field, "is no object", 'write a JSON Schema, such as {"type": "object"}')
    try:
        json.dumps(schema)
    except TypeError as error:
        raise SpecError(field, f"holds what JSON has not ({error})", "put quotes around dates") from None
    return schema


def _gate(evaluation: api.Evaluation) -> GateConfig | None:
    gate = evaluation.gate
    if gate is None:
        return None
    regression = gate.must_not_regress
    return GateConfig(
        metric=gate.metric or evaluation.metrics[0].called,
        min_score=_optional(gate.min_score),
        min_delta=_optional(gate.min_delta),
        confidence=decimal_text(gate.confidence),
        must_not_regress=None
        if regression is None
        else RegressionConfig(
            data=_data(regression.dataset, "regression"), max_drop=decimal_text(regression.max_drop)
        ),
    )


def _data(data: api.EvaluationData | None, role: Role) -> EvaluationData | None:
    if data is None:
        return None
    source = FileSource(uri=data.uri, mount=mount_of(data.uri, role=role))
    columns = data.columns.manifest() if data.columns else {}
    return EvaluationData(source=source, format=data.format, columns=columns)


def _optional(value: Decimal | None) -> str | None:
    return None if value is None else decimal_text(value)
