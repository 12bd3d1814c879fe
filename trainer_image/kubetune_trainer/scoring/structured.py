"""Metrics of what programs read: JSONSchema, ToolCall."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator, SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend, validator_for
from referencing.exceptions import Unresolvable
from referencing.jsonschema import EMPTY_REGISTRY
from typing_extensions import override

from ..contract.errors import InvalidInput, first_line
from ..contract.evaluation import MetricConfig
from .bounded import bounded_search
from .metric import Metric, Said
from .questions import Question

_FENCE = re.compile(r"\s*```(?:json|JSON)?[ \t]*\n(.*?)\n?[ \t]*```\s*", re.DOTALL)


class JSONSchema(Metric):
    """1 if the answer is JSON that fits the schema.

    Nothing may stand around the JSON but a fence of Markdown (```json), which clients strip. ``format`` is
    not checked, as in the specification; a ``$ref`` into the network is not followed.

    Raises:
        InvalidInput: there is no schema, or it is none.
    """

    def __init__(self, config: MetricConfig) -> None:
        self.name = config.name
        self._field = f"evaluation.metrics[{config.name}].schema"
        if config.json_schema is None:
            raise InvalidInput(f"{self._field} is missing: give the schema that an answer has to fit.")
        if not isinstance(config.json_schema.get("$schema", ""), str):
            raise InvalidInput(f"{self._field}.$schema is no text: name a dialect, or remove it.")
        dialect = validator_for(config.json_schema, default=Draft202012Validator)
        try:
            dialect.check_schema(config.json_schema)
        except SchemaError as error:
            at = "".join(f".{part}" for part in error.absolute_path)
            raise InvalidInput(f"{self._field}{at} is no JSON Schema: {first_line(error)}.") from None
        searching = {
            "pattern": self._pattern,
            "patternProperties": self._pattern_properties,
            "additionalProperties": self._additional_properties,
        }
        bounded = extend(dialect, searching)  # type: ignore[no-untyped-call]
        self._validator: Validator = bounded(config.json_schema, registry=EMPTY_REGISTRY)

    @override
    def score(self, question: Question, said: Said) -> float:
        return float(self._why_not(said.text) is None)

    @override
    def misfit(self, question: Question) -> str | None:
        why = self._why_not(question.expected)
        return why and f"its expected answer {why}"

    def _why_not(self, text: str) -> str | None:
        fenced = _FENCE.fullmatch(text)
        try:
            value = json.loads(fenced[1] if fenced else text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return "is not JSON"
        try:
            return None if self._validator.is_valid(value) else "does not fit the metric's schema"
        except Unresolvable as error:
            raise InvalidInput(
                f"{self._field} refers to {error.ref}, which is not in it: only references within the schema "
                "are followed; copy it there, under $defs."
            ) from None
        except RecursionError:
            raise InvalidInput(f"{self._field} refers to itself without an end: correct its $ref.") from None

    def _pattern(
        self, validator: Validator, pattern: str, instance: object, schema: object
    ) -> Iterator[ValidationError]:
        if isinstance(instance, str) and not self._finds(pattern, instance):
            yield ValidationError(f"{pattern} is not found")

    def _pattern_properties(
        self, validator: Any, patterns: Mapping[str, Any], instance: object, schema: object
    ) -> Iterator[ValidationError]:
        if isinstance(instance, dict):
            for pattern, below in patterns.items():
                for name, value in instance.items():
                    if self._finds(pattern, name):
                        yield from validator.descend(value, below)

    def _additional_properties(
        self, validator: Any, below: object, instance: object, schema: Mapping[str, Any]
    ) -> Iterator[ValidationError]:
        named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        for name, value in instance.items() if isinstance(instance, dict) else ():
            if name not in named and not any(self._finds(pattern, name) for pattern in patterns):
                yield from validator.descend(value, below)

    def _finds(self, pattern: str, text: str) -> bool:
        return bounded_search(pattern, text, f"A pattern in {self._field}") is not None


class ToolCall(Metric):
    """1 if the calls are those that are expected: as many, in order, with the same names and arguments.

    Arguments are compared as JSON values: the order of their keys does not count, and 1 is 1.0. What is said
    beside the calls does not count.
    """

    def __init__(self, config: MetricConfig) -> None:
        self.name = config.name

    @override
    def score(self, question: Question, said: Said) -> float:
        return float(_same(_calls(said.tool_calls), _calls(question.expected_calls)))

    @override
    def misfit(self, question: Question) -> str | None:
        if not question.expected_calls:
            return "its expected answer calls no tool"
        return None if question.tools else "it lists no tools, and without them a server reads no calls"


def _calls(calls: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Name and arguments; arguments that are no JSON stay text, and so equal none."""
    found = []
    for call in calls:
        function = call.get("function") or {}
        arguments = function.get("arguments") or {}
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments, parse_constant=_refuse)
            except (ValueError, RecursionError):
                arguments = [arguments]
        found.append({"name": function.get("name"), "arguments": arguments})
    return found


def _same(one: object, other: object) -> bool:
    """Whether two JSON values are equal; in Python True is 1, in JSON it is not."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, Sequence) and isinstance(other, Sequence) and not isinstance(one, str):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
