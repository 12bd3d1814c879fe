"""Sentences for people: conditions and Events say what happened, where, and what to do. Pure."""

from __future__ import annotations

from typing import Final

from .names import PREPARE, SERVE, TRAIN
from .strangers import plain

_LIMIT: Final = 240

APPLY_AGAIN: Final = "delete the FineTuneJob and apply it again"
"""Only useCase and serving can be edited."""

ADOPTED: Final = "finished work is adopted"


def sentences(*texts: str) -> str:
    """Join texts on one line, each with its full stop."""
    lines = filter(None, map(plain, texts))
    return " ".join(line if line.endswith((".", "!", "?")) else f"{line}." for line in lines)


def shortened(text: str, *, limit: int = _LIMIT) -> str:
    """One line of bounded length, without a full stop at its end."""
    line = plain(text).rstrip(". ")
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def more_room(eviction: str) -> str:
    """What to do about a pod that its node has evicted for the disk or memory that its volumes took."""
    for volume, setting in (("kubetune-tmp", "scratchSize"), ("kubetune-shm", "shmSize")):
        if f'"{volume}"' in eviction:
            return f"Have the platform raise settings.{setting} of KubeTune's chart"
    return ""


def template_of(stage: str) -> str:
    """The podTemplates that decide about a stage's pods, as a person edits them."""
    return {PREPARE: "podTemplate", TRAIN: "podTemplate or training.podTemplate"}.get(
        stage, "serving.podTemplate"
    )


def respec(change: str, *, stage: str = "") -> str:
    """A change of the spec with the way to make it: only spec.serving can be edited in place."""
    return change if stage == SERVE else f"{change} ({APPLY_AGAIN}; {ADOPTED})"
