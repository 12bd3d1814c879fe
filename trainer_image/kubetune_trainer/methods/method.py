"""What a training method decides; the loop knows no more of one than this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import torch

Row = Mapping[str, Any]
"""Columns of a prepared row, by name: whole numbers, as many as the row has tokens."""

Batch = dict[str, Any]
"""Rows of one forward pass as tensors, by names that only the method knows."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Loss:
    """What one forward pass over a batch yields; all of it are sums, so that batches add up."""

    total: torch.Tensor
    """Scalar with a gradient; the loop divides it by the weight of the whole global batch."""
    metrics: dict[str, torch.Tensor]
    """Scalars without a gradient, by the method's ``metrics``."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Size:
    """How much some batches are."""

    weight: int
    """What their loss is divided by."""
    tokens: int
    """Without padding."""


class Method(Protocol):
    """A way to train. It is made with the model, before the loop wraps it."""

    metrics: ClassVar[tuple[str, ...]]
    """Names under which sums are told, each divided by the weight."""
    filler: ClassVar[Row]
    """A row that weighs nothing, for a rank that has none in a forward pass."""

    def __init__(self, model: Any) -> None: ...

    def collate(self, rows: Sequence[Row]) -> Batch:
        """Make one batch of some rows."""
        ...

    def size(self, batches: Sequence[Batch]) -> Size:
        """Measure some batches."""
        ...

    def loss(self, model: Any, batch: Batch) -> Loss:
        """Run the model, as the loop has wrapped it, on a batch on its device."""
        ...

    @staticmethod
    def head_bytes(tokens: int, text: Any, *, on_gpu: bool) -> int:
        """Bytes of memory that the loss takes for a forward pass, beside the layers' activations.

        ``text`` is transformers' configuration of the text model."""
        ...
