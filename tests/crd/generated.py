"""Random FineTuneJobs, near the line between good and bad.

The minimum, with a few fields set by the schema's own constraints, some of them as large as these allow, and
now and then one broken on purpose.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from hypothesis import strategies as st

from kubetune.api.crdgen import openapi_schema

Json = dict[str, Any]
Change = Callable[[Json], None]

_URIS = (
    "hf://org/name",
    "hf://org/name@main/data/train.jsonl",
    "hf://name",
    "hf://org/name/",
    "s3://bucket/key",
    "s3://bucket/../key",
    "s3://b/key",
    "pvc://claim/path/to/rows.jsonl",
    "pvc://claim/./path",
    "pvc://claim//path",
    "pvc://claim/p a",
    "pvc://claim/é",
    "pvc://Claim/path",
    f"hf://{'o' * 96}/{'n' * 96}",
    f"s3://{'b' * 63}/{'k' * 443}",
    f"pvc://{'c' * 253}/{'p' * 252}",
    f"configMap://{'c' * 246}/{'k' * 253}",
    "configMap://rows/train.jsonl",
    "file:///etc/passwd",
)
_KEYS = ("team", "example.com/x", "job-name", "kubetune.dev/x", "a b", "cpu", "nvidia.com/gpu", "/x", "é")
_VARIABLES = ("A", "RANK", "MY_RANK", "KUBETUNE_A", "MODEL_", "1A", "")
_MOUNTS = ("/data", "/output", "/output/x", "/outputs", "/etc", "/a/../output", "/", "data")
_AMOUNTS = ("1", "500m", "20Gi", "1.5", "0", "x", "9" * 32, "9" * 30 + "Ei", "0." + "0" * 28 + "1m")
_WRONG: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    2**31,
    "",
    "x",
    "0",
    "-1",
    [],
    {},
    [None],
    {"x": None},
    {"x": {}},
)


def values(schema: Json, name: str) -> st.SearchStrategy[Any]:
    """Values that this part of the schema accepts, most of the time."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return st.integers(schema["minimum"], 100) | st.sampled_from([*_AMOUNTS, schema["maximum"]])
    match schema["type"]:
        case "boolean":
            return st.booleans()
        case "integer":
            low, high = schema["minimum"], min(schema.get("maximum", 2**40), 2**40)
            return st.sampled_from([low, high]) | st.integers(low, min(low + 64, high))
        case "array":
            items = values(schema["items"], name)
            return st.lists(items, min_size=schema.get("minItems", 0), max_size=2) | _full_lists(
                schema, items
            )
        case "object" if "properties" in schema:
            return _objects(schema)
        case "object" if "additionalProperties" in schema:
            keys = st.sampled_from(_KEYS)
            items = values(schema["additionalProperties"], name)
            return st.dictionaries(keys, items, max_size=2) | _full_maps(schema, items)
        case _:
            return _texts(schema, name)


def _full_maps(schema: Json, items: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    """As many keys as there may be, with one value."""
    keys = [f"example.com/{number:063d}" for number in range(schema["maxProperties"])]
    return items.map(lambda item: dict.fromkeys(keys, item))


def _full_lists(schema: Json, items: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """As many items as there may be, equal but for their keys; only small ones, since lists are nested."""

    def repeated(item: Any) -> list[Any]:
        most: int = schema["maxItems"] if len(json.dumps(item)) < _SMALL else 1
        keys = schema.get("x-kubernetes-list-map-keys", ())
        return [
            item | {key: f"{item[key]}{number}" for key in keys[:1]} if keys else item
            for number in range(most)
        ]

    return items.map(repeated)


_SMALL = 300


def _texts(schema: Json, name: str) -> st.SearchStrategy[str]:
    special = {
        "uri": _URIS,
        "name": (*_VARIABLES, "a", "b", "kubetune-output"),
        "mountPath": _MOUNTS,
        "prefix": _VARIABLES,
    }
    if name in special:
        return st.sampled_from(special[name])
    if "pattern" in schema:
        limit = schema.get("maxLength", 100)
        short = st.from_regex(schema["pattern"], fullmatch=True, alphabet=_ASCII).filter(
            lambda t: len(t) <= limit
        )
        longest = [t for c in "a1" if re.fullmatch(schema["pattern"], t := c * limit)]
        return short | st.sampled_from(longest) if longest else short
    short = st.text(min_size=schema.get("minLength", 0), max_size=8)
    return short | st.just("a" * schema["maxLength"]) if "maxLength" in schema else short


_ASCII = st.characters(min_codepoint=32, max_codepoint=126)


def _objects(schema: Json) -> st.SearchStrategy[Json]:
    required = set(schema.get("required", ()))
    fields = {name: values(field, name) for name, field in schema["properties"].items()}

    @st.composite
    def build(draw: st.DrawFn) -> Json:
        optional = sorted(fields.keys() - required)
        chosen = draw(st.lists(st.sampled_from(optional), max_size=2, unique=True)) if optional else []
        return {name: draw(fields[name]) for name in [*sorted(required), *chosen]}

    return build()


@cache
def _places() -> tuple[tuple[tuple[str, ...], Json, st.SearchStrategy[Any]], ...]:
    """Every field below spec that is not in a list, with its schema and values."""
    spec = openapi_schema()["properties"]["spec"]
    return tuple((path, schema, values(schema, path[-1])) for path, schema in _fields(spec, ()))


def _fields(schema: Json, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Json]]:
    for name, field in schema.get("properties", {}).items():
        yield (*path, name), field
        yield from _fields(field, (*path, name))


def _set(path: tuple[str, ...], value: Any) -> Change:
    def change(job: Json) -> None:
        block = job["spec"]
        for name in path[:-1]:
            block = block.setdefault(name, {}) if isinstance(block, dict) else {}
        if isinstance(block, dict):
            block[path[-1]] = value

    change.__name__ = f"{'.'.join(path)} = {value!r}"
    return change


@cache
def _own_places() -> tuple[tuple[tuple[str, ...], Json, st.SearchStrategy[Any]], ...]:
    """Those that no podTemplate has, which are many."""
    return tuple(place for place in _places() if "podTemplate" not in place[0])


@st.composite
def _good(draw: st.DrawFn) -> Change:
    path, _, strategy = draw(st.sampled_from(_places()) | st.sampled_from(_own_places()))
    return _set(path, draw(strategy))


@st.composite
def _bad(draw: st.DrawFn) -> Change:
    path, schema, _ = draw(st.sampled_from(_places()))
    kind = draw(st.sampled_from(["wrong", "unknown", "edge"]))
    if kind == "unknown" and "properties" in schema:
        return _set((*path, draw(st.sampled_from(["unknown", "namespace", "hostPath", "readonly"]))), 1)
    if kind == "edge" and schema.get("type") == "integer" and "maximum" in schema:
        return _set(path, draw(st.sampled_from([schema["minimum"] - 1, schema["maximum"] + 1])))
    return _set(path, draw(st.sampled_from(_WRONG)))


def jobs() -> st.SearchStrategy[list[Change]]:
    """Changes of the minimal job."""
    changes = st.lists(_good(), min_size=1, max_size=4)
    return changes | st.tuples(changes, _bad()).map(lambda both: [*both[0], both[1]])
