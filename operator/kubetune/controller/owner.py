"""Reads a FineTuneJob live where acting on memory would do harm: it may be gone, or another has its name."""

from __future__ import annotations

from ..cluster.index import Index
from ..cluster.kube import Kube
from ..facts.views import Key
from ..vocabulary.errors import NotFound


class Vanished(Exception):  # noqa: N818 - a state, not a failure
    """The FineTuneJob is gone, or another one has its name: nothing may be made or written for it."""


async def require_alive(kube: Kube, index: Index, key: Key, *, uid: str) -> None:
    """Return when the FineTuneJob of this uid exists and stays; the index learns what was read.

    Raises Vanished when it does not.
    """
    try:
        raw = await kube.get(key.kind, key.namespace, key.name)
    except NotFound:
        index.remove_parent(key, uid)
        raise Vanished from None
    meta = raw["metadata"]
    if meta["uid"] != uid:
        index.remove_parent(key, uid)
    index.put_parent(key.kind, raw)
    if meta["uid"] != uid or meta.get("deletionTimestamp"):
        raise Vanished
