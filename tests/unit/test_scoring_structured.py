"""Metrics of what programs read, and of numbers."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from kubetune_trainer.contract.errors import InvalidInput
from kubetune_trainer.scoring.metrics import Said, metric_of, misfit
from kubetune_trainer.scoring.numeric import last_number
from tests.support.scored_questions import metric, question, score, why_not

GSM8K = (
    "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n"
    "Natalia sold 48+24 = <<48+24=72>>72 clips altogether in April and May.\n#### 72"
)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (GSM8K, "72"),
        ("Weng earns 12/60 = $<<12/60=0.2>>0.2 per minute.\n#### 10", "10"),
        ("#### 1,125", "1125"),
        ("The answer is \\boxed{72}.", "72"),
        ("It costs $1,234.50.", "1234.50"),
        ("12'345'678 Fr.", "12345678"),
        ("1\u202f000 km", "1000"),
        ("1,2345", "2345"),
        ("1, 2, 3", "3"),
        ("1,2,3", "3"),
        (".5", "0.5"),
        ("3.5.", "3.5"),
        ("-5", "-5"),
        ("\u22125", "-5"),
        ("+5", "5"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("10-5", "5"),
        ("pages 3\u20135", "5"),
        ("(3)-2", "2"),
        ("Answer:-.5", "-0.5"),
        ("50 %", "50"),
        ("50%", "50"),
        ("6.02e23", "6.02e23"),
        ("2e-4", "0.0002"),
        ("5e", "5"),
        ("1e9999999999", "9999999999"),
        ("\u0663\u0664", "34"),
    ],
)
def test_the_last_number_is_read(text: str, number: str) -> None:
    assert last_number(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "four", "-", ".", "$"])
def test_a_text_can_have_no_number(text: str) -> None:
    assert last_number(text) is None


@pytest.mark.parametrize(
    ("tolerance", "expected", "said", "worth"),
    [
        ("0", GSM8K, "First 24, so the answer is 72.", 1),
        ("0", GSM8K, "The answer is 72, of 100.", 0),
        ("0", "72", "72.0", 1),
        ("0", "72", "seventy-two", 0),
        ("0", "0.1", "0.10000000000000000001", 0),
        ("0.05", "3.14", "3.19", 1),
        ("0.05", "3.14", "3.1900001", 0),
        ("1e-3", "1", "0.999", 1),
        ("0", "1e999", "-1e999", 0),
    ],
)
def test_numbers_are_compared_exactly(tolerance: str, expected: str, said: str, worth: float) -> None:
    assert score(metric("NumericMatch", tolerance=tolerance), expected, said) == worth


REQUIRED = {"properties": {"foo": {}, "bar": {}}, "required": ["foo"]}

PATTERNS = {
    "properties": {"foo": {}, "bar": {}},
    "patternProperties": {"^v": {}},
    "additionalProperties": False,
}
OTHERS = {"properties": {"foo": {}, "bar": {}}, "additionalProperties": {"type": "boolean"}}


@pytest.mark.parametrize(
    ("schema", "value", "valid"),
    [
        # JSON-Schema-Test-Suite, draft 2020-12
        (REQUIRED, {"foo": 1}, True),
        (REQUIRED, {"bar": 1}, False),
        (REQUIRED, [], True),
        ({"type": "integer"}, 1.0, True),
        ({"type": "integer"}, 1.1, False),
        ({"type": "integer"}, "1", False),
        ({"const": False}, 0, False),
        ({"const": False}, False, True),
        ({"pattern": "^a*$"}, "aaa", True),
        ({"pattern": "^a*$"}, "abc", False),
        ({"pattern": "^a*$"}, 42, True),
        ({"prefixItems": [{"type": "integer"}], "items": False}, [1], True),
        ({"prefixItems": [{"type": "integer"}], "items": False}, [1, 2], False),
        ({"properties": {"foo": {"$ref": "#"}}, "additionalProperties": False}, {"foo": {"foo": 0}}, True),
        ({"properties": {"foo": {"$ref": "#"}}, "additionalProperties": False}, {"foo": {"bar": 0}}, False),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, {"minLength": 1}, True),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, {"minLength": -1}, False),
        ({"format": "date"}, "no date", True),
        (PATTERNS, {"foo": 1}, True),
        (PATTERNS, {"foo": 1, "bar": 2, "quux": "boom"}, False),
        (PATTERNS, [1, 2, 3], True),
        (PATTERNS, {"foo": 1, "vroom": 2}, True),
        (OTHERS, {"foo": 1, "bar": 2, "quux": True}, True),
        (OTHERS, {"foo": 1, "bar": 2, "quux": 12}, False),
        ({"patternProperties": {"f.*o": {"type": "integer"}}}, {"foo": 1, "foooooo": 2}, True),
        ({"patternProperties": {"f.*o": {"type": "integer"}}}, {"foo": "bar", "fooooo": 2}, False),
        ({"patternProperties": {"f.*": True, "b.*": False}}, {"foo": 1}, True),
        ({"patternProperties": {"f.*": True, "b.*": False}}, {"bar": 2}, False),
        # draft 4, where exclusiveMinimum says whether, and not which
        (
            {
                "$schema": "http://json-schema.org/draft-04/schema#",
                "minimum": 1.1,
                "exclusiveMinimum": True,
            },
            1.1,
            False,
        ),
    ],
)
def test_the_vectors_of_json_schema(schema: dict[str, Any], value: object, valid: bool) -> None:
    assert score(metric("JSONSchema", json_schema=schema), "", json.dumps(value)) == valid


@pytest.mark.parametrize(
    ("said", "worth"),
    [
        ('{"a": 1}', 1),
        ('\n {"a": 1} \n', 1),
        ('```json\n{"a": 1}\n```', 1),
        ('```\n{"a": 1}\n```\n', 1),
        ('Here you are:\n```json\n{"a": 1}\n```', 0),
        ('{"a": 1} That is all.', 0),
        ("{'a': 1}", 0),
        ('{"a": NaN}', 0),
        ("", 0),
        ("[" * 100_000, 0),
    ],
)
def test_an_answer_is_json_and_nothing_else(said: str, worth: float) -> None:
    assert score(metric("JSONSchema", json_schema={}), "{}", said) == worth


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        (None, "evaluation.metrics[m].schema is missing: give the schema that an answer has to fit."),
        (
            {"properties": {"a": {"type": "text"}}},
            "evaluation.metrics[m].schema.properties.a.type is no JSON Schema: 'text' is not valid under "
            "any of the given schemas.",
        ),
        (
            {"$schema": ["draft-07"]},
            "evaluation.metrics[m].schema.$schema is no text: name a dialect, or remove it.",
        ),
        (
            {"pattern": "("},
            "evaluation.metrics[m].schema.pattern is no JSON Schema: '(' is not a 'regex'.",
        ),
    ],
)
def test_a_schema_that_is_none_is_told(schema: dict[str, Any] | None, sentence: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        metric_of(metric("JSONSchema", json_schema=schema))

    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        (
            "https://localhost:1/schema.json",
            "refers to https://localhost:1/schema.json, which is not in it: only references within the "
            "schema are followed; copy it there, under $defs.",
        ),
        (
            "#/$defs/address",
            "refers to /$defs/address, which is not in it: only references within the schema are followed; "
            "copy it there, under $defs.",
        ),
        ("#", "refers to itself without an end: correct its $ref."),
    ],
)
def test_a_reference_that_leads_nowhere_is_told(reference: str, sentence: str) -> None:
    """And nothing is fetched."""
    with pytest.raises(InvalidInput) as caught:
        why_not(metric("JSONSchema", json_schema={"$ref": reference}), "{}")

    assert str(caught.value) == f"evaluation.metrics[m].schema {sentence}"


ENDLESS = r"^(?:a|aa)+$"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"items": {"pattern": ENDLESS}}, ["a" * 60 + "!"]),
        ({"patternProperties": {ENDLESS: True}}, {"a" * 60 + "!": 1}),
        ({"additionalProperties": False, "patternProperties": {ENDLESS: True}}, {"a" * 60 + "!": 1}),
    ],
)
def test_a_schemas_pattern_that_takes_for_ever_is_told(schema: dict[str, Any], said: object) -> None:
    endless = metric("JSONSchema", json_schema=schema)
    with pytest.raises(InvalidInput) as caught:
        score(endless, "", json.dumps(said))

    assert str(caught.value) == (
        "A pattern in evaluation.metrics[m].schema takes more than 1 s to search one answer: write it "
        "without repetitions inside of repetitions."
    )


def test_an_expected_answer_that_does_not_fit_is_told() -> None:
    config = metric("JSONSchema", json_schema=REQUIRED)

    assert why_not(config, '{"bar": 1}') == "its expected answer does not fit the metric's schema"
    assert why_not(config, "foo") == "its expected answer is not JSON"
    assert why_not(config, '{"foo": 1}') is None


def call(name: str, arguments: object, **more: Any) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments, **more}}


WEATHER = call("weather", {"city": "Rome", "days": 2})


@pytest.mark.parametrize(
    ("expected", "said", "worth"),
    [
        ([WEATHER], [WEATHER], 1),
        ([WEATHER], [call("weather", '{"days": 2.0, "city": "Rome"}')], 1),
        ([WEATHER], [call("weather", '{"days": 2, "city": "Oslo"}')], 0),
        ([WEATHER], [call("weather", '{"city": "Rome"}')], 0),
        ([WEATHER], [call("forecast", '{"days": 2, "city": "Rome"}')], 0),
        ([WEATHER], [call("weather", '{"days": 2, "city": "Ro')], 0),
        ([WEATHER], [], 0),
        ([WEATHER], [WEATHER, WEATHER], 0),
        ([call("a", {}), call("b", {})], [call("b", {}), call("a", {})], 0),
        ([call("now", {})], [call("now", "")], 1),
        ([call("now", {})], [call("now", None)], 1),
        ([call("set", {"on": True})], [call("set", '{"on": 1}')], 0),
        ([call("set", {"at": [1, {"x": None}]})], [call("set", '{"at": [1.0, {"x": null}]}')], 1),
        ([call("set", {"at": [1, 2]})], [call("set", '{"at": [2, 1]}')], 0),
        ([call("set", {"x": "1"})], [call("set", '{"x": 1}')], 0),
        ([WEATHER], [{"type": "custom"}], 0),
    ],
)
def test_calls_are_compared_as_json(
    expected: list[dict[str, Any]], said: list[dict[str, Any]], worth: float
) -> None:
    asked = question("", *expected)

    assert metric_of(metric("ToolCall")).score(asked, Said("Let me see.", tuple(said))) == worth


@pytest.mark.parametrize(
    ("tools", "calls", "why"),
    [
        ([WEATHER], [WEATHER], None),
        ([WEATHER], [], "its expected answer calls no tool"),
        ([], [WEATHER], "it lists no tools, and without them a server reads no calls"),
    ],
)
def test_calls_are_scored_where_a_row_lists_tools_and_expects_some(
    tools: list[dict[str, Any]], calls: list[dict[str, Any]], why: str | None
) -> None:
    asked = question("", *calls).model_copy(update={"tools": tuple(tools)})
    assert misfit(metric("ToolCall"), asked) == why
