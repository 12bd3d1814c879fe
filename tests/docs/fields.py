"""Fields of the API of FineTuneJobs and values of the chart, as pages name them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from dev.chart import CHART
from dev.chart import values as chart_values
from kubetune.api.crdgen import openapi_schema

Json = dict[str, Any]

SCHEMA: Json = openapi_schema()
VALUES = [value.path for value in chart_values()]
_DEFAULTS: Json = yaml.safe_load((CHART / "values.yaml").read_text())
GROUPS = [name for name, value in _DEFAULTS.items() if isinstance(value, dict)]


def _walk(schema: Json, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Json]]:
    yield path, schema
    inner = _within(schema)
    for name, child in inner.get("properties", {}).items():
        yield from _walk(child, (*path, name))


def _within(schema: Json) -> Json:
    while "items" in schema:
        schema = schema["items"]
    return schema


BY_NAME: dict[str, list[tuple[tuple[str, ...], Json]]] = defaultdict(list)
for _path, _schema in _walk(SCHEMA):
    BY_NAME[_path[-1] if _path else ""].append((_path, _schema))


def leads_to_a_field(path: str) -> bool:
    """Whether `spec.a.b` or `status.a[].b` is a field; keys of maps count as fields."""
    return bool(_reached(SCHEMA, _names(path)))


def leads_on(path: str) -> bool:
    """Whether a path that begins anywhere in the API, such as `deepspeed.zeroStage`, leads to a field."""
    return bool(_at(path))


def takes(path: str, value: object) -> bool:
    """Whether a field of this path, which may begin within the API, takes a value."""
    return any(not [*jsonschema.Draft7Validator(schema).iter_errors(value)] for schema in _at(path))


def defaults(path: str) -> list[object]:
    """Return the defaults of the fields of this path, which may begin within the API."""
    return [schema["default"] for schema in _at(path) if "default" in schema]


def _at(path: str) -> list[Json]:
    first, *rest = _names(path)
    return [found for _, schema in BY_NAME[first] for found in _reached(schema, rest)]


def is_a_value(path: str) -> bool:
    """Whether the chart has a value of this path, or one beneath or above it."""
    return any(f"{value}.".startswith(f"{path}.") or path.startswith(f"{value}.") for value in VALUES)


@cache
def names_of_kubernetes() -> frozenset[str]:
    """Return the names of all fields of Kubernetes' own objects."""
    folder = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / "v1.31.0-local-strict"
    return frozenset(re.findall(r'"(\w+)": \{', (folder / "_definitions.json").read_text()))


def _names(path: str) -> list[str]:
    return [name for name in re.split(r"\[[^\]]*\]|\.", path) if name]


def _reached(schema: Json, names: list[str]) -> list[Json]:
    for name in names:
        inner = _within(schema)
        if inner.get("type") == "object" and not inner.keys() & {"properties", "additionalProperties"}:
            return [inner]  # metadata, which the API server knows
        child = inner.get("properties", {}).get(name, inner.get("additionalProperties"))
        if not isinstance(child, dict):
            return []
        schema = child
    return [schema]
