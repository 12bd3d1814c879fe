"""Brings what the cluster has into the index, by events and by lists, and what changed to whoever acts.

Only projects, indexes and enqueues.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from ..cluster.debounce import News, patience
from ..cluster.index import Index
from ..cluster.kube import Kube
from ..cluster.watch import Watches
from ..controller.leader import Leader
from ..facts.parse import parse_child
from ..facts.views import PARENTS, Key, Kind, Raw
from ..vocabulary.errors import KubeTuneError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """From watches and lists to the index and the leader."""

    kube: Kube
    index: Index
    watches: Watches
    leader: Leader

    def deliver(self, kind: Kind, type_: str | None, raw: Raw) -> None:
        """Bring an event into the index; one that we cannot read must not end a watch."""
        try:
            news = take(self.index, kind, type_, raw)
        except Exception:
            logger.exception("An event could not be read", extra={"kind": kind.value, "type": type_})
            return
        if news is not None:
            self.leader.add([news])

    async def relist(self, kinds: Iterable[Kind]) -> KubeTuneError | None:
        """Compare the index with metadata-only lists, enqueue what differs; return what kept one from it."""
        failed: KubeTuneError | None = None
        for kind in kinds:
            try:
                listing = await self.kube.list_metadata(kind)
            except KubeTuneError as error:
                logger.warning("A relist failed", extra={"kind": kind.value, "reason": str(error)})
                failed = failed or error
                continue
            for namespace in sorted(listing.denied):
                logger.warning("A relist was denied", extra={"kind": kind.value, "namespace": namespace})
                self.watches.denied(namespace)
            self.leader.add(map(News, self.index.correct(kind, listing)))
        return failed


def take(index: Index, kind: Kind, type_: str | None, raw: Raw) -> News | None:
    """Bring one event into the index; say which key has to be looked at, and how soon."""
    meta = raw["metadata"]
    if kind not in PARENTS and type_ != "DELETED":
        view = parse_child(raw, kind)
        key = index.put(view)
        return None if key is None else News(key, patience(view, index.children(key)))
    if kind in PARENTS and type_ == "DELETED":
        key = index.remove_parent(Key(kind, meta.get("namespace", ""), meta["name"]), meta["uid"])
    elif kind in PARENTS:
        key = index.put_parent(kind, raw)
    else:
        # A pod that ends and is deleted at once says how it ended in this event only.
        last = index.put(parse_child(raw, kind)) if kind is Kind.POD and raw.get("status") else None
        key = index.remove(meta["uid"], version=meta.get("resourceVersion")) or last
    return None if key is None else News(key)
