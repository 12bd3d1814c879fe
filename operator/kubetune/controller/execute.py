"""Carries out a plan: creations in parallel, uid checks before anything is touched, answers into the index.

Knows nothing of stages. What the API server refuses becomes a ``Refused`` with its own words.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

from ..cluster.index import Index
from ..cluster.kube import Kube
from ..facts.parse import parse_child
from ..facts.views import DeploymentView, Key, Kind, Manifest, Raw, View
from ..stages.plan import Doomed, Plan
from ..vocabulary.errors import Conflict, Invalid, KubeError, NotFound, Rejected, TransientError
from ..vocabulary.names import HANDOVER_MANAGER, Names
from ..vocabulary.periods import TIMER_ERROR
from .job_state import JobState, Refusal
from .owner import Vanished, require_alive
from .repeats import Child, child_of

logger = logging.getLogger(__name__)

_TERMINATING: Final = "because it is being terminated"


class Refused(Exception):  # noqa: N818
    """The API server does not take a child (quota, policy, invalid object); the others were taken."""

    def __init__(self, refusal: Refusal, *, asked: bool) -> None:
        super().__init__(str(refusal.error))
        self.refusal = refusal
        self.asked = asked
        """False: it said so a while ago, and was not asked again."""


class Executor:
    """Writes children."""

    def __init__(self, kube: Kube, index: Index) -> None:
        self._kube = kube
        self._index = index

    async def execute(self, key: Key, state: JobState, plan: Plan) -> float | None:
        """Carry out a plan; return the seconds after which what had to be put off may be done.

        Raises Vanished, Refused, TransientError and whatever else a request met, after all have ended.
        """
        now = asyncio.get_running_loop().time()
        todo: list[Coroutine[Any, Any, None]] = []
        delays: list[float] = []
        writes = [*((self._create, m) for m in plan.create_once), *((self._apply, m) for m in plan.apply)]
        if any(self._existed(key, state, manifest) for _, manifest in writes):
            # It may be gone because its owner is.
            await require_alive(self._kube, self._index, key, uid=state.uid)
        standing: list[Refusal] = []
        asked: list[tuple[Child, Coroutine[Any, Any, None]]] = []
        for write, manifest in writes:
            delay = state.repeats.delay(manifest, now)
            if delay:
                delays.append(delay)
            else:
                asked.append((child_of(manifest), write(key, state, manifest)))
        for doomed in plan.delete:
            asked.append(((doomed.kind, doomed.name), self._delete(key, state, doomed)))
        for child, request in asked:
            refusal = state.refusals.get(child)
            if refusal is not None and refusal.until > now + TIMER_ERROR:
                request.close()
                standing.append(refusal)
            else:
                todo.append(self._ask(state, child, request))
        results = await asyncio.gather(*todo, return_exceptions=True)
        errors = [result for result in results if isinstance(result, BaseException)]
        for error in sorted(errors, key=_gravity):
            raise error
        for refusal in sorted(standing, key=lambda refusal: _gravity(refusal.error)):
            raise Refused(refusal, asked=False)
        return min(delays, default=None)

    async def _ask(self, state: JobState, child: Child, request: Coroutine[Any, Any, None]) -> None:
        """Write or delete one child, and remember what is said to it."""
        try:
            await request
        except Rejected as error:
            if error.status == 403 and _TERMINATING in error.message:
                raise Vanished from error
            raise Refused(
                state.refused(child, error, asyncio.get_running_loop().time()), asked=True
            ) from error
        state.refusals.pop(child, None)

    def _existed(self, key: Key, state: JobState, manifest: Manifest) -> bool:
        """Whether the child, or for a next try of a Job an earlier one, was there and is gone."""
        kind, name = child_of(manifest)
        return any(
            self._index.child(key, kind, known) is None
            for of, known in state.births
            if of is kind and (known == name or kind is Kind.JOB)
        )

    async def _create(self, key: Key, state: JobState, manifest: Manifest) -> None:
        kind, name = child_of(manifest)
        try:
            raw = await self._kube.create(manifest)
        except Conflict as conflict:
            raw = await self._holder(key, kind, name, conflict)
            if kind is Kind.CONFIG_MAP and _owner(raw) == state.uid:
                state.config = None  # what is written there wins over live settings
                state.config_read = False
            self._put(key, state, parse_child(raw, kind), live=True)
        else:
            logger.info("Created", extra=_extra(key, kind, name))
            state.repeats.wrote(manifest, asyncio.get_running_loop().time())
            self._put(key, state, parse_child(raw, kind))

    async def _apply(self, key: Key, state: JobState, manifest: Manifest) -> None:
        kind, name = child_of(manifest)
        known = self._index.child(key, kind, name)
        if known is None:
            # Applying would adopt a foreign object of this name.
            try:
                known = parse_child(await self._kube.get(kind, key.namespace, name), kind)
            except NotFound:
                pass
            else:
                self._put(key, state, known, live=True)
        if known is not None:
            if known.owner_uid != state.uid:
                return  # reported by what is observed next
            manifest = {**manifest, "metadata": {**manifest["metadata"], "uid": known.uid}}
        try:
            if isinstance(known, DeploymentView) and known.owns_size and "replicas" not in manifest["spec"]:
                await self._kube.apply(_handover(manifest, known.size), manager=HANDOVER_MANAGER)
            raw = await self._kube.apply(manifest)
        except (Conflict, NotFound) as error:
            if known is not None:
                self._index.remove(known.uid)
            raise TransientError(str(error)) from error
        logger.info("Applied", extra=_extra(key, kind, name))
        state.repeats.wrote(manifest, asyncio.get_running_loop().time())
        view = parse_child(raw, kind)
        role = Names(key.name).role_of(name)
        if isinstance(view, DeploymentView) and role is not None:
            state.server(role).accepted = view
        self._put(key, state, view)

    async def _delete(self, key: Key, state: JobState, doomed: Doomed) -> None:
        await self._kube.delete(doomed.kind, key.namespace, doomed.name, uid=doomed.uid)
        self._index.remove(doomed.uid)
        state.removed((doomed.kind, doomed.name))
        logger.info("Deleted", extra=_extra(key, doomed.kind, doomed.name))

    async def _holder(self, key: Key, kind: Kind, name: str, conflict: Conflict) -> Raw:
        try:
            return await self._kube.get(kind, key.namespace, name)
        except NotFound:  # it was about to go
            raise TransientError(str(conflict), retry_after=0.2) from conflict

    def _put(self, key: Key, state: JobState, view: View, *, live: bool = False) -> None:
        self._index.put(view, key=key, live=live)
        state.saw((view,))


def _handover(manifest: Manifest, replicas: int) -> Manifest:
    """The number of replicas alone, as it is."""
    meta = {key: manifest["metadata"][key] for key in ("name", "namespace", "uid")}
    return {
        "apiVersion": manifest["apiVersion"],
        "kind": manifest["kind"],
        "metadata": meta,
        "spec": {"replicas": replicas},
    }


def _owner(raw: Raw) -> str | None:
    owners = raw["metadata"].get("ownerReferences") or ()
    return next((owner["uid"] for owner in owners if owner.get("controller")), None)


def _gravity(error: BaseException) -> int:
    """What says more comes first."""
    if isinstance(error, Refused):
        error = error.refusal.error
    if isinstance(error, TransientError):
        return 4
    if isinstance(error, Rejected):
        return 1 if isinstance(error, Invalid) else 2
    return 3 if isinstance(error, KubeError) else 0


def _extra(key: Key, kind: Kind, name: str) -> dict[str, str]:
    return {"namespace": key.namespace, "job": key.name, "kind": kind.value, "child": name}
