"""Writes a FineTuneJob's status when it changed, at a pace that depends on its news, then its Events."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from ..cluster.index import Index
from ..cluster.kube import Kube
from ..decide.transitions import transitions
from ..facts.views import Key, Manifest, Raw
from ..vocabulary import names
from ..vocabulary.errors import Conflict, KubeTuneError, NotFound, TransientError
from ..vocabulary.json_values import condition_in
from ..vocabulary.reasons import ConditionType, facts_of
from ..vocabulary.times import rfc3339_micro
from .job_state import JobState
from .owner import require_alive
from .rate import StatusPace, Urgency

logger = logging.getLogger(__name__)

_NOTE_LIMIT: Final = 1024
"""Bytes of an Event's note, by the API's own rule."""

_AGAIN: Final = 1.0
"""Seconds until a status is computed again from what another one wrote."""

_INSTANCE: Final = socket.gethostname()[:128] or "kubetune"

Told = Callable[[str, str], None]
"""Takes type and reason of an Event."""


class Publisher:
    """Writes statuses and Events."""

    def __init__(
        self,
        kube: Kube,
        index: Index,
        pace: StatusPace,
        now: Callable[[], datetime],
        on_event: Told,
    ) -> None:
        self._kube = kube
        self._index = index
        self._pace = pace
        self._now = now
        self._on_event = on_event
        self._background: set[asyncio.Task[None]] = set()

    async def publish(self, key: Key, raw: Raw, status: dict[str, Any], state: JobState) -> float | None:
        """Write the status unless it is there already; return the seconds to wait when it is not its turn."""
        old = raw.get("status") or {}
        if old == status or state.pruned == (old, status):
            state.overtaken = False
            return None
        if not _is_final(old, status):
            now = asyncio.get_running_loop().time()
            wait = self._pace.delay(key, now, _urgency(old, status))
            if wait > 0:
                return wait
        self._pace.forget(key)
        try:
            answer = await self._write(key, old, status, state)
        except Exception as error:
            state.unwritten = error
            raise
        state.unwritten = None
        self._index.put_parent(key.kind, answer)
        self._emit(key, raw, old, status)
        differs = (answer.get("status") or {}) != status
        state.overtaken = differs and _version(answer) != _version(raw)
        if state.overtaken:
            return _AGAIN
        if differs:
            # The patch fell on the status that we know and changed nothing: the rest cannot be written.
            state.pruned = (old, status)
            logger.warning(
                "The schema does not keep the whole status: update the CustomResourceDefinition",
                extra={"namespace": key.namespace, "job": key.name},
            )
        return None

    def announce(self, key: Key, raw: Raw, status: Mapping[str, Any]) -> None:
        """Emit the Events of a status that cannot be written."""
        self._emit(key, raw, raw.get("status") or {}, status)

    async def _write(self, key: Key, old: Raw, status: dict[str, Any], state: JobState) -> Raw:
        try:
            with self._index.writing(key, status):
                return await self._kube.patch_status(
                    key.namespace, key.name, uid=state.uid, status=merge_patch(old, status)
                )
        except (NotFound, Conflict) as error:
            # Another object, or the API server lost five races against other writers of this one.
            await require_alive(self._kube, self._index, key, uid=state.uid)
            raise TransientError(str(error)) from error

    async def drain(self) -> None:
        """Wait for Events that are under way."""
        await asyncio.gather(*self._background, return_exceptions=True)

    def _emit(self, key: Key, raw: Raw, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        for note in transitions(old.get("conditions") or (), new.get("conditions") or ()):
            self._on_event(note.type, note.reason)
            manifest = self._event(key, raw, note.type, note.reason, note.message)
            task = asyncio.create_task(self._post(key, manifest))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def _post(self, key: Key, manifest: Manifest) -> None:
        """Best effort: an Event that is lost changes nothing."""
        try:
            await self._kube.create(manifest)
        except KubeTuneError as error:
            logger.info(
                "An Event was not taken",
                extra={"namespace": key.namespace, "job": key.name, "reason": str(error)},
            )

    def _event(self, key: Key, raw: Raw, type_: str, reason: str, message: str) -> Manifest:
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"generateName": f"{key.name}-", "namespace": key.namespace},
            "eventTime": rfc3339_micro(self._now()),
            "reportingController": f"{names.GROUP}/kubetune",
            "reportingInstance": _INSTANCE,
            "action": "Reconcile",
            "type": type_,
            "reason": reason,
            "note": _clipped(message),
            "regarding": {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "namespace": key.namespace,
                "name": key.name,
                "uid": raw["metadata"]["uid"],
                "resourceVersion": raw["metadata"].get("resourceVersion", ""),
            },
        }


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """What a merge patch has to hold to turn one into the other; None removes."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if before == value:
            continue
        both = isinstance(value, Mapping) and isinstance(before, Mapping)
        patch[key] = merge_patch(before, value) if both else value  # type: ignore[arg-type]
    return patch


def _version(raw: Raw) -> object:
    return raw["metadata"].get("resourceVersion")


def _clipped(note: str) -> str:
    """As much of the note as fits, whole characters."""
    text = note.encode()
    if len(text) <= _NOTE_LIMIT:
        return note
    return text[: _NOTE_LIMIT - 3].decode(errors="ignore") + "..."


def _urgency(old: Mapping[str, Any], new: Mapping[str, Any]) -> Urgency:
    """How much people wait for this write."""
    before, after = _outline(old), _outline(new)
    if before == after:
        return Urgency.REST
    troubled = any(not facts_of(str(reason)).normal for _, _, reason in before ^ after)
    return Urgency.NEWS if troubled or not before else Urgency.STAGE


def _outline(status: Mapping[str, Any]) -> set[tuple[Any, ...]]:
    return {(c.get("type"), c.get("status"), c.get("reason")) for c in status.get("conditions") or ()}


def _is_final(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether this write says that the job has reached its end, or stops."""
    for type_ in (ConditionType.READY, ConditionType.STALLED):
        before, after = condition_in(old, type_), condition_in(new, type_)
        if after.get("status") == "True" and (before.get("status"), before.get("reason")) != (
            "True",
            after.get("reason"),
        ):
            return True
    return False
