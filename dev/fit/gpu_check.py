"""``python -m dev gpu-check``: the estimate beside what a GPU took, and how fast it trains, as JSON.

Every part runs in a process of its own. One that fails is recorded with its error, and the next begins.
"""

from __future__ import annotations

import json
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

from dev.errors import DevError
from dev.fit.case import Case, Measured
from dev.fit.run import run
from dev.progress import note
from dev.shapes import SHAPES, architecture_of, trained_by_lora
from kubetune_trainer.sizing import gpus
from kubetune_trainer.sizing.memory import SHARE

MOST_SECONDS: Final = 570
"""After which no part begins any more, and the one that runs is ended."""
_PART_SECONDS: Final = 200
_PACKED: Final = 4096
"""Tokens of a row where speed is measured."""
_LIBRARIES: Final = ("torch", "transformers", "deepspeed", "peft", "bitsandbytes", "accelerate")
_TINY: Final = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 128,
    "vocab_size": 512,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
}

Adapter = Literal["LoRA", "Full"]
Run = Callable[..., Measured]
Estimate = Callable[[Case, int], int]
"""Bytes of a case that trains so many weights."""


def estimated(case: Case, trained: int) -> int:
    """What prepare would say of it."""
    return case.estimate(trained).total


def fits(case: Case, memory: int) -> bool:
    """Whether the estimate leaves the margin that prepare leaves."""
    full = case.adapter == "Full"
    trained = architecture_of(case.shape).parameters if full else trained_by_lora(case.shape)
    return estimated(case, trained) <= SHARE * memory


def cases(
    device: Literal["cuda", "cpu"],
    *,
    tiny: bool,
    memory: int | None,
    fits: Callable[[Case, int], bool] = fits,
) -> Iterator[Case]:
    """What is trained, the most telling first; ``memory`` is the GPU's in bytes, if there is one."""
    if tiny or device == "cpu":
        for adapter in ("LoRA", "Full"):
            yield Case(
                name=f"tiny, {adapter}", shape=_TINY, adapter=adapter, row_tokens=32, on_gpu=device == "cuda"
            )
        return
    yield _on_gpu("Llama-3.1-8B", "LoRA", rows=4, row=_PACKED, steps=6)
    full = [_on_gpu(name, "Full", rows=2, row=_PACKED, steps=5) for name in reversed(list(SHAPES))]
    yield next((case for case in full if memory and fits(case, memory)), full[-1])
    yield _on_gpu("Qwen3-0.6B", "LoRA", rows=8, row=2048)
    yield _on_gpu("Qwen3-0.6B", "Full", rows=4, row=1024)
    yield _on_gpu("Qwen3-1.7B", "LoRA", rows=4, row=2048)
    yield _on_gpu("Qwen3-1.7B", "Full", rows=2, row=2048)
    yield _on_gpu("Qwen3-4B", "LoRA", rows=1, row=8192)
    yield _on_gpu("Qwen3-8B", "LoRA", rows=16, row=512)


def check(
    device: Literal["cuda", "cpu"],
    *,
    tiny: bool,
    out: Path,
    train: Run = run,
    estimate: Estimate = estimated,
    seconds: float = MOST_SECONDS,
) -> dict[str, Any]:
    """Run all parts, and write the file after each of them."""
    end = time.monotonic() + seconds
    machine = machine_of(device)
    result: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device,
        **machine,
        "versions": {name: _version(name) for name in _LIBRARIES},
        "parts": [],
    }
    for case in cases(device, tiny=tiny, memory=machine["memory_bytes"]):
        left = min(_PART_SECONDS, end - time.monotonic())
        part = (
            _part(case, train, estimate, left, gpu=machine["name"]) if left > 0 else _not_begun(case, seconds)
        )
        note(f"   {case.name}: {part.get('error') or _said(part)}")
        result["parts"].append(part)
        out.write_text(json.dumps(result, indent=2) + "\n")
    return result


def machine_of(device: Literal["cuda", "cpu"]) -> dict[str, Any]:
    """Name, driver and memory of the first GPU; of a machine without one its processor.

    Raises:
        DevError: there is no GPU that nvidia-smi sees.
    """
    if device == "cpu":
        return {"name": platform.processor() or platform.machine(), "driver": None, "memory_bytes": None}
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise DevError(
            f"nvidia-smi tells of no GPU ({error}): add --device cpu --tiny, or use another machine"
        ) from None
    name, driver, mebibytes = (field.strip() for field in said.splitlines()[0].split(","))
    known = gpus.find(name)
    memory = known.memory_bytes if known else int(mebibytes) * 2**20
    return {"name": name, "driver": driver, "memory_bytes": memory}


def _part(case: Case, train: Run, estimate: Estimate, seconds: float, *, gpu: str) -> dict[str, Any]:
    about = {"name": case.name, "case": case.model_dump(mode="json")}
    try:
        found = train(case, timeout=seconds)
        return {**about, **_compared(case, found, estimate(case, found.trained), gpu=gpu)}
    except Exception as error:  # whatever ends a part, the others still tell something
        return {**about, "error": str(error) or type(error).__name__}


def _compared(case: Case, found: Measured, estimate: int, *, gpu: str) -> dict[str, Any]:
    operations = 6 if case.adapter == "Full" else 4
    known = gpus.find(gpu)
    done = operations * found.parameters * found.tokens_per_second
    return {
        "measured": found.model_dump(),
        "estimate_bytes": estimate,
        "estimate_percent_off": round(100 * (estimate / found.peak_bytes - 1), 1),
        "tokens_per_second": round(found.tokens_per_second),
        "mfu": round(done / known.flops, 3) if known else None,
        "mfu_counts": f"{operations}N operations per token",
    }


def _not_begun(case: Case, seconds: float) -> dict[str, Any]:
    return {
        "name": case.name,
        "case": case.model_dump(mode="json"),
        "error": f"not begun: {seconds:.0f} s are over",
    }


def _said(part: dict[str, Any]) -> str:
    speed = f"{part['tokens_per_second']:,} tokens per second"
    mfu = f", MFU {part['mfu']:.1%} ({part['mfu_counts']})" if part["mfu"] else ""
    memory = f"{part['measured']['peak_bytes'] / 1e9:.1f} GB, estimate {part['estimate_percent_off']:+.0f} %"
    return f"{speed}{mfu}; {memory}"


def _on_gpu(name: str, adapter: Adapter, *, rows: int, row: int, steps: int = 3) -> Case:
    return Case(
        name=f"{name}, {adapter}, {rows} rows of {row}",
        shape=dict(SHAPES[name]),
        adapter=adapter,
        row_tokens=row,
        rows_per_pass=rows,
        steps=steps,
        on_gpu=True,
        dtype="bfloat16",
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
