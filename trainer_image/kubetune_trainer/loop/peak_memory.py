"""The most memory that this rank has held: what the estimate of one rank is to be compared with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def peak_bytes(device: torch.device) -> int | None:
    """Bytes at the peak so far: on a GPU of all that is in use there, on CPU of the process.

    On a GPU it is the peak of torch's allocator, and what CUDA and NCCL hold beside it now. On CPU it
    includes what is mapped from files. None where the system does not tell.
    """
    if device.type != "cuda":
        return _process_peak()
    import torch

    free, total = torch.cuda.mem_get_info(device)
    beside = max(0, total - free - torch.cuda.memory_reserved(device))
    return torch.cuda.max_memory_reserved(device) + beside


def _process_peak() -> int | None:
    """VmHWM: ru_maxrss would include what was in the process's place before it."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
