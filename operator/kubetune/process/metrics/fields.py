"""Fields of a FineTuneJob that become labels of kubetune_job_info, as a platform lists them. Pure.

``useCase`` becomes ``use_case``, and the label ``example.com/team`` of the object ``label_example_com_team``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ...spec.settings import LABEL_FIELD
from ...vocabulary.json_values import dict_of, text_of
from ...vocabulary.strangers import plain

MOST_FIELDS: Final = 16
MOST_CHARACTERS: Final = 128
"""Of a value: people write useCase as a sentence, and each series carries it."""

_USE_CASE: Final = "useCase"
_KEY: Final = re.compile(
    r"([a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
)
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True, slots=True)
class MetricField:
    """One field, and the label that it becomes."""

    field: str
    """``useCase``, or ``labels.`` and the key of a label."""

    @property
    def label(self) -> str:
        """Name of the label."""
        if self.field == _USE_CASE:
            return "use_case"
        return f"label_{_NOT_IN_NAMES.sub('_', self.field.removeprefix(LABEL_FIELD))}"

    def value(self, raw: Mapping[str, Any]) -> str:
        """What a FineTuneJob has there, in one line; empty where it has nothing."""
        if self.field == _USE_CASE:
            found = dict_of(raw.get("spec")).get(_USE_CASE)
        else:
            labels = dict_of(dict_of(raw.get("metadata")).get("labels"))
            found = labels.get(self.field.removeprefix(LABEL_FIELD))
        return plain(text_of(found))[:MOST_CHARACTERS]


def metric_fields(fields: tuple[str, ...]) -> tuple[MetricField, ...]:
    """Read the platform's list. Raises ValueError, in a sentence, when it cannot be followed."""
    if len(fields) > MOST_FIELDS:
        raise ValueError(f"has {len(fields)} fields, and {MOST_FIELDS} are the most: leave some out")
    by_label: dict[str, MetricField] = {}
    for field in fields:
        if field != _USE_CASE and not (
            field.startswith(LABEL_FIELD) and _KEY.fullmatch(field.removeprefix(LABEL_FIELD))
        ):
            raise ValueError(f'"{field}" is no field that can be told: write useCase, or labels.KEY')
        found = MetricField(field)
        known = by_label.setdefault(found.label, found)
        if known is not found:
            clash = f'"{known.field}" and "{field}" become one label, {found.label}'
            twice = f'"{field}" is there twice'
            raise ValueError(f"{twice if known == found else clash}: leave one out")
    return tuple(by_label.values())
