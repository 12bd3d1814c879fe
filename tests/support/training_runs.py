"""Runs of ``train`` as the operator starts them: a prepared volume, one process per node, and what they left.

The rows are made here, not by prepare: a test says their lengths, and which tokens are learned.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dev.cluster.ports import free_ports
from kubetune_trainer.base.digest import directory_digest
from kubetune_trainer.contract.config import TrainerConfig
from kubetune_trainer.contract.layout import RunDirectory
from kubetune_trainer.contract.messages import DatasetSummary, ModelSummary, TerminationMessage, TokensPerRow
from kubetune_trainer.data import row_files

DEADLINE_SECONDS = 300
"""Bound of every wait; a healthy run needs a tenth of it."""


def training_config(**training: Any) -> TrainerConfig:
    """A config of a small job; ``training`` overrides fields of TrainingConfig."""
    return TrainerConfig.model_validate(
        {
            "namespace": "team-a",
            "name": "colours",
            "use_case": "Name the colour of an item.",
            "labels": {"example.com/team": "payments"},
            "model": {"uri": "hf://org/tiny"},
            "dataset": {"train": {"uri": "pvc://data/train.jsonl"}},
            "images": {"trainer": "registry.example/trainer:1"},
            "training": {
                "adapter": {"rank": 4, "alpha": 8},
                "epochs": 2,
                "batch_size": 8,
                "learning_rate": "1e-2",
                "schedule": {},
                "seed": 7,
                "zero_stage": 2,
                "nodes": 1,
                "gpus_per_node": 0,
                "checkpoint_every_steps": 4,
                "checkpoint_keep": 2,
                "collective_timeout_seconds": 120,
                **training,
            },
        }
    )


def make_rows(count: int, *, seed: int = 1, learned: float = 0.5, longest: int = 48) -> list[dict[str, Any]]:
    """Random rows of different lengths whose last part, one repeated token, is learned."""
    generator = random.Random(seed)
    rows = []
    for _ in range(count):
        length = generator.randint(4, longest)
        answer = max(1, int(length * learned))
        tokens = [generator.randint(0, 255) for _ in range(length - answer)] + [65 + length % 4] * answer
        rows.append({"input_ids": tokens, "labels": [-100] * (length - answer) + tokens[length - answer :]})
    return rows


@dataclass
class Volume:
    """An output volume with a prepared run."""

    root: Path
    config: TrainerConfig
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def run(self) -> RunDirectory:
        """The run's directory on this volume."""
        return RunDirectory(self.root / self.config.name / self.config.run_key)

    def prepare(
        self, model: Path, train: Sequence[dict[str, Any]], validation: Sequence[dict[str, Any]]
    ) -> None:
        """Write what prepare would have written."""
        self.run.prepared.mkdir(parents=True, exist_ok=True)
        for rows, path in ((train, self.run.train_rows), (validation, self.run.validation_rows)):
            if rows:
                with row_files.writing(path) as writer:
                    writer.write([row["input_ids"] for row in rows], [row["labels"] for row in rows])
        lengths = sorted(len(row["input_ids"]) for row in train)
        summary = DatasetSummary(
            fingerprint="f" * 16,
            train_rows=len(train),
            validation_rows=len(validation),
            train_tokens=sum(lengths),
            tokens_per_row=TokensPerRow(
                mean=sum(lengths) // len(lengths),
                p50=lengths[len(lengths) // 2],
                p95=lengths[int(len(lengths) * 0.95)],
                max=lengths[-1],
            ),
        )
        self.run.dataset_file.write_text(summary.model_dump_json())
        base = ModelSummary(
            revision="0123456789abcdef0123456789abcdef01234567",
            path=str(model),
            architecture="LlamaForCausalLM",
            parameters=100_000,
            digest=directory_digest(model) if model.is_dir() else "",
        )
        self.run.model_file.write_text(base.model_dump_json())

    def records(self) -> list[dict[str, Any]]:
        """Lines of metrics.jsonl."""
        return [json.loads(line) for line in self.run.metrics_file.read_text().splitlines()]

    def curve(self, key: str = "loss") -> list[float]:
        """One value per step, in order."""
        return [line[key] for line in self.records() if key in line]

    def checkpoints(self) -> list[str]:
        """Names of finished checkpoints."""
        return sorted(path.name for path in self.run.checkpoints.glob("step-*"))


class Pod:
    """One node's container, running."""

    def __init__(
        self, volume: Volume, scratch: Path, *, node: int, nodes: int, port: int, ranks: int
    ) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self.log_file = scratch / f"node-{node}.log"
        self.termination_file = scratch / f"node-{node}.termination"
        self.metrics_port = free_port()
        config = scratch / f"node-{node}.json"
        config.write_text(volume.config.model_dump_json())
        environment = {
            **os.environ,
            "KUBETUNE_OUTPUT": str(volume.root),
            "KUBETUNE_CONFIG": str(config),
            "KUBETUNE_TERMINATION_LOG": str(self.termination_file),
            "METRICS_PORT": str(self.metrics_port),
            "NNODES": str(nodes),
            "JOB_COMPLETION_INDEX": str(node),
            "NPROC_PER_NODE": str(ranks),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
            **volume.environment,
        }
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "kubetune_trainer", "train"],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self) -> int:
        """Exit code."""
        return self.process.wait(DEADLINE_SECONDS)

    @property
    def log(self) -> str:
        """What it has printed so far."""
        return self.log_file.read_text(errors="replace")

    @property
    def message(self) -> TerminationMessage:
        """The termination message."""
        return TerminationMessage.model_validate_json(self.termination_file.read_text())

    def rank_process(self, local_rank: int) -> int:
        """Process id of a rank."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for child in children.read_text().split():
            variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
            if f"LOCAL_RANK={local_rank}".encode() in variables:
                return int(child)
        raise LookupError(f"no rank {local_rank}")


@contextmanager
def pods(volume: Volume, scratch: Path, *, nodes: int = 1, ranks: int = 1) -> Iterator[list[Pod]]:
    """Start one container per node, and leave none behind."""
    port = free_port()
    started = [Pod(volume, scratch, node=node, nodes=nodes, port=port, ranks=ranks) for node in range(nodes)]
    try:
        yield started
    finally:
        for pod in started:
            if pod.process.poll() is None:
                os.killpg(pod.process.pid, 9)
                pod.process.wait()


def train(volume: Volume, scratch: Path, *, nodes: int = 1, ranks: int = 1) -> list[Pod]:
    """Run an attempt to its end."""
    with pods(volume, scratch, nodes=nodes, ranks=ranks) as running:
        for pod in running:
            pod.wait()
    return running


def wait_until(condition: Callable[[], bool], pod: Pod) -> None:
    """Wait for a condition while the pod runs."""
    import time

    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert pod.process.poll() is None, f"the pod ended early:\n{pod.log}"
        assert time.monotonic() < deadline, f"nothing happened:\n{pod.log}"
        time.sleep(0.02)


def free_port() -> int:
    """A port that nobody listens on or is about to."""
    return free_ports(1)[0]


def fault(*, rank: int, function: str, call: int, signal: str) -> dict[str, str]:
    """Environment in which a rank sends itself a signal at the n-th call of a function."""
    return faults(f"{rank}:{function}:{call}:{signal}")


def faults(*each: str) -> dict[str, str]:
    """Environment with several faults, as ``support/faults`` writes them."""
    here = Path(__file__).parent
    paths = [str(here / "faults"), str(here.parents[1]), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "KUBETUNE_FAULT": " ".join(each)}


def get(pod: Pod, path: str) -> str | None:
    """Body of an answer of rank 0; None while nothing listens."""
    from urllib.error import URLError
    from urllib.request import urlopen

    try:
        with urlopen(f"http://127.0.0.1:{pod.metrics_port}{path}", timeout=10) as answer:
            return str(answer.read().decode())
    except URLError:
        return None
