"""Metrics by their configuration: every type but Judge, which asks a model (``judge``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..contract.evaluation import MetricConfig, MetricType
from .matches import Contains, ExactMatch, Regex
from .metric import Metric, Said
from .numeric import NumericMatch
from .overlap import RougeL, TokenF1
from .questions import Question
from .structured import JSONSchema, ToolCall

__all__ = ["METRICS", "Metric", "Said", "metric_of", "misfit"]

METRICS: Final[dict[MetricType, Callable[[MetricConfig], Metric]]] = {
    "ExactMatch": ExactMatch,
    "Contains": Contains,
    "Regex": Regex,
    "TokenF1": TokenF1,
    "RougeL": RougeL,
    "NumericMatch": NumericMatch,
    "JSONSchema": JSONSchema,
    "ToolCall": ToolCall,
}


def metric_of(config: MetricConfig) -> Metric:
    """The metric that a configuration describes.

    Raises:
        InvalidInput: its pattern or schema is none.
        KeyError: it is a Judge.
    """
    return METRICS[config.type](config)


def misfit(config: MetricConfig, question: Question) -> str | None:
    """Why a question cannot be scored by a metric, as the end of a sentence; None where it can.

    Raises:
        InvalidInput: as ``metric_of``, or a pattern that takes too long.
    """
    return None if config.type == "Judge" else metric_of(config).misfit(question)
