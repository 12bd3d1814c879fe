"""What every API model is made of: names, decimals, quantities, and rules that are said in CEL and in Python.

Nothing here knows a FineTuneJob. A rule stands once, with its two forms side by side, so that the API server
and the operator refuse the same specs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    StringConstraints,
    TypeAdapter,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from typing_extensions import override

from ..vocabulary.times import rfc3339

INT32_MAX: Final = 2**31 - 1
INT64_MAX: Final = 2**63 - 1

ATOMIC: Final = ConfigDict(json_schema_extra={"x-kubernetes-map-type": "atomic"})
"""For blocks with one owner: the API server tracks the block, not its fields, and writes get cheaper."""

_ALIASES: Final = {
    "memory_per_gpu": "memoryPerGPU",
    "downward_api": "downwardAPI",
    "claim_uid": "claimUID",
    "except_": "except",
}
"""Names with an initialism, or that are words of Python, which camel case alone would spell differently."""


def api_name(field: str) -> str:
    """Name of a field in YAML."""
    return _ALIASES.get(field) or to_camel(field)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One validation rule of a model, for the API server in CEL and for the operator in Python."""

    cel: str
    """Base CEL only: the tests run it without an API server."""
    message: str
    """What is wrong; what to do."""
    path: str = ""
    """Field that is at fault, relative to the model: ``.uri``."""
    check: Callable[[Any], bool] | None = None
    """The same on the parsed model; None for rules that compare with the old object."""

    def as_schema(self) -> dict[str, str]:
        """An entry of x-kubernetes-validations."""
        entry = {"rule": self.cel, "message": self.message}
        return entry | ({"fieldPath": self.path} if self.path else {})


class ApiModel(BaseModel):
    """Base of all API models."""

    model_config = ConfigDict(
        frozen=True, alias_generator=api_name, use_attribute_docstrings=True, serialize_by_alias=True
    )

    def manifest(self) -> dict[str, Any]:
        """What is set, as JSON with the API's names: fit for a Kubernetes manifest."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class SpecModel(ApiModel):
    """Base of everything below spec: unknown fields and broken rules are errors."""

    model_config = ConfigDict(extra="forbid")

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: object) -> object:
        """Treat null as absent, as the API server does with fields that it knows."""
        if not isinstance(data, dict) or None not in data.values():
            return data
        known = {field.alias for field in cls.model_fields.values()}
        return {key: value for key, value in data.items() if value is not None or key not in known}

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        for rule in self.rules:
            if rule.check is not None and not rule.check(self):
                raise PydanticCustomError("rule", "{message}", {"message": rule.message, "path": rule.path})
        return self

    @override
    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add the rules to the generated schema."""
        reference = handler(schema)
        if cls.rules:
            handler.resolve_ref_schema(reference)["x-kubernetes-validations"] = [
                r.as_schema() for r in cls.rules
            ]
        return reference


class StatusModel(ApiModel):
    """Base of everything below status: another version may have written fields that are unknown here."""

    model_config = ConfigDict(extra="ignore", validate_by_name=True, validate_by_alias=True)


class ListMap:
    """Marks a list whose items are told apart by these fields: no two may have the same."""

    def __init__(self, *keys: str) -> None:
        self._keys = keys

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate after the list itself."""
        return core_schema.no_info_after_validator_function(self._unique, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Say the same to the API server."""
        map_list = {
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": [*map(api_name, self._keys)],
        }
        return handler(schema) | map_list

    def _unique(self, items: Iterable[Any]) -> Iterable[Any]:
        seen = [tuple(getattr(item, key) for key in self._keys) for item in items]
        for values in seen:
            if seen.count(values) > 1:
                named = zip(map(api_name, self._keys), values, strict=True)
                twice = " with ".join(f'{key} "{value}"' for key, value in named)
                message = f"{twice} is used twice; name each once"
                raise PydanticCustomError("rule", "{message}", {"message": message, "path": ""})
        return items


DECIMAL_PATTERN: Final = r"^[0-9]+(\.[0-9]+)?(e-0?[0-9])?$"
DECIMAL_LENGTH: Final = 16


def decimal_text(value: Decimal) -> str:
    """One spelling for one number, which the TrainerConfig accepts: 0.0002 for "2e-4"."""
    return f"{value.normalize():f}"


