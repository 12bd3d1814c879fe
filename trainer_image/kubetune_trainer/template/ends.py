"""Tokens at which a server stops, and those that a run adds: a model that learned to end otherwise runs on.

vLLM stops at the tokenizer's end-of-sequence token and at ``eos_token_id`` of generation_config.json, or of
the model's config.json where there is none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

GENERATION_CONFIG: Final = "generation_config.json"


def base_stops(model: Path) -> tuple[int, ...]:
    """Ids that the base model's files name as ends, in their order."""
    generation, config = _read(model / GENERATION_CONFIG), _read(model / "config.json")
    if generation is None:
        config = config or {}
        generation = config if config.get("eos_token_id") is not None else config.get("text_config")
    found = (generation or {}).get("eos_token_id")
    ids = found if isinstance(found, list) else [found]
    return tuple(identity for identity in ids if isinstance(identity, int))


def write_stops(model: Path, directory: Path, *, own: int | None, added: Iterable[int]) -> bool:
    """Write a generation_config.json with more ends than the base's; False if there are none more.

    ``own`` is the tokenizer's end-of-sequence token.
    """
    stops = [*base_stops(model), *([] if own is None else [own])]
    if not (more := sorted(set(added).difference(stops))):
        return False
    values: dict[str, Any] = _read(model / GENERATION_CONFIG) or _read(directory / GENERATION_CONFIG) or {}
    values["eos_token_id"] = list(dict.fromkeys((*stops, *more)))
    (directory / GENERATION_CONFIG).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    return True


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None
