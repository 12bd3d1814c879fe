"""The OpenAPI document: bodies and answers of routes as they are, and errors in their one form. Pure.

Routes read bodies themselves, after they know who calls, so that FastAPI does not know of bodies by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

_REF: Final = "#/components/schemas/{model}"
_ERROR: Final = {
    "type": "object",
    "description": "Why a request was not done.",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
            "required": ["message", "type", "param", "code"],
        }
    },
    "required": ["error"],
}
_REFUSED: Final = {
    "description": "It was not done, and why; with Retry-After where another try may succeed.",
    "content": {"application/json": {"schema": {"$ref": _REF.format(model="Error")}}},
}


def asks(model: type[BaseModel]) -> dict[str, Any]:
    """Tell the document of a route's JSON body."""
    return {"requestBody": {"required": True, "content": _json(model, "validation")}}


def asks_form(properties: Mapping[str, Any], *, required: Sequence[str], **rules: Any) -> dict[str, Any]:
    """Tell the document of a route's multipart form, with rules of JSON Schema beside."""
    schema = {"type": "object", "properties": properties, "required": list(required), **rules}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def asks_object(properties: Mapping[str, Any], *, required: Sequence[str]) -> dict[str, Any]:
    """Tell the document of a route's JSON body that goes on to somebody else."""
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def answers(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Tell the document of what a route answers."""
    return {200: {"description": model.__doc__ or "", "content": _json(model, "serialization")}}


def document(app: FastAPI) -> dict[str, Any]:
    """Return the document of an app, made once."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, routes=app.routes)
        components = made.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        for operations in made["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
                operation["responses"] |= {"4XX": _REFUSED, "5XX": _REFUSED}
                schemas |= _definitions(operation)
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        schemas["Error"] = _ERROR
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"token": []}]
        app.openapi_schema = made
    return app.openapi_schema


def _json(model: type[BaseModel], mode: Any) -> dict[str, Any]:
    return {"application/json": {"schema": model.model_json_schema(ref_template=_REF, mode=mode)}}


def _definitions(operation: Mapping[str, Any]) -> dict[str, Any]:
    """Take out of an operation what its schemas define, which is for all of the document."""
    found: dict[str, Any] = {}
    for part in (operation.get("requestBody", {}), *operation["responses"].values()):
        for content in part.get("content", {}).values():
            found |= content.get("schema", {}).pop("$defs", {})
    return found
