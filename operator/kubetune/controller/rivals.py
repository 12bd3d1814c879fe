"""Finds out who undoes again and again what is written for a server: read live, once for each repetition."""

from __future__ import annotations

import asyncio

from ..cluster.index import Index
from ..cluster.kube import Kube
from ..facts.managers import owned_by_others
from ..facts.views import Key, Manifest
from ..servers import state as servers
from ..stages.plan import Plan
from ..vocabulary.errors import KubeTuneError, NotFound
from ..vocabulary.names import ROLES, Names
from .job_state import JobState, ServerState
from .repeats import child_of


class Rivals:
    """Names those who work against us."""

    def __init__(self, kube: Kube, index: Index) -> None:
        self._kube = kube
        self._index = index

    async def look(self, key: Key, state: JobState, todo: Plan) -> bool:
        """Renew what is known of disputes over servers; return whether that changed anything.

        ``todo`` is what is left to do after everything was done that may be done now.
        """
        names, now = Names(key.name), asyncio.get_running_loop().time()
        found = False
        for role in ROLES:
            server, name = state.server(role), names.server(role)
            before = server.dispute
            writes = (m for m in (*todo.apply, *todo.create_once) if child_of(m)[1] == name)
            repeated = next((m for m in writes if state.repeats.count(m, now)), None)
            if repeated is None:
                server.dispute, server.disputed = None, 0
            elif server.disputed != state.repeats.count(repeated, now):
                server.disputed = state.repeats.count(repeated, now)
                await self._read(key, repeated, server)
            found |= server.dispute != before
        return found

    async def _read(self, key: Key, manifest: Manifest, server: ServerState) -> None:
        kind, name = child_of(manifest)
        if self._index.child(key, kind, name) is None:
            server.dispute = servers.deleted(kind, name)
            return
        try:
            raw = await self._kube.get(kind, key.namespace, name)
        except NotFound:
            server.dispute = servers.deleted(kind, name)
        except KubeTuneError:  # what is found explains; nothing depends on it
            return
        else:
            server.dispute = servers.changed(name, owned_by_others(raw))
