"""Random FineTuneJobs, near the line between good and bad.

The minimum, with a few fields set by the schema's own constraints, and now and then one broken on purpose.
"""

from __future__ import annotations

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
    "configMap://rows/train.jsonl",
    "file:///etc/passwd",
)
_KEYS = ("team", "example.com/x", "job-name", "kubetune.dev/x", "a b", "cpu", "nvidia.com/gpu", "/x", "é")
_VARIABLES = ("A", "RANK", "MY_RANK", "KUBETUNE_A", "MODEL_", "1A", "")
_MOUNTS = ("/data", "/output", "/output/x", "/outputs", "/etc", "/a/../output", "/", "data")
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
        return st.integers(schema["minimum"], 100) | st.sampled_from(["1", "500m", "20Gi", "1.5", "0", "x"])
    match schema["type"]:
        case "boolean":
            return st.booleans()
        case "integer":
            low, high = schema["minimum"], min(schema.get("maximum", 2**40), 2**40)
            return st.sampled_from([low, high]) | st.integers(low, min(low + 64, high))
        case "array":
            return st.lists(values(schema["items"], name), min_size=schema.get("minItems", 0), max_size=2)
        case "object" if "properties" in schema:
            return _objects(schema)
        case "object" if "additionalProperties" in schema:
            keys = st.sampled_from(_KEYS)
            return st.dictionaries(keys, values(schema["additionalProperties"], name), max_size=2)
        case _:
            return _texts(schema, name)


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
        return st.from_regex(schema["pattern"], fullmatch=True, alphabet=_ASCII).filter(
            lambda t: len(t) <= limit
        )
    return st.text(min_size=schema.get("minLength", 0), max_size=8)


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


@st.composite
def _good(draw: st.DrawFn) -> Change:
    path, _, strategy = draw(st.sampled_from(_places()))
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
