"""What is known of GPU types: memory, whether they compute in bf16, and speed. A table, without torch.

Memory is what CUDA reports as a device's total (``torch.cuda.get_device_properties``), rounded down: less
than on the label, since driver and ECC take their part. Speeds are the dense figures of NVIDIA's data sheets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..contract.config import TrainerConfig

_GIB = 2**30

UTILISATION = 0.35
"""Share of a GPU's peak that training is expected to reach: that of small batches and of adapters."""

UNKNOWN_SPEED = 1.2e14
"""Operations per second expected of a GPU whose type is not told: about an A100's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GPU:
    """A type of GPU."""

    name: str
    memory_bytes: int
    bf16: bool = True
    """False: training computes in float32."""
    flops: float
    """Dense operations per second at its peak, in bf16, or in float32 where there is no bf16."""

    @property
    def width(self) -> int:
        """Bytes of a number that is trained with."""
        return 2 if self.bf16 else 4

    @property
    def speed(self) -> float:
        """Operations per second expected of it in training."""
        return UTILISATION * self.flops


def _gpu(name: str, gib: float, teraflops: float, *, bf16: bool = True) -> GPU:
    return GPU(name=name, memory_bytes=int(gib * _GIB), flops=teraflops * 1e12, bf16=bf16)


GPUS = (
    _gpu("T4", 14.5, 8.1, bf16=False),
    _gpu("V100-16GB", 15.7, 14, bf16=False),
    _gpu("V100-32GB", 31.7, 14, bf16=False),
    _gpu("L4", 21.9, 121),
    _gpu("A10G", 21.9, 70),
    _gpu("A10", 21.9, 125),
    _gpu("A40", 44.3, 150),
    _gpu("L40S", 44.3, 362),
    _gpu("RTX-A6000", 47.5, 155),
    _gpu("A100-40GB", 39.3, 312),
    _gpu("A100-80GB", 79.1, 312),
    _gpu("H100-80GB", 79.1, 756),  # of the PCIe card; SXM has 989
    _gpu("H100-NVL-94GB", 93.0, 835),
    _gpu("H200-141GB", 139.8, 989),
    _gpu("B200-180GB", 178.3, 2250),
)
"""Types by their usual names; of several sizes the smallest first."""

_SIZE = re.compile(r"(\d+)gb?")
_DECORATION = re.compile(r"nvidia|tesla|sxm\d?|pcie|hbm\d?e?|rtx")
_TOLERANCE = 0.12  # between the size on the label and what CUDA reports


def find(name: str) -> GPU | None:
    """The type of a name as people or the label ``nvidia.com/gpu.product`` spell it; None if it is unknown.

    Without a size it is the smallest that the type comes with. A slice of a GPU, such as
    ``A100-SXM4-80GB-MIG-1g.10gb``, or a shared one is unknown: it has less than the type.
    """
    kind, size = _parts(name)
    for gpu in GPUS:
        gib = gpu.memory_bytes / _GIB
        if _parts(gpu.name)[0] == kind and (size is None or abs(size - gib) <= _TOLERANCE * size):
            return gpu
    return None


def known(name: str) -> GPU:
    """The type of a name; raises LookupError if it is unknown."""
    gpu = find(name)
    if gpu is None:
        raise LookupError(f"{name} is none of {names()}")
    return gpu


def of_platform(config: TrainerConfig) -> GPU | None:
    """The type of the platform's GPUs; None where it is not told, or unknown."""
    return find(config.gpu_type) if config.gpu_type else None


def memory_bytes(config: TrainerConfig) -> int | None:
    """Memory of one of the platform's GPUs, as far as it is told."""
    gpu = of_platform(config)
    return config.gpu_memory_bytes or (gpu.memory_bytes if gpu else None)


def names() -> str:
    """All types, for a sentence."""
    return ", ".join(gpu.name for gpu in GPUS)


def _parts(name: str) -> tuple[frozenset[str], int | None]:
    """What tells types apart in a name, and its size in GB if it has one."""
    kind, size = set(), None
    for word in re.split(r"[\s_/-]+", name.strip().lower()):
        if match := _SIZE.fullmatch(word):
            size = int(match.group(1))
        elif word and not _DECORATION.fullmatch(word):
            kind.add(word)
    return frozenset(kind), size
