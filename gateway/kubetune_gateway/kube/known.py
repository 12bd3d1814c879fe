"""FineTuneJobs as far as they are known: what the watch has told, and what answers have told since. Pure.

Whoever makes a job is told of it by the answer, before the watch tells. The answer counts until the watch has
come as far: versions of one API server have one order. So neither is an answer lost, nor does one outlive the
object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from kubetune.vocabulary.json_values import dict_of, int_of, text_of

Raw = Mapping[str, Any]
Change = tuple[Literal["ADDED", "MODIFIED", "DELETED"], Raw]


class Known:
    """The FineTuneJobs of one watch. Objects are never changed, only replaced."""

    def __init__(self) -> None:
        self.version = 0
        """How far the watch has come; 0: nothing was listed yet."""
        self._watched: dict[str, Raw] = {}
        self._answers: dict[str, Raw] = {}
        self._gone: set[str] = set()
        """Uids of those that are deleted, which the watch has not told yet."""

    def listed(self, items: Sequence[Raw], version: int) -> list[Change]:
        """All that there is at a version; return what changed, what is gone too."""
        before, self._watched = self._watched, {uid_in(raw): raw for raw in items}
        self._gone &= self._watched.keys()
        self.version = 0  # also where it is older than before: etcd was restored
        self._reached(version)
        changes: list[Change] = [("DELETED", raw) for uid, raw in before.items() if uid not in self._watched]
        for uid, raw in self._watched.items():
            if uid not in before:
                changes.append(("ADDED", raw))
            elif version_in(raw) != version_in(before[uid]):
                changes.append(("MODIFIED", raw))
        return changes

    def event(self, kind: str, raw: Raw) -> Change | None:
        """One event of the watch; return what changed, if anything did."""
        uid = uid_in(raw)
        self._reached(version_in(raw))
        match kind:
            case "DELETED":
                self._gone.discard(uid)
                return None if self._watched.pop(uid, None) is None else ("DELETED", raw)
            case "ADDED" | "MODIFIED":
                known = uid in self._watched
                self._watched[uid] = raw
                return ("MODIFIED" if known else "ADDED", raw)
            case _:  # a bookmark
                return None

    def answered(self, raw: Raw) -> None:
        """An object as an answer has it; what the watch knows already is no news."""
        if version_in(raw) > self.version:
            held = self._answers.get(uid_in(raw))
            if held is None or version_in(held) < version_in(raw):
                self._answers[uid_in(raw)] = raw

    def deleted(self, uid: str) -> None:
        """An answer said that this one is gone."""
        self._answers.pop(uid, None)
        if uid in self._watched:
            self._gone.add(uid)

    def get(self, uid: str) -> Raw | None:
        """The one with this uid."""
        return None if uid in self._gone else self._answers.get(uid) or self._watched.get(uid)

    def watched(self) -> Sequence[Raw]:
        """All that the watch has told."""
        return list(self._watched.values())

    def __iter__(self) -> Iterator[Raw]:
        for uid, raw in self._watched.items():
            if uid not in self._gone:
                yield self._answers.get(uid, raw)
        for uid, raw in self._answers.items():
            if uid not in self._watched:
                yield raw

    def _reached(self, version: int) -> None:
        self.version = max(self.version, version)
        if self._answers:
            newer = {uid: raw for uid, raw in self._answers.items() if version_in(raw) > self.version}
            self._answers = newer


def uid_in(raw: Raw) -> str:
    """An object's uid."""
    return text_of(dict_of(raw.get("metadata")).get("uid"))


def namespace_in(raw: Raw) -> str:
    """An object's namespace."""
    return text_of(dict_of(raw.get("metadata")).get("namespace"))


def version_in(raw: Raw) -> int:
    """An object's version."""
    return int_of(dict_of(raw.get("metadata")).get("resourceVersion"))


def lean(raw: Raw) -> Raw:
    """An object without the record of who owns which field: half of its size, and nobody reads it."""
    meta = {name: value for name, value in dict_of(raw.get("metadata")).items() if name != "managedFields"}
    return {**raw, "metadata": meta}
