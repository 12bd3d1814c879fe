"""Reads children live of which no watch tells: foreign ones, claims, and those whose label was edited."""

from __future__ import annotations

import asyncio

from kubetune_trainer.contract.evaluation import Override

from ..api.v1alpha1 import FineTuneJob
from ..cluster.index import Index
from ..cluster.kube import Kube
from ..diagnose import selector_story, story_of
from ..facts.managers import decided, override_of
from ..facts.observed import Observed
from ..facts.parse import parse_child
from ..facts.views import Key, Kind, Manifest, Raw, View
from ..servers.rollout import places
from ..servers.state import had_server
from ..servers.wanted import roles_of
from ..stages.evaluate_status import remembered_override
from ..stages.train_status import unended_attempts
from ..vocabulary.errors import NotFound
from ..vocabulary.names import TRAIN, Names
from ..vocabulary.periods import LOOK_AFTER
from .job_state import JobState


class Refresher:
    """Brings into the index what only a live read tells."""

    def __init__(self, kube: Kube, index: Index) -> None:
        self._kube = kube
        self._index = index

    async def namesakes(self, key: Key, job: FineTuneJob, state: JobState) -> None:
        """Look, before the first Job is made, who has the names of the server: later costs a training."""
        roles = roles_of(job)
        if not roles or state.namesakes_read or state.has_begun(self._index.children(key)):
            return
        await asyncio.gather(*(self._read(key, kind, name) for kind, name in places(key.name, roles)))
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

    async def unwatched(self, key: Key, state: JobState) -> float | None:
        """Look again at what is not ours, or has lost our label; return the seconds until the next look.

        Watches tell nothing of it: they select by our labels. What is not ours is about to go, or somebody
        removes it, and is waited for anyway. What was done to it goes into ``state.notes``.
        """
        lost, notes = False, dict[str, str]()
        with state.children_seen.look(asyncio.get_running_loop().time()) as seen_for:
            for child in self._index.children(key):
                kept = child.kind is Kind.CLAIM and child.owner_uid is None and child.finetunejob == key.name
                ours = child.owner_uid == state.uid
                if (
                    child.kind is Kind.POD
                    or (ours and child.managed and child.finetunejob == key.name)
                    or kept
                ):
                    continue
                lost |= ours
                raw = await self._get(key, child.kind, child.name)
                if raw is None:
                    self._index.remove(child.uid)
                    continue
                self._index.put(parse_child(raw, child.kind), key=key, live=True)
                story = story_of(raw, kind=child.kind, job=key.name, uid=state.uid, seen_for=seen_for)
                if story is not None:
                    notes[child.uid] = story
        state.notes = notes
        return LOOK_AFTER.total_seconds() if lost else None

    async def override(self, key: Key, job: FineTuneJob, observed: Observed, state: JobState) -> bool:
        """Read who has set the annotation that serves a result against its gate; return whether it is news.

        Only where it decides: the index keeps no managedFields.
        """
        why = decided(job.metadata.annotations)
        failed = observed.evaluation is not None and observed.evaluation.verdict == "Failed"
        found: Override | None = None
        if why and failed:
            known = state.override or remembered_override(job)
            if known is not None and known.reason == why:
                found = known
            else:
                raw = await self._get(key, Kind.FINE_TUNE_JOB, key.name)
                found = None if raw is None else override_of(raw)
        news, state.override = found != state.override, found
        return news

    async def claim(self, key: Key) -> None:
        """Look whether our output claim is still there: claims are not watched."""
        claim = self._index.child(key, Kind.CLAIM, Names(key.name).output)
        if claim is None:
            return
        try:
            await self._kube.get(Kind.CLAIM, key.namespace, claim.name)
        except NotFound:
            self._index.remove(claim.uid)

    async def selector(self, key: Key, state: JobState, service: Manifest) -> None:
        """Look whether a Service still leads to the pods that it was made for."""
        raw = await self._get(key, Kind.SERVICE, service["metadata"]["name"])
        story = None if raw is None else selector_story(raw, service["spec"]["selector"])
        if raw is not None and story is not None:
            state.notes[raw["metadata"]["uid"]] = story

    async def _read(self, key: Key, kind: Kind, name: str) -> View | None:
        raw = await self._get(key, kind, name)
        if raw is None:
            return None
        view = parse_child(raw, kind)
        self._index.put(view, key=key, live=True)
        return view

    async def _get(self, key: Key, kind: Kind, name: str) -> Raw | None:
        try:
            return await self._kube.get(kind, key.namespace, name)
        except NotFound:
            return None
