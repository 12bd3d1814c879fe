"""gpu-check: what it runs, what it writes, and that one part that fails ends no other."""

from __future__ import annotations

import json
from pathlib import Path

from dev.errors import DevError
from dev.fit.case import Case, Measured
from dev.fit.gpu_check import cases, check
from dev.shapes import SHAPES
from kubetune_trainer.sizing import gpus

FOUND = Measured(
    before_bytes=10**9, peak_bytes=2 * 10**9, parameters=1_000_000, trained=10_000, tokens_per_second=500.4
)


def estimate(case: Case, trained: int) -> int:
    return 1_900_000_000


def test_the_file_has_each_part_with_its_estimate(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    check("cpu", tiny=True, out=out, train=lambda case, timeout: FOUND, estimate=estimate)
    written = json.loads(out.read_text())
    assert [part["name"] for part in written["parts"]] == ["tiny, LoRA", "tiny, Full"]
    for part in written["parts"]:
        assert part["measured"] == FOUND.model_dump()
        assert (part["estimate_bytes"], part["estimate_percent_off"]) == (1_900_000_000, -5.0)
        assert part["tokens_per_second"] == 500
    assert [part["mfu_counts"][:2] for part in written["parts"]] == ["4N", "6N"]
    assert {"date", "driver", "versions", "name"} <= written.keys()


def test_a_part_that_fails_is_recorded_and_the_next_begins(tmp_path: Path) -> None:
    def train(case: Case, timeout: float) -> Measured:
        if case.adapter == "LoRA":
            raise DevError("no memory")
        return FOUND

    result = check("cpu", tiny=True, out=tmp_path / "result.json", train=train, estimate=estimate)
    assert result["parts"][0]["error"] == "no memory"
    assert "error" not in result["parts"][1]


def test_no_part_begins_when_the_time_is_over(tmp_path: Path) -> None:
    def never(case: Case, timeout: float) -> Measured:
        raise AssertionError(case.name)

    result = check("cpu", tiny=True, out=tmp_path / "result.json", train=never, seconds=0)
    assert {part["error"] for part in result["parts"]} == {"not begun: 0 s are over"}


def test_a_gpu_gets_the_largest_full_fine_tune_that_fits() -> None:
    order = list(SHAPES)

    def fits(case: Case, memory: int) -> bool:
        return order.index(case.name.split(",")[0]) <= order.index("Qwen3-4B")

    listed = list(cases("cuda", tiny=False, memory=gpus.known("H200").memory_bytes, fits=fits))
    assert [case.name.split(",")[0] for case in listed[:2]] == ["Llama-3.1-8B", "Qwen3-4B"]
    assert [case.adapter for case in listed[:2]] == ["LoRA", "Full"]
    assert all(case.on_gpu and case.dtype == "bfloat16" for case in listed)
    assert len({case.name for case in listed}) == len(listed) >= 6
