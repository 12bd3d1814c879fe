"""How fast prepare reads, checks and tokenises rows: many short chats, and one very long dialogue."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from dev.bench.figures import Figure
from dev.errors import DevError
from dev.images.model import ensure_demo_model
from kubetune_trainer.contract.config import TrainerConfig

PART: Final = "prepare"
CHATS: Final = 20_000
TURNS: Final = 1_500
_WORDS: Final = (
    "bee",
    "hive",
    "dances",
    "honey",
    "north",
    "wind",
    "asks",
    "why",
    "because",
    "often",
    "the",
    "red",
)


def measure() -> list[Figure]:
    """Run prepare by itself, from process start to end, on the demo's model."""
    model = ensure_demo_model()
    generator = random.Random(42)
    chats = _seconds(model, ({"messages": _turns(generator, 2)} for _ in range(CHATS)), max_length=1024)
    few = _seconds(model, ({"messages": _turns(generator, 2)} for _ in range(10)), max_length=1024)
    rows = [{"messages": _turns(generator, 2)} for _ in range(10)]
    dialogue = [*rows, {"messages": _turns(generator, TURNS)}]
    long = _seconds(model, dialogue, max_length=131_072)
    return [
        Figure(
            part=PART,
            name="short chats in a minute, start of the process included",
            value=60 * CHATS / chats,
            unit="rows",
            bar=20_000,
            at_least=True,
        ),
        Figure(part=PART, name="- ten rows: the start of the process", value=few, unit="s"),
        Figure(
            part=PART,
            name=f"one dialogue of {TURNS} turns beside ten rows, without the start",
            value=long - few,
            unit="s",
            bar=10,
        ),
    ]


def _turns(generator: random.Random, count: int) -> list[dict[str, str]]:
    """A question and an answer in turn, of about fifteen words each."""
    return [
        {
            "role": "assistant" if number % 2 else "user",
            "content": " ".join(generator.choices(_WORDS, k=generator.randint(8, 22))),
        }
        for number in range(count)
    ]


def _seconds(model: Path, rows: Iterable[dict[str, Any]], *, max_length: int) -> float:
    """From the process's start to its end."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        data = directory / "rows.jsonl"
        with data.open("w") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        (directory / "config.json").write_text(_config(model, data, max_length).model_dump_json())
        environment = {
            **os.environ,
            "KUBETUNE_CONFIG": str(directory / "config.json"),
            "KUBETUNE_OUTPUT": str(directory / "output"),
            "KUBETUNE_TERMINATION_LOG": str(directory / "termination"),
            "HF_HUB_OFFLINE": "1",
        }
        (directory / "output").mkdir()
        command = [sys.executable, "-m", "kubetune_trainer", "prepare"]
        started = time.perf_counter()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - started
    if done.returncode:
        raise DevError(f"prepare failed: {done.stderr[-2000:]}")
    return seconds


def _config(model: Path, data: Path, max_length: int) -> TrainerConfig:
    return TrainerConfig.model_validate(
        {
            "namespace": "bench",
            "name": "bench",
            "model": {"uri": "pvc://models/base", "mount": str(model)},
            "dataset": {
                "train": {"uri": "pvc://data/rows.jsonl", "mount": str(data)},
                "max_length": max_length,
            },
            "images": {"trainer": "none"},
            "training": {
                "adapter": {},
                "epochs": 1,
                "batch_size": 8,
                "learning_rate": "1e-4",
                "schedule": {},
                "seed": 42,
                "zero_stage": 2,
                "nodes": 1,
                "gpus_per_node": 0,
                "checkpoint_every_steps": 100,
                "checkpoint_keep": 1,
            },
        }
    )