def _parse_decimal(value: object) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("decimal_text", 'must be a decimal in quotes, such as "2e-4"')
    return Decimal(_DECIMAL.validate_python(value))


DecimalString = Annotated[
    Decimal,
    BeforeValidator(_parse_decimal),
    PlainSerializer(decimal_text),
    WithJsonSchema({"type": "string", "pattern": DECIMAL_PATTERN, "maxLength": DECIMAL_LENGTH}),
]
"""A decimal as a string ("2e-4", "0.03"): floats lose digits on their way through JSON."""

QUANTITY_PATTERN: Final = r"^[0-9]+(\.[0-9]+)?(m|[kMGTPE]|[KMGTPE]i)?$"
"""Kubernetes quantities without sign, exponent, and the suffixes n and u, which no resource here needs."""

QUANTITY_MAX: Final = 2**53 - 1
"""Integers above it change on their way through JSON."""


def _quantity_text(value: object) -> object:
    """Integers are quantities too, and YAML users forget the quotes."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= QUANTITY_MAX:
        return str(value)
    return value


def _quantity_schema(pattern: str, *, minimum: int = 0) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": pattern,
            "maxLength": 32,
            "minimum": minimum,
            "maximum": QUANTITY_MAX,
        }
    )


Quantity = Annotated[
    str,
    BeforeValidator(_quantity_text),
    StringConstraints(pattern=QUANTITY_PATTERN, max_length=32),
    _quantity_schema(QUANTITY_PATTERN),
]
"""An amount of a resource: "4", "500m", "16Gi"."""

_POSITIVE: Final = QUANTITY_PATTERN.replace("^[0-9]+", "^[1-9][0-9]*")

PositiveQuantity = Annotated[
    str,
    BeforeValidator(_quantity_text),
    StringConstraints(pattern=_POSITIVE, max_length=32),
    _quantity_schema(_POSITIVE, minimum=1),
]
"""A quantity of at least one unit."""

DNS_NAME: Final = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
ObjectName = Annotated[str, StringConstraints(pattern=f"^{DNS_NAME}$", max_length=253)]
"""Name of an object in the job's own namespace (no reference crosses namespaces)."""

VolumeName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
"""Name of a volume in a pod."""

FileKey = Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]
"""Key of a ConfigMap or Secret."""

LABEL_KEY: Final = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
"""Keys of labels, annotations and resources; map keys are checked by CEL, since schemas cannot."""

LabelKey = Annotated[str, StringConstraints(pattern=LABEL_KEY, max_length=317)]
LabelValue = Annotated[
    str, StringConstraints(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)
]

Image = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$", max_length=512)]
"""A container image reference."""

Text = Annotated[str, StringConstraints(max_length=1024)]
"""Free text of bounded length."""


Time = Annotated[datetime, PlainSerializer(rfc3339)]
"""A moment in UTC, whole seconds, as Kubernetes writes it."""


def _without_nulls(value: object) -> object:
    """Treat null as absent in maps too."""
    return (
        {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else value
    )


_Value = TypeVar("_Value")
Map = Annotated[dict[str, _Value], Field(max_length=32), BeforeValidator(_without_nulls)]
"""A map with free keys, at most 32."""


def clipped(limit: int) -> BeforeValidator:
    """Cut a text of the status that is too long, rather than lose the whole status."""

    def clip(value: object) -> object:
        return f"{value[: limit - 3]}..." if isinstance(value, str) and len(value) > limit else value

    return BeforeValidator(clip)


def first(limit: int) -> BeforeValidator:
    """Leave out what is too much of a map of the status, rather than lose the whole status."""

    def cut(value: object) -> object:
        return dict(list(value.items())[:limit]) if isinstance(value, dict) else value

    return BeforeValidator(cut)


def not_bool(value: object) -> object:
    """True is 1 in Python, but not in YAML."""
    if isinstance(value, bool):
        raise PydanticCustomError("int_type", "must be a valid integer")
    return value


def cel_list(values: Iterable[str]) -> str:
    """A list literal of strings in CEL (JSON strings are CEL strings)."""
    return json.dumps(list(values))


_DECIMAL: Final[TypeAdapter[str]] = TypeAdapter(
    Annotated[str, StringConstraints(pattern=DECIMAL_PATTERN, max_length=DECIMAL_LENGTH)]
)
