"""The reference page of the API, a table of every field, from the CRD's schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from kubetune.api.base import DECIMAL_PATTERN
from kubetune.api.schema import Schema

_INTRO: Final = """\
<!-- Generated from operator/kubetune/api. DO NOT EDIT; run make generate. -->

# FineTuneJob

`kubetune.dev/v1alpha1`, short name `ftj`, category `kubetune`. `kubectl explain ftj.spec` says the same.

Three fields are required: `model.uri`, `dataset.train.uri` and `training.gpusPerNode`; of a job that adopts
what was trained elsewhere `model.uri` and `artifact.uri`. Decimals are quoted.
Only `useCase` and `serving` can be changed later."""

_NEWLINE: Final = "\n"
_OWN_SECTION: Final = ("podTemplate",)
"""Blocks that occur more than once and are described once."""


def reference_page(schema: Schema) -> str:
    """Markdown for the whole object."""
    spec = schema["properties"]["spec"]
    status = schema["properties"]["status"]
    template = spec["properties"]["podTemplate"]
    parts = [_INTRO, *_section("metadata", schema, deep=False, table=False)]
    parts += _section("spec", spec, deep=False)
    for name, block in spec["properties"].items():
        if "properties" in block and name not in _OWN_SECTION:
            parts += _section(f"spec.{name}", block)
    parts += _section("podTemplate", template)
    parts += _section("status", status, deep=False)
    for name, block in status["properties"].items():
        if "properties" in _element(block):
            parts += _section(f"status.{name}", _element(block) | {"description": block["description"]})
    return "\n".join(parts) + "\n"


def _section(title: str, block: Schema, *, deep: bool = True, table: bool = True) -> Iterator[str]:
    yield f"\n## {title}\n"
    if table:
        if "description" in block:
            yield f"{_one_line(block['description'])}\n"
        yield "| field | type | default | description |\n|---|---|---|---|"
        yield from _rows(block, "", deep=deep)
    if rules := list(_rules(block, "", deep=deep)):
        yield f"{_NEWLINE if table else ''}Refused, with these messages:\n"
        yield from rules


def _rows(block: Schema, prefix: str, *, deep: bool) -> Iterator[str]:
    required = block.get("required", ())
    for name, field in block["properties"].items():
        description = _one_line(field.get("description", ""))
        default = (
            f"`{json.dumps(field['default'])}`" if "default" in field and "properties" not in field else ""
        )
        if name in required:
            default = "required"
        if name in _OWN_SECTION:
            description += " See [podTemplate](#podtemplate)."
        yield f"| `{prefix}{name}` | {_type(field)} | {default} | {description} |"
        inner = _element(field)
        if deep and "properties" in inner and name not in _OWN_SECTION:
            yield from _rows(inner, f"{prefix}{name}{'[]' if inner is not field else ''}.", deep=True)


def _rules(block: Schema, prefix: str, *, deep: bool) -> Iterator[str]:
    for rule in block.get("x-kubernetes-validations", ()):
        path = (prefix + rule.get("fieldPath", "")).lstrip(".")
        yield f"- {f'`{path}`: ' if path else ''}{rule['message']}"
    for name, field in block["properties"].items():
        inner = _element(field)
        if deep and "properties" in inner and name not in _OWN_SECTION:
            yield from _rules(inner, f"{prefix}.{name}{'[]' if inner is not field else ''}", deep=True)


def _element(field: Schema) -> Schema:
    """The items of a list, else the field itself."""
    items: Schema = field.get("items", field)
    return items


def _type(field: Schema) -> str:
    if "enum" in field:
        return ", ".join(f"`{value}`" if value != "" else '`""`' for value in field["enum"])
    if field.get("x-kubernetes-int-or-string"):
        return "quantity"
    if field["type"] == "array":
        return f"list of {_type(field['items'])}, at most {field['maxItems']}"
    if "additionalProperties" in field:
        return f"map to {_type(field['additionalProperties'])}, at most {field['maxProperties']}"
    if field["type"] == "integer":
        return f"integer{_bounds(field)}"
    if field.get("pattern") == DECIMAL_PATTERN:
        return "decimal"
    if field.get("format") == "date-time":
        return "time"
    return str(field["type"])


def _bounds(field: Schema) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None and high is not None and high < 2**31 - 1:
        return f", {low} to {high}"
    return f", at least {low}" if low else ""


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
