"""GPU types: how their names are read, and what they make of estimates and warnings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kubetune_trainer.contract.errors import DoesNotFit
from kubetune_trainer.contract.messages import DatasetSummary, TokensPerRow
from kubetune_trainer.prepare import warnings
from kubetune_trainer.sizing import gpus
from kubetune_trainer.sizing.estimate import plan
from tests.unit.test_trainer_estimate import EIGHT, SHAPE, config

ROWS = DatasetSummary(
    fingerprint="f",
    train_rows=1000,
    validation_rows=0,
    train_tokens=200_000,
    tokens_per_row=TokensPerRow(mean=200, p50=200, p95=300, max=1000),
)


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("Tesla-T4", "T4"),
        ("Tesla-V100-SXM2-16GB", "V100-16GB"),
        ("Tesla-V100-SXM2-32GB", "V100-32GB"),
        ("NVIDIA-L4", "L4"),
        ("NVIDIA-A10G", "A10G"),
        ("nvidia a10", "A10"),
        ("NVIDIA-L40S", "L40S"),
        ("NVIDIA RTX A6000", "RTX-A6000"),
        ("A6000", "RTX-A6000"),
        ("A100", "A100-40GB"),
        ("NVIDIA-A100-SXM4-40GB", "A100-40GB"),
        ("NVIDIA-A100-80GB-PCIe", "A100-80GB"),
        ("a100_80gb", "A100-80GB"),
        ("NVIDIA-H100-80GB-HBM3", "H100-80GB"),
        ("NVIDIA-H100-PCIe", "H100-80GB"),
        ("NVIDIA-H100-NVL", "H100-NVL-94GB"),
        ("NVIDIA-H200", "H200-141GB"),
        ("B200", "B200-180GB"),
    ],
)
def test_a_type_is_known_by_any_of_its_names(spelled: str, name: str) -> None:
    found = gpus.find(spelled)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("gpu", gpus.GPUS, ids=lambda gpu: gpu.name)
def test_a_type_is_found_by_its_own_name(gpu: gpus.GPU) -> None:
    assert gpus.find(gpu.name) is gpu


@pytest.mark.parametrize(
    "name", ["", "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb", "Tesla-T4-SHARED", "A100-20GB", "MI300X", "H10"]
)
def test_slices_and_strangers_are_unknown(name: str) -> None:
    assert gpus.find(name) is None


def on(gpu: str | None, memory: int | None = None, **training: Any) -> Any:
    fields = {"nodes": 1, "gpus_per_node": 1, "batch_size": 8, **training}
    return config(training=fields, gpu_type=gpu, gpu_memory_bytes=memory)


def test_a_type_says_the_memory_unless_that_is_set() -> None:
    with pytest.raises(DoesNotFit, match="but it has 24 GB"):
        plan(on("L4", adapter={"type": "Full"}), EIGHT, 8_000_000_000, SHAPE)
    with pytest.raises(DoesNotFit, match="but it has 10 GB"):
        plan(on("H200", 10_000_000_000), EIGHT, 40_000_000, SHAPE)


def test_without_bf16_numbers_take_twice_as_much() -> None:
    half, single = (
        plan(on(name, 10**12, zero_stage=0), EIGHT, 0, SHAPE).memory_per_gpu_bytes
        for name in ("A100", "V100")
    )
    assert single - half >= 2 * EIGHT.parameters


def test_a_faster_type_takes_less_time() -> None:
    many = replace(SHAPE, tokens=100 * SHAPE.tokens)
    slow, fast = (plan(on(name), EIGHT, 1, many).estimated_seconds for name in ("A100-80GB", "H200"))
    # Start-up takes as long on any.
    assert (slow - 60) / (fast - 60) == pytest.approx(989 / 312, rel=0.01)


@pytest.mark.parametrize(
    ("job", "warning"),
    [
        (on("MI300X"), "settings.gpuType MI300X is none of T4, V100-16GB"),
        (on("MI300X"), "set settings.gpuMemoryBytes"),
        (on("MI300X", 1), "its memory is taken from settings.gpuMemoryBytes"),
        (on("Tesla-T4"), "T4 does not compute in bf16"),
    ],
)
def test_what_a_type_means_is_told(job: Any, warning: str) -> None:
    [found] = warnings.of_job(job, ROWS, context=None, notes=())
    assert warning in found


@pytest.mark.parametrize("job", [on(None), on("L4"), on("MI300X", gpus_per_node=0)])
def test_known_types_are_no_news(job: Any) -> None:
    assert warnings.of_job(job, ROWS, context=None, notes=()) == []
