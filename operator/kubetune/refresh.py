"""Reads children live of which no watch tells: foreign ones, claims, and what may hold a server's name."""

from __future__ import annotations

import asyncio

from .api.v1alpha1 import FineTuneJob
from .errors import NotFound
from .index import Index
from .jobstate import JobState
from .kube import Kube
from .names import Names
from .parse import parse_child
from .views import Key, Kind, View


class Refresher:
    """Brings into the index what only a live read tells."""

    def __init__(self, kube: Kube, index: Index) -> None:
        self._kube = kube
        self._index = index

    def has_begun(self, key: Key, state: JobState) -> bool:
        """Whether a Job was made."""
        return any(c.kind is Kind.JOB and c.owner_uid == state.uid for c in self._index.children(key))

    async def namesakes(self, key: Key, job: FineTuneJob, state: JobState) -> None:
        """Look, before the first Job is made, who has the names of the server: later costs a training."""
        if job.spec.serving is None or state.namesakes_read or self.has_begun(key, state):
            return
        name = Names(key.name).serving
        await asyncio.gather(*(self._read(key, kind, name) for kind in (Kind.DEPLOYMENT, Kind.SERVICE)))
        state.namesakes_read = True

    async def foreign(self, key: Key, state: JobState) -> None:
        """Look again at what is not ours: it is about to go, or somebody removes it.

        Watches tell nothing of it: they select by our labels.
        """
        for child in self._index.children(key):
            kept = child.kind is Kind.CLAIM and child.owner_uid is None and child.finetunejob == key.name
            if child.kind is Kind.POD or child.owner_uid == state.uid or kept:
                continue
            if await self._read(key, child.kind, child.name) is None:
                self._index.remove(child.uid)

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
        self._index.put(view, key=key)
        return view
