"""What is written again and again is written ever more slowly: somebody undoes it each time.

Whether a child is deleted or changed makes no difference: the same content for the same name is counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ..facts.views import Kind, Manifest
from ..vocabulary.names import ANNOTATION_INTENT
from ..vocabulary.periods import TIMER_ERROR, doubled

Child = tuple[Kind, str]

FIRST: Final = 1.0
LIMIT: Final = 300.0
CALM: Final = 2 * LIMIT
"""What was not undone for this long is put right at once the next time."""


@dataclass(slots=True)
class _Write:
    content: str
    repeats: int
    last: float


@dataclass(slots=True)
class Repeats:
    """What was written of one FineTuneJob's children, and how often the same."""

    _writes: dict[Child, _Write] = field(default_factory=dict)

    def wrote(self, manifest: Manifest, now: float) -> None:
        """Remember a write."""
        child, content = child_of(manifest), _content(manifest)
        known = self._writes.get(child)
        repeats = 0 if known is None or known.content != content else self.count(manifest, now) + 1
        self._writes[child] = _Write(content, repeats, now)

    def count(self, manifest: Manifest, now: float) -> int:
        """How often this was put right without a calm time since."""
        known = self._writes.get(child_of(manifest))
        if known is None or known.content != _content(manifest) or now - known.last > CALM:
            return 0
        return known.repeats

    def delay(self, manifest: Manifest, now: float) -> float:
        """Seconds until this may be written: at once the first time that it has to be put right."""
        count = self.count(manifest, now)
        if count == 0:
            return 0.0
        pause = doubled(FIRST, count - 1, limit=LIMIT)
        left = self._writes[child_of(manifest)].last + pause - now
        return left if left > TIMER_ERROR else 0.0

    def forget(self, child: Child) -> None:
        """Forget a child that is not wanted any more."""
        self._writes.pop(child, None)


def child_of(manifest: Manifest) -> Child:
    """Kind and name."""
    return Kind(manifest["kind"]), manifest["metadata"]["name"]


def _content(manifest: Manifest) -> str:
    """What tells two versions of a child apart; most have but one."""
    return str(manifest["metadata"].get("annotations", {}).get(ANNOTATION_INTENT, ""))
