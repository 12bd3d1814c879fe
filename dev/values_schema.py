"""Closes the schema of the chart's values: what it does not name is not allowed.

`values.schema.json` itself lets every key pass, since helm would refuse one without saying which was meant. A
template of the chart does that, by the closed schema, and editors complete and check values by it
(decision 0131).
"""

from __future__ import annotations

import json
from typing import Any

Schema = dict[str, Any]

_NOTICE = (
    "DO NOT EDIT: made by `make generate` from values.schema.json, for editors and templates/values.yaml."
)


def closed_text(text: str) -> str:
    """Return the closed schema as a file."""
    return json.dumps({"$comment": _NOTICE, **closed(json.loads(text))}, indent=2) + "\n"


def closed(schema: Schema) -> Schema:
    """Return a schema in which every object that has named properties has no others, unless it says so."""
    return {name: _closed(part) for name, part in _with_end(schema).items()}


def _closed(part: Any) -> Any:
    match part:
        case dict():
            return closed(part)
        case list():
            return [_closed(each) for each in part]
        case _:
            return part


def _with_end(schema: Schema) -> Schema:
    # Without a type it is a condition on an object that is described elsewhere.
    is_object = "object" in (schema.get("type") or ())
    if is_object and "properties" in schema and "additionalProperties" not in schema:
        return {**schema, "additionalProperties": False}
    return schema
