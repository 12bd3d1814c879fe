"""Kubernetes' structural schema of a pydantic model: no references, nulls and titles.

What JSON Schema says and a CustomResourceDefinition cannot (``$ref``, ``anyOf`` with null, ``const``,
``additionalProperties: false``) is rewritten or left out; the API server says the last one by itself.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema
from typing_extensions import override

from kubetune.api.base import INT32_MAX, ApiModel

Schema = dict[str, Any]

_ORDER: Final = (
    "description",
    "type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-map-type",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "format",
    "default",
    "enum",
    "minimum",
    "maximum",
    "pattern",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "required",
    "anyOf",
    "x-kubernetes-validations",
    "items",
    "additionalProperties",
    "properties",
)
"""Order of keywords in the generated file. Kubernetes may refuse a keyword that is missing here."""


class _Generator(GenerateJsonSchema):
    @override
    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Leave null out: the API server drops nulls, and absent is enough."""
        return self.generate_inner(schema["schema"])

    @override
    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Keep defaults that are values; a block's default is whole, since CEL judges it as it is."""
        generated = super().default_schema(schema)
        factory = schema.get("default_factory")
        if isinstance(factory, type) and issubclass(factory, BaseModel):
            return generated | {"default": factory().model_dump(mode="json", exclude_none=True)}
        if isinstance(schema.get("default"), tuple) and generated.get("default"):
            items = [item.manifest() if isinstance(item, ApiModel) else item for item in schema["default"]]
            return generated | {"default": items}
        if generated.get("default") in (None, []):
            generated.pop("default", None)
        return generated

    @override
    def field_title_should_be_set(self, schema: Any) -> bool:
        """Never: the field's name says it."""
        return False


def structural_schema(model: type[BaseModel]) -> Schema:
    """The schema of a model as a CustomResourceDefinition holds it."""
    generated = model.model_json_schema(schema_generator=_Generator)
    return _inline(generated, generated.pop("$defs", {}))


def _inline(node: Schema, definitions: Schema) -> Schema:
    """This node with its references replaced, its keywords checked and put into order."""
    node = {key: value for key, value in node.items() if key != "title"}
    if "$ref" in node:
        node = definitions[node.pop("$ref").rpartition("/")[2]] | node
        return _inline(node, definitions)
    if "description" in node:
        node["description"] = " ".join(node["description"].split())
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if node.get("additionalProperties") is False:
        del node["additionalProperties"]
    if node.get("type") == "integer" and "maximum" in node:
        node["format"] = "int32" if node["maximum"] <= INT32_MAX else "int64"
        node = {key: value for key, value in node.items() if (key, value) != ("maximum", 2**63 - 1)}
    for keyword in ("items", "additionalProperties"):
        if keyword in node:
            node[keyword] = _inline(node[keyword], definitions)
            node[keyword].pop("description", None)  # the field has said it
    if "properties" in node:
        node["properties"] = {name: _inline(field, definitions) for name, field in node["properties"].items()}
    if unknown := node.keys() - set(_ORDER):
        raise ValueError(f"keywords that Kubernetes may refuse: {', '.join(sorted(unknown))} in {node}")
    return {key: node[key] for key in _ORDER if key in node}
