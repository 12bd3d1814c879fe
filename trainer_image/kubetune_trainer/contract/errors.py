"""Errors of the trainer: each knows the exit code and the reason that the operator acts on.

::

    TrainerError                 Unknown, counted retry
    +-- Transient                the network or a server failed: trying again may help
    +-- PassTooLarge             out of memory, and the next attempt takes less at once
    +-- InvalidInput             code 42, nothing is tried again
    |   +-- DataInvalid          rows, files or credentials of the dataset
    |   +-- ModelUnavailable     the base model cannot be had or cannot be used
    |   +-- AdapterInvalid       the trained weights did not pass their checks
    |   +-- DoesNotFit           the estimate is larger than one GPU's memory
    |   +-- VolumeUnusable       the output volume is full, read-only or damaged
    |   +-- GpuUnusable          the node's driver or GPUs are not what training needs
    +-- OutOfMemory              code 43
    +-- Preempted                code 44
    +-- NumericalFailure         code 45
    +-- PeerLost                 code 46
    +-- DirectoryInUse           code 47

A message is a sentence or two: what happened, in which field, file or line, and what to do about it.
Neither rows nor credentials are quoted.
"""

# ruff: noqa: N818 - an error is named like its reason, which users read in the status

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from typing_extensions import override

from .messages import ExitCode, Reason


class TrainerError(Exception):
    """Anything the trainer reports in a sentence; on its own it is retried."""

    code: int = 1
    reason: Reason = Reason.UNKNOWN

    @property
    def message(self) -> str:
        """The sentence."""
        return str(self)

    def summary(self) -> dict[str, Any]:
        """What goes into the termination message beside the sentence."""
        return {}


class Transient(TrainerError):
    """A server or the network failed; the operator retries with backoff."""


class InvalidInput(TrainerError):
    """The job cannot succeed as it is written."""

    code = ExitCode.INVALID_INPUT
    reason = Reason.INVALID_INPUT


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """One finding about one row; ``line`` counts from 1."""

    line: int
    kind: str
    """One of the classes in ``formats`` and ``rows``, such as missing_messages_list."""
    message: str
    file: str = ""

    def as_json(self) -> dict[str, Any]:
        """Keys of errors.jsonl and of the termination message."""
        named = {"file": self.file} if self.file else {}
        return {**named, "line": self.line, "class": self.kind, "message": self.message}


class DataInvalid(InvalidInput):
    """The dataset cannot be used; ``rows`` are the first bad rows, ``classes`` counts them all."""

    reason = Reason.DATA_INVALID

    def __init__(
        self,
        message: str,
        *,
        rows: Sequence[BadRow] = (),
        classes: Mapping[str, int] | None = None,
        errors: int = 0,
    ) -> None:
        super().__init__(message)
        self._rows = tuple(rows)
        self._classes = dict(classes or {})
        self._errors = errors

    @override
    def summary(self) -> dict[str, Any]:
        """``errors`` is the number of bad rows; a row can count in several classes."""
        if not self._rows:
            return {}
        rows = [row.as_json() for row in self._rows]
        return {"errors": self._errors, "classes": self._classes, "rows": rows}


class ModelUnavailable(InvalidInput):
    """The base model is missing, gated, or of a kind that is not trained."""

    reason = Reason.MODEL_UNAVAILABLE


class AdapterInvalid(InvalidInput):
    """The trained weights did not pass their checks."""

    reason = Reason.ADAPTER_INVALID


class DoesNotFit(InvalidInput):
    """The estimate is larger than the memory of one GPU."""

    reason = Reason.DOES_NOT_FIT


class VolumeUnusable(InvalidInput):
    """The output volume is full, may not be written, or holds files that are not what they were."""

    reason = Reason.VOLUME_UNUSABLE

    @classmethod
    def changed(cls, prepared: Path, what: str) -> Self:
        """Something is wrong with the directory that prepare wrote."""
        return cls(f"{prepared} is not what prepare makes: {what}. Delete that directory.")


class GpuUnusable(InvalidInput):
    """The driver is too old or missing, or there are fewer GPUs than ranks."""

    reason = Reason.GPU_UNUSABLE


class OutOfMemory(TrainerError):
    """The container or the GPU ran out of memory."""

    code = ExitCode.OUT_OF_MEMORY
    reason = Reason.OUT_OF_MEMORY


class PassTooLarge(TrainerError):
    """A forward pass did not fit into memory; the next attempt has smaller ones."""


class Preempted(TrainerError):
    """SIGTERM."""

    code = ExitCode.PREEMPTED
    reason = Reason.PREEMPTED


class NumericalFailure(TrainerError):
    """The loss or a gradient is not a number."""

    code = ExitCode.NUMERICAL_FAILURE
    reason = Reason.NUMERICAL_FAILURE


class PeerLost(TrainerError):
    """Another rank died, or a collective timed out."""

    code = ExitCode.PEER_LOST
    reason = Reason.PEER_LOST


class DirectoryInUse(TrainerError):
    """Another pod writes to the job's directory on the output volume."""

    code = ExitCode.DIRECTORY_IN_USE
    reason = Reason.DIRECTORY_IN_USE


def as_json(error: BaseException) -> dict[str, str]:
    """An error as ranks tell it to each other: what kind it is, and its sentence."""
    if isinstance(error, TrainerError):
        return {"kind": type(error).__name__, "message": error.message}
    return {"kind": TrainerError.__name__, "message": f"{type(error).__name__}: {error}"}


def from_json(told: Mapping[str, str]) -> TrainerError:
    """The error that another rank told; a kind that is not known is a plain TrainerError."""
    return _kinds().get(told["kind"], TrainerError)(told["message"])


def _kinds() -> dict[str, type[TrainerError]]:
    kinds, found = [TrainerError], {}
    while kinds:
        kind = kinds.pop()
        found[kind.__name__] = kind
        kinds += kind.__subclasses__()
    return found


def first_line(error: BaseException) -> str:
    """What an exception of a library says, short enough for a sentence."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def name_list(names: Iterable[object], limit: int = 5) -> str:
    """Join names for a sentence, at most ``limit`` of them: "a, b and 3 more"."""
    texts = [str(name) for name in names]
    if len(texts) <= limit:
        return " and ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]]))
    return f"{', '.join(texts[:limit])} and {len(texts) - limit} more"
