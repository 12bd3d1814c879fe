"""How many logits are in memory at a time; without torch, for the estimate."""

from __future__ import annotations

_CPU = 16 << 20
_GPU = 256 << 20


def chunk_bytes(*, on_gpu: bool) -> int:
    """Bytes of the float32 logits of one chunk: about what a processor's caches hold, or keeps a GPU busy."""
    return _GPU if on_gpu else _CPU
