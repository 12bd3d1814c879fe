"""Who else owns what we manage of a server, from the managedFields of its live Deployment. Pure and total."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ..vocabulary.names import CONTAINER_SERVER, FIELD_MANAGER, HANDOVER_MANAGER
from .views import Raw

_POD: Final = ("f:spec", "f:template", "f:spec", "f:containers", f'k:{{"name":"{CONTAINER_SERVER}"}}')
_PATHS: Final = {
    "replicas": ("f:spec", "f:replicas"),
    "image": (*_POD, "f:image"),
    "command": (*_POD, "f:command"),
    "args": (*_POD, "f:args"),
}


def owned_by_others(raw: Raw) -> dict[str, tuple[str, ...]]:
    """Fields that people and controllers edit, by the other managers that own one now."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in entries(raw):
        manager = str(entry.get("manager") or "")
        fields = tuple(name for name, path in _PATHS.items() if _owns(entry.get("fieldsV1"), path))
        if fields and manager not in (FIELD_MANAGER, HANDOVER_MANAGER):
            found[manager] = found.get(manager, ()) + fields
    return found


def owns_replicas(raw: Raw) -> bool:
    """Whether we own the number of replicas: an apply without it would reset it to one."""
    return any(
        entry.get("manager") == FIELD_MANAGER and _owns(entry.get("fieldsV1"), _PATHS["replicas"])
        for entry in entries(raw)
    )


def entries(raw: Raw) -> Sequence[Raw]:
    """The managedFields of an object, as far as they are such."""
    meta = raw.get("metadata")
    fields = meta.get("managedFields") if isinstance(meta, dict) else None
    return [entry for entry in fields if isinstance(entry, dict)] if isinstance(fields, list) else []


def _owns(fields: Any, path: tuple[str, ...]) -> bool:
    for step in path:
        if not isinstance(fields, dict) or step not in fields:
            return False
        fields = fields[step]
    return True
