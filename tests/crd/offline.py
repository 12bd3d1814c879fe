"""What an API server does with a FineTuneJob, without one: nulls, defaults, schema, list maps and CEL.

Its verdicts are compared with a real API server's in ``test_api_server``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from typing import Any

import celpy
import jsonschema
import re2  # type: ignore[import-untyped]
from celpy.adapter import json_to_cel

from kubetune.api.crdgen import openapi_schema

Json = dict[str, Any]

_ENVIRONMENT = celpy.Environment()


@cache
def _schema() -> Json:
    return openapi_schema()


@cache
def _program(rule: str) -> celpy.Runner:
    return _ENVIRONMENT.program(_ENVIRONMENT.compile(rule))


def admit(new: Json, old: Json | None = None, verdicts: dict[str, set[bool]] | None = None) -> list[str]:
    """Errors of a create, or of an update when ``old`` is given; empty when it is admitted.

    ``verdicts`` collects what each CEL rule said.
    """
    new = stored(new)
    errors = [*_unknown(_schema(), new, ""), *_invalid(new, _schema()), *_twice(_schema(), new, "")]
    if errors:
        return errors
    return list(_cel(_schema(), new, stored(old) if old is not None else None, "", verdicts))


def admit_status(status: Json) -> list[str]:
    """Errors of a status that is written."""
    schema = _schema()["properties"]["status"]
    return [*_unknown(schema, status, ""), *_invalid(status, schema), *_twice(schema, status, "")]


def stored(raw: Json) -> Json:
    """The object as the API server holds it: without nulls, with defaults."""
    value: Json = copy.deepcopy(raw)
    _drop_nulls(_schema(), value)
    _default(_schema(), value)
    return value


def _drop_nulls(schema: Json, value: Any) -> None:
    if isinstance(value, dict):
        for key in list(value):
            child = _child(schema, key)
            if child is not None and value[key] is None:
                del value[key]
            elif child is not None:
                _drop_nulls(child, value[key])
    elif isinstance(value, list) and "items" in schema:
        for item in value:
            _drop_nulls(schema["items"], item)


def _default(schema: Json, value: Any) -> None:
    if isinstance(value, dict):
        for key, child in schema.get("properties", {}).items():
            if key not in value and "default" in child:
                value[key] = copy.deepcopy(child["default"])
            if key in value:
                _default(child, value[key])
    elif isinstance(value, list) and "items" in schema:
        for item in value:
            _default(schema["items"], item)


def _child(schema: Json, key: str) -> Json | None:
    child: Json | None = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
    return child


def _unknown(schema: Json, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict) and "properties" in schema:
        for key, item in value.items():
            child = _child(schema, key)
            if child is None:
                yield f"{path}.{key}: unknown field"
            else:
                yield from _unknown(child, item, f"{path}.{key}")
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from _unknown(schema["items"], item, f"{path}[{index}]")


def _pattern(_validator: object, pattern: str, instance: object, _schema: object) -> Iterator[Exception]:
    """With the API server's own engine: Python's ``$`` also matches before a newline."""
    if isinstance(instance, str) and not re2.search(pattern, instance):
        yield jsonschema.ValidationError(f"{instance!r} should match {pattern!r}")


_VALIDATOR = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft7Validator, {"pattern": _pattern}
)


def _invalid(value: Json, schema: Json) -> Iterator[str]:
    for error in _VALIDATOR(schema).iter_errors(value):
        yield f"{error.json_path.removeprefix('$')}: {error.message}"


def _twice(schema: Json, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _twice(_child(schema, key) or {}, item, f"{path}.{key}")
    elif isinstance(value, list):
        keys = schema.get("x-kubernetes-list-map-keys", ())
        seen = [tuple(item.get(key) for key in keys) for item in value if keys and isinstance(item, dict)]
        if len(set(seen)) < len(seen):
            yield f"{path}: Duplicate value"
        for index, item in enumerate(value):
            yield from _twice(schema.get("items", {}), item, f"{path}[{index}]")


def _cel(
    schema: Json, value: Any, old: Any, path: str, verdicts: dict[str, set[bool]] | None
) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        transition = "oldSelf" in rule["rule"]
        if transition and old is None:
            continue
        context = {"self": json_to_cel(value)} | ({"oldSelf": json_to_cel(old)} if transition else {})
        verdict = bool(_program(rule["rule"]).evaluate(context))
        if verdicts is not None:
            verdicts.setdefault(rule["message"], set()).add(verdict)
        if not verdict:
            yield f"{path}{rule.get('fieldPath', '')}: {rule['message']}"
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for key, item in value.items():
            yield from _cel(_child(schema, key) or {}, item, before.get(key), f"{path}.{key}", verdicts)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _cel(schema.get("items", {}), item, None, f"{path}[{index}]", verdicts)
