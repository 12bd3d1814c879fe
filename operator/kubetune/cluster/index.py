"""What the operator knows of the cluster: what people made, and the projections of its children, by key.

Fed by watches, by the answers of own writes and by the relist; every change is checked against the object's
resourceVersion, so the order in which they arrive does not matter. Never does I/O.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from ..facts.parse import slim
from ..facts.views import PARENTS, TERMINAL_PHASES, Key, Kind, Listing, PodView, Raw, View

_TOMBSTONES: Final = 8192
"""Deleted uids remembered, so that a late answer does not bring an object back."""


class Index:
    """All objects that people made, and their children."""

    def __init__(self) -> None:
        self._parents: dict[Key, Raw] = {}
        self._writing: dict[Key, Mapping[str, Any]] = {}
        """Statuses that are being written."""
        self._children: dict[Key, dict[str, View]] = {}
        self._owner: dict[str, Key] = {}
        """Key of each child, by uid."""
        self._departed: set[str] = set()
        """Pods that are deleted; how they ended is kept until their Job is gone."""
        self._gone: OrderedDict[str, int] = OrderedDict()
        """Version at which an object went, by uid; 0: not known."""

    def parent(self, key: Key) -> Raw | None:
        """The object of this key as it is known, without managedFields."""
        return self._parents.get(key)

    def parents(self) -> Iterable[tuple[Key, Raw]]:
        """All objects that people made, as a copy that other threads may read."""
        return list(self._parents.items())

    def children(self, key: Key) -> tuple[View, ...]:
        """The children of one key, in a stable order, as a copy that other threads may read."""
        views = self._children.get(key, {}).values()
        return tuple(sorted(views, key=lambda view: (view.kind, view.name, view.uid)))

    def child(self, key: Key, kind: Kind, name: str) -> View | None:
        """One child by its name."""
        views = self._children.get(key, {}).values()
        return next((v for v in views if v.kind is kind and v.name == name), None)

    def all_keys(self) -> set[Key]:
        """Keys of which anything is known."""
        return {*self._parents, *self._children}

    def put_parent(self, kind: Kind, raw: Raw) -> Key | None:
        """Take an object that somebody made; return its key when that changed anything.

        One without a uid is none: it could not be told from its namesakes.
        """
        meta = raw.get("metadata") or {}
        key = Key(kind, meta.get("namespace", ""), meta.get("name", ""))
        if not meta.get("uid") or meta["uid"] in self._gone:
            return None
        known = self._parents.get(key)
        if known is not None and not _newer(meta, known["metadata"]):
            return None
        kept = slim(raw)
        if _rests(kept):
            kept = _interned(kept)
        self._parents[key] = kept
        if known is not None and key in self._writing:
            known = {**known, "status": self._writing[key]}
        return None if known is not None and _content(known) == _content(kept) else key

    @contextmanager
    def writing(self, key: Key, status: Mapping[str, Any]) -> Iterator[None]:
        """While the block runs, this status is no change: the watch is often faster than the answer."""
        self._writing[key] = status
        try:
            yield
        finally:
            del self._writing[key]

    def put(self, view: View, *, key: Key | None = None, live: bool = False) -> Key | None:
        """Take a child; return its key when that changed anything.

        ``key`` says whose child it is when its label does not: somebody removed it, or the object is foreign.
        ``live``: it was read just now.
        """
        if not view.uid:
            return None
        key = key or view.key
        known = self._get(view.uid)
        if self._is_gone(view, live=live) or (known is not None and _version(view) <= _version(known)):
            return None
        if key is None:
            return self._drop(view.uid)
        if known is not None and self._owner[view.uid] != key:
            self._drop(view.uid)
        siblings = self._children.setdefault(key, {})
        if not isinstance(view, PodView):
            namesakes = [v for v in siblings.values() if (v.kind, v.name) == (view.kind, view.name)]
            for namesake in namesakes:
                if namesake.uid != view.uid:
                    if _version(namesake) > _version(view):
                        return None
                    self._drop(namesake.uid)
            siblings = self._children.setdefault(key, {})
        siblings[view.uid] = view
        self._owner[view.uid] = key
        return None if known is not None and _same(known, view) else key

    def remove_parent(self, key: Key, uid: str) -> Key | None:
        """Forget an object that is deleted; return its key when it was known."""
        self._bury(uid)
        known = self._parents.get(key)
        if known is None or known["metadata"].get("uid") != uid:
            return None
        del self._parents[key]
        return key

    def remove(self, uid: str, *, version: str | None = None) -> Key | None:
        """Forget a child that is deleted, at that version; return its key when that changed anything.

        A pod that ended stays for as long as its Job does: what it said is needed, and after an eviction or a
        failed peer it is gone within a second.
        """
        view = self._get(uid)
        if isinstance(view, PodView) and view.phase in TERMINAL_PHASES and view.owner_uid in self._owner:
            self._departed.add(uid)
            return None
        self._bury(uid, _number(version))
        key = self._drop(uid)
        if key is not None and view is not None and view.kind is Kind.JOB:
            for pod in [v for v in self._children.get(key, {}).values() if v.owner_uid == uid]:
                if pod.uid in self._departed:
                    self._bury(pod.uid)
                self._drop(pod.uid)
        return key

    def correct(self, kind: Kind, listing: Listing) -> set[Key]:
        """Drop what a list shows to be gone, add what is not watched; return the keys that changed."""
        listed = {view.uid for view in listing.views}
        changed: set[Key | None] = set()
        if kind in PARENTS:
            for key, raw in self.parents():
                if key.kind is not kind:
                    continue
                uid, version = raw["metadata"]["uid"], _number(raw["metadata"].get("resourceVersion"))
                if key.namespace in listing.denied:
                    continue
                if uid not in listed and version <= listing.resource_version:
                    changed.add(self.remove_parent(key, uid))
        else:
            for view in list(self._of_kind(kind)):
                if view.finetunejob is None or not view.managed or view.namespace in listing.denied:
                    continue  # foreign, or its label was edited: no list by our labels has it
                if view.uid not in listed and _version(view) <= listing.resource_version:
                    changed.add(self.remove(view.uid))
        if kind in UNWATCHED:
            changed |= {self.put(view) for view in listing.views}
        return {key for key in changed if key is not None}

    def _get(self, uid: str) -> View | None:
        key = self._owner.get(uid)
        return None if key is None else self._children[key][uid]

    def _of_kind(self, kind: Kind) -> Iterator[View]:
        return (v for views in self._children.values() for v in views.values() if v.kind is kind)

    def _drop(self, uid: str) -> Key | None:
        key = self._owner.pop(uid, None)
        if key is None:
            return None
        self._departed.discard(uid)
        siblings = self._children[key]
        del siblings[uid]
        if not siblings:
            del self._children[key]
        return key

    def _is_gone(self, view: View, *, live: bool) -> bool:
        """Whether the object was deleted, and not only lost to the watches by an edited label."""
        if view.uid not in self._gone:
            return False
        went = self._gone[view.uid]
        if _version(view) < went or not (went or live):
            return True
        del self._gone[view.uid]
        return False

    def _bury(self, uid: str, version: int = 0) -> None:
        self._gone[uid] = version
        if len(self._gone) > _TOMBSTONES:
            self._gone.popitem(last=False)


UNWATCHED: Final = (Kind.CONFIG_MAP, Kind.SERVICE, Kind.CLAIM, Kind.NETWORK_POLICY)
"""Kinds that only own writes and the relist report."""

RELISTED: Final = (Kind.FINE_TUNE_JOB, Kind.JOB, Kind.DEPLOYMENT, *UNWATCHED)
"""Kinds that the relist compares; pods are not, since how they ended outlives them."""


def _number(resource_version: str | None) -> int:
    """Resource versions are numbers in every API server there is, and declared comparable since 1.35."""
    try:
        return int(resource_version or 0)
    except ValueError:
        return 0


def _version(view: View) -> int:
    return _number(view.resource_version)


def _newer(meta: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    return _number(meta.get("resourceVersion")) > _number(known.get("resourceVersion"))


def _rests(raw: Raw) -> bool:
    """Whether an object stays as it is for long: the others are soon replaced."""
    conditions = (raw.get("status") or {}).get("conditions") or ()
    return any(c.get("type") in ("Ready", "Stalled") and c.get("status") == "True" for c in conditions)


def _interned(value: Any) -> Any:
    """Share keys between objects: they are half of what a thousand objects take."""
    if isinstance(value, dict):
        return {sys.intern(key): _interned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_interned(item) for item in value]
    return value


def _content(raw: Raw) -> dict[str, Any]:
    return {**raw, "metadata": {k: v for k, v in raw["metadata"].items() if k != "resourceVersion"}}


def _same(known: View, view: View) -> bool:
    return all(
        getattr(known, name) == getattr(view, name)
        for name in _fields(type(view))
        if name != "resource_version"
    )


def _fields(kind: type[View]) -> Iterable[str]:
    return kind.__dataclass_fields__
