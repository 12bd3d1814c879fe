"""FineTuneJobs for the routes: read from memory, written to the API server.

What is in memory is told while the watch is well, which is seconds old. Otherwise each question is passed on:
old news as if they were new would make programs wait for what has happened, or take it for not done. When the
API server is away as well, that question fails with 503, which clients understand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kubetune.cluster.kube.answers import an_object
from kubetune.cluster.kube.errors import Target
from kubetune.vocabulary import names
from kubetune.vocabulary.errors import Conflict, KubeTuneError, NotFound, Rejected, TransientError
from kubetune.vocabulary.json_values import dict_of

from ..wire.errors import not_found, unavailable
from .api_server import FIELD_MANAGER, MERGE_PATCH, ApiServer
from .known import Raw, lean, namespace_in, uid_in
from .refusals import API_SERVER, told
from .shared import Shared
from .watch import JobWatch, jobs_path, list_all


class KubeJobs:
    """FineTuneJobs of the API server."""

    def __init__(self, api: ApiServer, watch: JobWatch) -> None:
        self._api = api
        self._watch = watch
        self._lists: Shared[str, Sequence[Raw]] = Shared(self._list)

    async def list(self, namespace: str) -> Sequence[Mapping[str, Any]]:
        """All of a namespace; those that are being deleted too."""
        known = self._watch.known(namespace)
        if known is None:
            return await self._live(namespace)
        return [raw for raw in known if namespace_in(raw) == namespace]

    async def get(self, namespace: str, uid: str) -> Mapping[str, Any] | None:
        """The one with this uid. One that is not known is looked for: another replica may have made it."""
        known = self._watch.known(namespace)
        raw = known.get(uid) if known else None
        if raw is not None:
            return raw if namespace_in(raw) == namespace else None
        return next((raw for raw in await self._live(namespace) if uid_in(raw) == uid), None)

    async def create(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make one. A name that is taken is 503: the client's next try has another.

        Where the answer is lost, the object is looked for, or that next try would make a second one.
        """
        meta = manifest["metadata"]
        namespace: str = meta["namespace"]
        target = Target(verb="create", kind=names.PLURAL, namespace=namespace, name=meta["name"])
        with told():
            try:
                answer = await self._api.send(
                    "POST",
                    jobs_path(namespace),
                    target,
                    query={"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"},
                    body=manifest,
                )
            except TransientError:
                made = await self._made(manifest)
                if made is None:
                    raise
                answer = dict(made)
            return self._answered(target, answer)

    async def patch(
        self, namespace: str, name: str, *, uid: str, patch: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Change the one with this uid by a merge patch."""
        target = Target(verb="patch", kind=names.PLURAL, namespace=namespace, name=name)
        body = {**patch, "metadata": {**patch.get("metadata", {}), "uid": uid}}
        with told():
            try:
                answer = await self._api.send(
                    "PATCH",
                    jobs_path(namespace, name),
                    target,
                    query={"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"},
                    body=body,
                    content=MERGE_PATCH,
                )
            except NotFound:
                raise not_found("fine-tuning job", name) from None
            except (Conflict, Rejected):
                if await self._is_gone(namespace, name, uid):  # and its name another's
                    raise not_found("fine-tuning job", name) from None
                raise
            return self._answered(target, answer)

    async def delete(self, namespace: str, name: str, *, uid: str) -> None:
        """Delete the one with this uid, its children in the background."""
        target = Target(verb="delete", kind=names.PLURAL, namespace=namespace, name=name)
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        with told():
            try:
                answer = await self._api.send("DELETE", jobs_path(namespace, name), target, body=body)
            except NotFound:
                answer = {}
            except Conflict:
                if not await self._is_gone(namespace, name, uid):
                    raise
                answer = {}
            if answer.get("kind") == names.KIND:  # somebody has to finish something first
                self._answered(target, answer)
            else:
                self._watch.deleted(uid, namespace)

    async def _made(self, manifest: Mapping[str, Any]) -> Raw | None:
        """The object that this makes, if it is there; nobody else's is like it."""
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        target = Target(verb="get", kind=names.PLURAL, namespace=namespace, name=name)
        try:
            found = await self._api.send("GET", jobs_path(namespace, name), target)
        except KubeTuneError:
            return None
        notes = dict_of(dict_of(found.get("metadata")).get("annotations"))
        return found if notes == manifest["metadata"].get("annotations", {}) else None

    async def _is_gone(self, namespace: str, name: str, uid: str) -> bool:
        target = Target(verb="get", kind=names.PLURAL, namespace=namespace, name=name)
        try:
            return uid_in(await self._api.send("GET", jobs_path(namespace, name), target)) != uid
        except NotFound:
            return True

    def _answered(self, target: Target, answer: Mapping[str, Any]) -> Raw:
        raw = lean(an_object(target, dict(answer)))
        self._watch.answered(raw, target.namespace)
        return raw

    async def _live(self, namespace: str) -> Sequence[Raw]:
        with told():
            try:
                return await self._lists.get(namespace)
            except NotFound:
                raise unavailable(API_SERVER) from None  # it does not know what a FineTuneJob is

    async def _list(self, namespace: str) -> Sequence[Raw]:
        target = Target(verb="list", kind=names.PLURAL, namespace=namespace, name="")
        found, _ = await list_all(self._api, jobs_path(namespace), target)
        for raw in found:
            self._watch.answered(raw, namespace)
        return found
