"""Reads children live of which no watch tells: foreign ones, claims, and those whose label was edited."""

from __future__ import annotations

import asyncio
import logging

from ..api.v1alpha1 import FineTuneJob
from ..cluster.index import Index
from ..cluster.kube import Kube
from ..facts.parse import parse_child
from ..facts.views import Key, Kind, Raw, View
from ..servers.rollout import places
from ..servers.state import had_server
from ..stages.train_status import unended_attempts
from ..vocabulary.errors import NotFound
from ..vocabulary.names import LABEL_MANAGED_BY, MANAGED_BY, TRAIN, Names
from ..vocabulary.periods import LOOK_AFTER
from .job_state import JobState

logger = logging.getLogger(__name__)


class Refresher:
    """Brings into the index what only a live read tells."""

    def __init__(self, kube: Kube, index: Index) -> None:
        self._kube = kube
        self._index = index

    async def namesakes(self, key: Key, job: FineTuneJob, state: JobState) -> None:
        """Look, before the first Job is made, who has the names of the server: later costs a training."""
        if job.spec.serving is None or state.namesakes_read or state.has_begun(self._index.children(key)):
            return
        await asyncio.gather(*(self._read(key, kind, name) for kind, name in places(key.name)))
        state.namesakes_read = True

    async def leftovers(self, key: Key, raw: Raw, state: JobState) -> None:
        """Look once for servers that the spec does not ask for any more, and of which no watch may tell."""
        if raw["spec"].get("serving") is not None:
            state.servers_cleared = False
        elif had_server(raw) and not state.servers_cleared:
            unknown = [place for place in places(key.name) if self._index.child(key, *place) is None]
            await asyncio.gather(*(self._read(key, kind, name) for kind, name in unknown))
            state.servers_cleared = True

    async def missing(self, key: Key, job: FineTuneJob, state: JobState) -> None:
        """Look once for each child that is not known any more: an edited label is a deletion to a watch."""
        known = {(child.kind, child.name) for child in self._index.children(key)}
        attempts = {(Kind.JOB, Names(key.name).run(TRAIN, number)) for number in unended_attempts(job)}
        for kind, name in sorted({*state.births, *attempts} - known - state.missed):
            view = await self._read(key, kind, name)
            if view is None or view.owner_uid != state.uid:
                state.missed.add((kind, name))
            elif not view.managed:
                logger.warning(
                    "A child has lost the label %s=%s: put it back, changes of the child are seen late",
                    LABEL_MANAGED_BY,
                    MANAGED_BY,
                    extra={"namespace": key.namespace, "job": key.name, "kind": kind.value, "child": name},
                )

    async def unwatched(self, key: Key, state: JobState) -> float | None:
        """Look again at what is not ours, or has lost our label; return the seconds until the next look.

        Watches tell nothing of it: they select by our labels. What is not ours is about to go, or somebody
        removes it, and is waited for anyway.
        """
        lost = False
        for child in self._index.children(key):
            kept = child.kind is Kind.CLAIM and child.owner_uid is None and child.finetunejob == key.name
            ours = child.owner_uid == state.uid
            if child.kind is Kind.POD or (ours and child.managed) or kept:
                continue
            lost |= ours
            if await self._read(key, child.kind, child.name) is None:
                self._index.remove(child.uid)
        return LOOK_AFTER.total_seconds() if lost else None

    async def claim(self, key: Key) -> None:
        """Look whether our output claim is still there: claims are not watched."""
        claim = self._index.child(key, Kind.CLAIM, Names(key.name).output)
        if claim is None:
            return
        try:
            await self._kube.get(Kind.CLAIM, key.namespace, claim.name)
        except NotFound:
            self._index.remove(claim.uid)

    async def _read(self, key: Key, kind: Kind, name: str) -> View | None:
        try:
            view = parse_child(await self._kube.get(kind, key.namespace, name), kind)
        except NotFound:
            return None
        self._index.put(view, key=key, live=True)
        return view
