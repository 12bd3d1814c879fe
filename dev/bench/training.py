"""Training speed of this trainer beside TRL's SFTTrainer: same rows, model, dtype, seed, batch and processes.

``python -m dev.bench.training`` prints real tokens per second (padding not counted) and the losses of this
trainer, of TRL plain and of TRL with its own packing, and how long this trainer takes from process start to
its first step. The dtype is the one that this trainer chooses for the processor; how TRL's rows are put into
passes, and how long its packs are, is what is fastest in a short trial. Runs alternate, so that other load
hits all."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typing_extensions import override

from dev import paths
from kubetune_trainer.base.load import preferred_dtype
from kubetune_trainer.contract.config import TrainerConfig
from kubetune_trainer.contract.layout import RunDirectory
from kubetune_trainer.contract.messages import DatasetSummary, ModelSummary, TokensPerRow
from kubetune_trainer.data import row_files
from kubetune_trainer.loop.attempt import DTYPE_VARIABLE

DEFAULT_MODEL = paths.cache() / "models" / "SmolLM2-135M-Instruct"
_SAVED = re.compile(r"checkpoint of \d+ bytes in ([\d.]+) seconds")
_TRIAL_STEPS = 6
WARM_UP_STEPS = 2
"""Steps that are left out of the speed: the first touches every page of the model."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Result:
    """One run of one trainer."""

    tokens_per_second: float
    tokens_per_cpu_second: float
    """The same by processor time of one process: it says more when the machine is shared."""
    loss: float
    """Mean over all steps, each weighted by its tokens."""
    validation_loss: float
    first_step_seconds: float
    """From process start to the end of the first step."""
    checkpoint_stalls: tuple[float, ...] = ()
    """Seconds between two steps in which a checkpoint was saved, and an older one verified and deleted."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Round:
    """The trainers, one right after the other."""

    ours: Result
    plain: Result
    """TRL with a padded batch."""
    packed: Result
    """TRL with several rows in a sequence."""

    def ratio(self, theirs: Result) -> float:
        """How many times its tokens per second this trainer has."""
        return self.ours.tokens_per_second / theirs.tokens_per_second

    def ratio_by_processor(self, theirs: Result) -> float:
        """The same by processor time."""
        return self.ours.tokens_per_cpu_second / theirs.tokens_per_cpu_second


@dataclass(slots=True, frozen=True, kw_only=True)
class Batches:
    """How TRL puts rows into passes: so many of them, or packed into so many tokens."""

    rows_per_pass: int = 0
    pack_tokens: int = 0

    @override
    def __str__(self) -> str:
        return (
            f"packs of {self.pack_tokens} tokens"
            if self.pack_tokens
            else f"{self.rows_per_pass} rows per pass"
        )


def main() -> None:
    """Run the comparison."""
    rounds = compare(sys.argv[1:])
    if len(rounds) > 1:
        print(f"median: {_ratios(rounds)}")


def compare(arguments: Sequence[str]) -> list[Round]:
    """Run the trainers in turn, as often as the command line says, and show each run."""
    options = _options(arguments)
    model = options.model.expanduser().resolve()
    rows = _rows(options)
    held_out = _rows(options, count=64, seed=options.seed + 1)
    lengths = [len(row["input_ids"]) for row in rows]
    print(
        f"{model.name}: {len(rows)} rows of {statistics.mean(lengths):.0f} tokens (longest {max(lengths)}), "
        f"batch {options.batch}, {options.processes} processes, {options.steps} steps, {options.dtype}, "
        f"seed {options.seed}"
    )

    def theirs(batches: Batches, *, steps: int | None = None) -> Result:
        with tempfile.TemporaryDirectory() as directory:
            return _theirs(options, model, rows, held_out, Path(directory), batches=batches, steps=steps)

    def ours() -> Result:
        with tempfile.TemporaryDirectory() as directory:
            return _ours(options, model, rows, held_out, Path(directory))

    if options.alone:
        for _ in range(options.repeat):
            _show("kubetune", ours())
        return []
    plain, packs = (fastest(tried, theirs) for tried in _candidates(options, max(lengths)))
    rounds: list[Round] = []
    for number in range(options.repeat):
        made = Round(ours=ours(), plain=theirs(plain), packed=theirs(packs))
        rounds.append(made)
        _show("kubetune", made.ours)
        _show("TRL plain", made.plain)
        _show("TRL packing", made.packed)
        print(f"round {number + 1}: {_ratios([made])}")
    return rounds


def _candidates(options: argparse.Namespace, longest: int) -> tuple[list[Batches], list[Batches]]:
    """What TRL's best setting is looked for among: plain, and packed.

    A plain step has as many rows as ours. A packed one has about as many tokens, or twice as many; no pack is
    shorter than a row."""
    most = options.batch // options.processes
    shortest = max(longest, most * options.mean_length)
    rows = [options.rows_per_pass] if options.rows_per_pass else range(1, most + 1)
    packs = [options.pack_tokens] if options.pack_tokens else [shortest, 2 * shortest]
    plain = [Batches(rows_per_pass=count) for count in rows if most % count == 0]
    return plain, [Batches(pack_tokens=tokens) for tokens in packs]


def fastest(tried: Sequence[Batches], run: Callable[..., Result]) -> Batches:
    """The fastest of them by processor time, which says more when the machine is shared."""
    if len(tried) == 1:
        return tried[0]
    speeds = {batches: run(batches, steps=_TRIAL_STEPS).tokens_per_cpu_second for batches in tried}
    for batches, speed in speeds.items():
        print(f"trial of TRL with {batches}: {speed:.0f} tokens per CPU second", flush=True)
    return max(speeds, key=lambda batches: speeds[batches])


def _ratios(rounds: Sequence[Round]) -> str:
    """Medians over the rounds, for people."""
    parts = []
    for name, theirs in (
        ("TRL plain", [made.plain for made in rounds]),
        ("TRL packing", [made.packed for made in rounds]),
    ):
        both = list(zip(rounds, theirs, strict=True))
        ratio = statistics.median(made.ratio(other) for made, other in both)
        by_processor = statistics.median(made.ratio_by_processor(other) for made, other in both)
        parts.append(f"{ratio:.2f} times {name}'s tokens/s ({by_processor:.2f} by CPU second)")
    return ", ".join(parts)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, help="directory of the base model")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--steps", type=int, default=32, help="the default is one epoch")
    parser.add_argument("--batch", type=int, default=8, help="rows per step over all processes")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--mean-length", type=int, default=60, help="tokens of a row, on average")
    parser.add_argument("--learned", type=float, default=0.3, help="share of a row's tokens that is learned")
    parser.add_argument("--learning-rate", default="1e-3")
    parser.add_argument("--zero-stage", type=int, default=2)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="measure this trainer only")
    parser.add_argument("--rows-per-pass", type=int, help="of TRL plain; the default is tried out")
    parser.add_argument("--pack-tokens", type=int, help="of TRL's packing; the default is tried out")
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        help="of all; the default is what this trainer chooses here",
    )
    options = parser.parse_args(arguments)
    if options.dtype is None:
        import torch

        options.dtype = str(preferred_dtype(torch.device("cpu"))).removeprefix("torch.")
    return options


def _rows(
    options: argparse.Namespace, *, count: int | None = None, seed: int | None = None
) -> list[dict[str, Any]]:
    """Rows of log-normal length, as chats have; the answer can be told from the question."""
    generator = random.Random(options.seed if seed is None else seed)
    rows = []
    for _ in range(count or options.rows):
        length = min(512, max(8, int(options.mean_length * generator.lognormvariate(-0.18, 0.6))))
        learned = max(1, int(length * options.learned))
        topic = 1000 + 50 * generator.randint(0, 19)
        question = [topic + generator.randint(0, 49) for _ in range(length - learned)]
        answer = [5000 + topic + place % 7 for place in range(learned)]
        rows.append({"input_ids": question + answer, "labels": [-100] * len(question) + answer})
    return rows


def _environment(options: argparse.Namespace) -> dict[str, str]:
    threads = max(1, len(os.sched_getaffinity(0)) // options.processes)
    return {"OMP_NUM_THREADS": str(threads), **os.environ, "DS_ACCELERATOR": "cpu", "HF_HUB_OFFLINE": "1"}


def _ours(
    options: argparse.Namespace,
    model: Path,
    rows: list[dict[str, Any]],
    held_out: list[dict[str, Any]],
    directory: Path,
) -> Result:
    config = TrainerConfig.model_validate(
        {
            "namespace": "bench",
            "name": "bench",
            "model": {"uri": "pvc://models/base", "mount": str(model)},
            "dataset": {"train": {"uri": "pvc://data/rows.jsonl"}},
            "images": {"trainer": "none"},
            "training": {
                "adapter": {},
                "epochs": 1 + options.steps * options.batch // options.rows,
                "max_steps": options.steps,
                "batch_size": options.batch,
                "learning_rate": options.learning_rate,
                "schedule": {},
                "seed": options.seed,
                "zero_stage": options.zero_stage,
                "nodes": 1,
                "gpus_per_node": 0,
                "checkpoint_every_steps": max(1, options.steps // 3),
                "checkpoint_keep": 1,
            },
        }
    )
    run = RunDirectory(directory / "output" / config.name / config.run_key)
    run.prepared.mkdir(parents=True)
    for part, path in ((rows, run.train_rows), (held_out, run.validation_rows)):
        with row_files.writing(path) as writer:
            writer.write([row["input_ids"] for row in part], [row["labels"] for row in part])
    summary = DatasetSummary(
        fingerprint="bench",
        train_rows=len(rows),
        validation_rows=len(held_out),
        train_tokens=sum(len(row["input_ids"]) for row in rows),
        tokens_per_row=TokensPerRow(mean=0, p50=0, p95=0, max=0),
    )
    run.dataset_file.write_text(summary.model_dump_json())
    base = ModelSummary(revision="bench", path=str(model), architecture="bench", parameters=0)
    run.model_file.write_text(base.model_dump_json())
    (directory / "config.json").write_text(config.model_dump_json())
    environment = {
        **_environment(options),
        "KUBETUNE_CONFIG": str(directory / "config.json"),
        "KUBETUNE_OUTPUT": str(directory / "output"),
        "KUBETUNE_TERMINATION_LOG": str(directory / "termination"),
        DTYPE_VARIABLE: options.dtype,
        "NPROC_PER_NODE": str(options.processes),
        "METRICS_PORT": "0",
    }
    started = time.time()
    with (directory / "kubetune.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "kubetune_trainer", "train"], env=environment, stdout=log, stderr=log
        )
        first_step, processor = None, [0.0]
        while process.poll() is None:
            done = run.metrics_file.read_text().count('"loss"') if run.metrics_file.exists() else 0
            if done and first_step is None:
                first_step = time.time() - started
            if WARM_UP_STEPS <= done < options.steps:
                processor.append(_processor_seconds(process.pid) / options.processes)
            time.sleep(0.05)
    if process.returncode:
        sys.exit((directory / "kubetune.log").read_text())
    lines = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    tokens = [line["tokens"] for line in steps]
    stalls = tuple(map(float, _SAVED.findall((directory / "kubetune.log").read_text())))
    return Result(
        tokens_per_second=_speed(tokens, [line["seconds"] for line in steps]),
        tokens_per_cpu_second=sum(tokens[WARM_UP_STEPS:]) / (processor[-1] - processor[1]),
        loss=_weighted([line["loss"] for line in steps], tokens),
        validation_loss=[line["validation_loss"] for line in lines if "validation_loss" in line][-1],
        first_step_seconds=first_step or 0.0,
        checkpoint_stalls=stalls[1:],  # the first save has nothing to delete
    )


def _theirs(
    options: argparse.Namespace,
    model: Path,
    rows: list[dict[str, Any]],
    held_out: list[dict[str, Any]],
    directory: Path,
    *,
    batches: Batches,
    steps: int | None,
) -> Result:
    """Run dev.bench.trl_sft in as many processes; ``steps`` cuts it short."""
    job = directory / "trl.json"
    settings = {
        "model": str(model),
        "rows": rows,
        "held_out": held_out,
        "steps": steps or (0 if batches.pack_tokens else options.steps),
        "epochs": options.steps * options.batch / options.rows,
        "rows_per_pass": batches.rows_per_pass,
        "pack_tokens": batches.pack_tokens,
        "dtype": options.dtype,
        "rows_per_process": options.batch // options.processes,
        "learning_rate": float(options.learning_rate),
        "seed": options.seed,
        "result": str(directory / "trl-result.json"),
    }
    job.write_text(json.dumps(settings))
    with (directory / "trl.log").open("w") as log:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "dev.bench.trl_sft", str(job)],
                env={
                    **_environment(options),
                    "RANK": str(rank),
                    "LOCAL_RANK": str(rank),
                    "WORLD_SIZE": str(options.processes),
                    "LOCAL_WORLD_SIZE": str(options.processes),
                    "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": "29517",
                },
                stdout=log,
                stderr=log,
            )
            for rank in range(options.processes)
        ]
    if sum(process.wait() for process in processes):
        sys.exit((directory / "trl.log").read_text())
    measured = json.loads(Path(settings["result"]).read_text())
    tokens = measured["tokens"]
    return Result(
        tokens_per_second=_speed(tokens, measured["seconds"]),
        tokens_per_cpu_second=_speed(tokens, measured["cpu_seconds"]),
        loss=_weighted(measured["losses"], tokens),
        validation_loss=measured["validation_loss"],
        first_step_seconds=measured["first_step_seconds"],
    )


def _speed(tokens: list[int], seconds: list[float]) -> float:
    if len(tokens) <= WARM_UP_STEPS:
        sys.exit(f"{len(tokens)} steps are too few to measure a speed: give more --rows and --steps.")
    return sum(tokens[WARM_UP_STEPS:]) / sum(seconds[WARM_UP_STEPS:])


def _weighted(losses: list[float], tokens: list[int]) -> float:
    return sum(loss * count for loss, count in zip(losses, tokens, strict=True)) / sum(tokens)


def _processor_seconds(parent: int) -> float:
    """Processor time of a process's children so far."""
    ticks = 0
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        with contextlib.suppress(OSError):  # it has just ended
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _show(name: str, result: Result) -> None:
    speed = f"{result.tokens_per_second:.0f} tokens/s, {result.tokens_per_cpu_second:.0f} per CPU second"
    losses = f"loss {result.loss:.4f}, validation loss {result.validation_loss:.4f}"
    print(f"{name:>11}: {speed}, {losses}, first step after {result.first_step_seconds:.1f} s", flush=True)
    if result.checkpoint_stalls:
        print(f"{'':>11}  checkpoints: {', '.join(f'{each:.2f}' for each in result.checkpoint_stalls)} s")


if __name__ == "__main__":
    main()
