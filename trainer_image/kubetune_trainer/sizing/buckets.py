"""What ranks exchange at a time, and so hold beside their own part: a share of each rank's memory."""

from __future__ import annotations

from ..contract.config import TrainingConfig

_ADAPTER, _FULL = 50_000_000, 200_000_000
"""Elements. DeepSpeed's 5e8 take a gigabyte or two, which an adapter does not fill and a network does not
need; a larger tensor is exchanged by itself."""

LIVE_PARAMETERS = 1_000_000_000
"""Gathered parameters that ZeRO-3 holds at a time, at most: DeepSpeed's ``stage3_max_live_parameters``."""


def bucket_elements(training: TrainingConfig, parameters: int) -> int:
    """Elements of gradients in a bucket, of a base with so many parameters."""
    even = parameters + parameters % 2  # as DeepSpeed wants buckets that NCCL divides
    return min(_FULL, even) if training.adapter.full else _ADAPTER
