"""This node's GPUs, looked at before the ranks meet: what cannot work ends in a sentence, not in retries."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..contract.errors import GpuUnusable, TrainerError, first_line

_DRIVER_FILE = Path("/proc/driver/nvidia/version")
_DRIVER = re.compile(r"Kernel Module(?: for \S+)?\s+(\d+(?:\.\d+)+)")
_CUDA = re.compile(r"found version (\d+)")

_NEEDED_DRIVERS = {11: 450, 12: 525, 13: 580}
"""Oldest branch of the driver by CUDA's major version (NVIDIA's CUDA Compatibility: minor versions)."""

_DRIVER_MARKS = ("driver on your system is too old", "driver version is insufficient")
_NO_DRIVER_MARKS = ("Found no NVIDIA driver", "no CUDA-capable device", "Torch not compiled with CUDA")

_HOW_TO = 'docs/how-to/install-on-a-gpu-cluster.md, "Drivers"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """What one rank sees."""

    built_for: str | None
    """CUDA version of this torch, such as 13.0."""
    driver: str | None
    """Version of the kernel's NVIDIA driver, where the kernel tells it."""
    visible: int
    """Devices that CUDA counts."""
    problem: str = ""
    """Why CUDA could not be initialised."""
    name: str = ""
    """Of this rank's device."""
    bf16: bool = True
    """Whether it computes in bfloat16."""


def require_usable(found: Devices, gpus: int) -> None:
    """Refuse a node on which so many ranks cannot train.

    Raises:
        GpuUnusable: no retry helps: the driver is too old or not there, or there are too few devices.
        TrainerError: CUDA fails in another way, which may be this one node's trouble.
    """
    if found.problem:
        raise _explained(found)
    if found.visible < gpus:
        raise GpuUnusable(
            f"training.gpusPerNode is {gpus}, but CUDA sees {found.visible} in this pod. Look for "
            "CUDA_VISIBLE_DEVICES or NVIDIA_VISIBLE_DEVICES in the pod template, and whether the resource "
            "that the platform's setting gpuResource names is a whole GPU: of the slices of a GPU (MIG) a "
            "process sees one."
        )


def bf16_warning(found: Devices) -> str | None:
    """What to say of a device on which training falls back to float32; None where it need not."""
    if found.bf16:
        return None
    return (
        f"{found.name or 'This GPU'} does not compute in bfloat16: training runs in float32, which takes "
        "twice the memory that was estimated and is several times slower. GPUs from Ampere (A100, A10) on do."
    )


def driver_version(text: str) -> str | None:
    """Version in the text of /proc/driver/nvidia/version, of the proprietary and of the open module."""
    match = _DRIVER.search(text)
    return match[1] if match else None


def look(local_rank: int) -> Devices:
    """Initialise CUDA, and see what there is."""
    import torch

    built_for, driver = torch.version.cuda, _driver()
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        return Devices(built_for=built_for, driver=driver, visible=0, problem=first_line(error))
    visible = torch.cuda.device_count()
    if local_rank >= visible:
        return Devices(built_for=built_for, driver=driver, visible=visible)
    torch.cuda.set_device(local_rank)
    return Devices(
        built_for=built_for,
        driver=driver,
        visible=visible,
        name=torch.cuda.get_device_name(local_rank),
        bf16=torch.cuda.is_bf16_supported(including_emulation=False),
    )


def _driver() -> str | None:
    try:
        return driver_version(_DRIVER_FILE.read_text())
    except OSError:
        return None


def _explained(found: Devices) -> TrainerError:
    if _too_old(found):
        needed = _needed(found)
        least = f"driver {needed} or later" if needed else "a newer one"
        return GpuUnusable(
            f"The NVIDIA driver of this node is too old: it is {_version(found)}, and torch in the trainer "
            f"image is built for CUDA {found.built_for}, which needs {least}. Upgrade the driver, or build "
            f"the image with torch for an older CUDA ({_HOW_TO})."
        )
    if found.driver is None and any(mark in found.problem for mark in _NO_DRIVER_MARKS):
        return GpuUnusable(
            f"No NVIDIA driver reaches this pod ({found.problem}). The node needs the driver, and the "
            "container runtime or the device plugin has to bring its libraries into pods: some clusters need "
            "a runtimeClassName in the pod template."
        )
    driver = f", driver {found.driver}" if found.driver else ""
    return TrainerError(f"CUDA cannot be initialised on this node{driver}: {found.problem}")


def _too_old(found: Devices) -> bool:
    if any(mark in found.problem for mark in _DRIVER_MARKS):
        return True
    needed = _needed(found)
    return found.driver is not None and needed is not None and int(found.driver.partition(".")[0]) < needed


def _version(found: Devices) -> str:
    if found.driver is not None:
        return found.driver
    match = _CUDA.search(found.problem)  # 12080 is 12.8
    return f"one for CUDA {int(match[1]) // 1000}.{int(match[1]) % 1000 // 10}" if match else "unknown"


def _needed(found: Devices) -> int | None:
    major = (found.built_for or "").partition(".")[0]
    return _NEEDED_DRIVERS.get(int(major)) if major.isdigit() else None
