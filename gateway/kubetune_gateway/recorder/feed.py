"""What the recorder needs of the API server beside the routes' Jobs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

from kubetune.vocabulary.json_values import dict_of, text_of

Raw = Mapping[str, Any]
Change = Literal["ADDED", "MODIFIED", "DELETED"]


class Feed(Protocol):
    """FineTuneJobs of all namespaces, as they change. A change that nobody saw is told of later."""

    def subscribe(self, tell: Callable[[Change, Raw], None]) -> Callable[[], None]:
        """Tell of all that is known, as ADDED, and of each change from then on; return what ends that.

        Of an object that is gone its last state is told.
        """


def meta_of(raw: Raw) -> tuple[str, str, str]:
    """Namespace, name and uid."""
    meta = dict_of(raw.get("metadata"))
    return text_of(meta.get("namespace")), text_of(meta.get("name")), text_of(meta.get("uid"))


def is_going(raw: Raw) -> bool:
    """Whether it is being deleted."""
    return "deletionTimestamp" in dict_of(raw.get("metadata"))
