"""What a rank makes of a node's driver and GPUs, from facts as torch and the kernel tell them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kubetune_trainer.contract.errors import GpuUnusable, TrainerError
from kubetune_trainer.gang.devices import Devices, bf16_warning, driver_version, require_usable

GOOD = Devices(built_for="13.0", driver="580.65.06", visible=8, name="NVIDIA H200")
TOO_OLD = (
    "The NVIDIA driver on your system is too old (found version 12080). Please update your GPU driver by "
    "downloading and installing a new version"
)
NO_DRIVER = "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU"


def refused(found: Devices, gpus: int = 8) -> TrainerError:
    with pytest.raises(TrainerError) as raised:
        require_usable(found, gpus)
    return raised.value


@pytest.mark.parametrize("visible", [8, 16])
def test_a_node_with_all_its_gpus_is_usable(visible: int) -> None:
    require_usable(replace(GOOD, visible=visible), 8)
    # a driver of an older branch with NVIDIA's compatibility libraries: CUDA works, which is what counts
    require_usable(replace(GOOD, driver="535.129.03"), 8)


def test_a_driver_that_is_too_old_is_named_with_the_one_that_is_needed() -> None:
    error = refused(Devices(built_for="13.0", driver="570.86.15", visible=0, problem=TOO_OLD))
    assert type(error) is GpuUnusable
    assert error.message == (
        "The NVIDIA driver of this node is too old: it is 570.86.15, and torch in the trainer image is built "
        "for CUDA 13.0, which needs driver 580 or later. Upgrade the driver, or build the image with torch "
        'for an older CUDA (docs/how-to/install-on-a-gpu-cluster.md, "Drivers").'
    )


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (Devices(built_for="13.0", driver=None, visible=0, problem=TOO_OLD), "it is one for CUDA 12.8, and"),
        (Devices(built_for="12.8", driver="470.57.02", visible=0, problem=TOO_OLD), "driver 525 or later"),
        (
            # libraries of a container that are newer than the driver
            Devices(
                built_for="13.0", driver="550.54.15", visible=0, problem="Error 803: system has unsupported"
            ),
            "it is 550.54.15, and",
        ),
        (Devices(built_for="13.0", driver=None, visible=0, problem=NO_DRIVER), "No NVIDIA driver reaches"),
        (
            Devices(built_for=None, driver=None, visible=0, problem="Torch not compiled with CUDA enabled"),
            "No",
        ),
        (replace(GOOD, visible=1), "training.gpusPerNode is 8, but CUDA sees 1 in this pod."),
        (replace(GOOD, visible=0), "CUDA sees 0"),
    ],
)
def test_what_no_retry_mends_is_final(found: Devices, says: str) -> None:
    error = refused(found)
    assert type(error) is GpuUnusable
    assert says in error.message


def test_other_failures_of_cuda_may_be_of_one_node_and_are_retried() -> None:
    problem = "CUDA driver initialization failed, you might not have a CUDA gpu."
    error = refused(replace(GOOD, visible=0, problem=problem))
    assert type(error) is TrainerError
    assert error.message == f"CUDA cannot be initialised on this node, driver 580.65.06: {problem}"


def test_a_gpu_without_bfloat16_is_warned_of() -> None:
    assert bf16_warning(GOOD) is None
    warning = bf16_warning(replace(GOOD, name="Tesla V100-SXM2-32GB", bf16=False))
    assert warning is not None
    assert warning.startswith("Tesla V100-SXM2-32GB does not compute in bfloat16: training runs in float32")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\n"
            "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n",
            "535.129.03",
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n",
            "580.65.06",
        ),
        ("something else", None),
    ],
)
def test_the_kernel_tells_the_drivers_version(text: str, version: str | None) -> None:
    assert driver_version(text) == version
