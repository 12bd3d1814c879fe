"""Who wrote what of a live Deployment, or an annotation, by its managedFields. Pure and total.

They name the client that wrote (kubectl-annotate, argocd-controller), not the person behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kubetune_trainer.contract.evaluation import Override

from ..vocabulary.names import ANNOTATION_PROMOTE, CONTAINER_SERVER, FIELD_MANAGER, HANDOVER_MANAGER
from ..vocabulary.strangers import plain
from .views import Raw

_POD: Final = ("f:spec", "f:template", "f:spec", "f:containers", f'k:{{"name":"{CONTAINER_SERVER}"}}')
_PATHS: Final = {
    "replicas": ("f:spec", "f:replicas"),
    "image": (*_POD, "f:image"),
    "command": (*_POD, "f:command"),
    "args": (*_POD, "f:args"),
}


_MOST_REASON: Final = 1024
"""Characters of a person's reason that are kept."""


def decided(annotations: Mapping[str, Any]) -> str:
    """Why a person has the result served against its gate; empty where nobody has decided so."""
    return plain(str(annotations.get(ANNOTATION_PROMOTE) or ""))[:_MOST_REASON]


def override_of(raw: Raw) -> Override | None:
    """A person's decision against the gate, with who wrote it and when; None without the annotation."""
    why = decided(raw["metadata"].get("annotations") or {})
    if not why:
        return None
    path = ("f:metadata", "f:annotations", f"f:{ANNOTATION_PROMOTE}")
    owners = [entry for entry in entries(raw) if _owns(entry.get("fieldsV1"), path)]
    if not owners:
        return Override(by="somebody whom the API server does not name", reason=why)
    last = max(owners, key=lambda entry: str(entry.get("time") or ""))
    time = last.get("time")
    by = plain(str(last.get("manager") or "unknown"))[:128]
    return Override(by=by, reason=why, time=None if time is None else plain(str(time))[:64])


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
