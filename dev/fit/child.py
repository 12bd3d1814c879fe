"""Trains a case and prints what it took: ``python -m dev.fit.child CASE``, in a process of its own.

It is the trainer's own loop, arguments and loss on one rank; only weights are random, and nothing is saved.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from typing_extensions import override

from dev.fit.case import Case, Measured
from dev.shapes import config_of
from kubetune_trainer.contract.layout import RunDirectory
from kubetune_trainer.data import row_files
from kubetune_trainer.data.sampler import Batching
from kubetune_trainer.gang.peers import Peers, join
from kubetune_trainer.gang.stop import StopFlag
from kubetune_trainer.loop.attempt import adapted, arguments_of
from kubetune_trainer.loop.peak_memory import peak_bytes
from kubetune_trainer.store.checkpoints import Checkpoints, Layout

_ENVIRONMENT = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}


def measure(case: Case, directory: Path) -> Measured:
    """Train the case's steps, with what the loop wants on disk in ``directory``."""
    training, run = case.training, RunDirectory(directory / "run")
    peers = join(training, lambda: [b"fit"])
    batching = Batching(
        global_batch=training.batch_size, world_size=1, most_tokens=max(case.tokens_per_pass, case.row_tokens)
    )
    config_of(case.shape).save_pretrained(directory)
    arguments = arguments_of(
        training,
        batching,
        run,
        directory,
        case.steps,
        parameters=_parameters(case),
        bf16=case.dtype == "bfloat16",
        evaluate=False,
    )
    trainer, parameters, trained, before, ends = _trainer(case, run, peers, batching, arguments)
    trainer.train()
    seconds = [later - earlier for earlier, later in itertools.pairwise(ends)]
    peak = peak_bytes(peers.device)
    if peak is None:
        raise LookupError("this system does not tell the memory of a process")
    tokens = case.passes * case.tokens_per_pass
    return Measured(
        before_bytes=before,
        peak_bytes=peak,
        parameters=parameters,
        trained=trained,
        tokens_per_second=tokens * len(seconds) / sum(seconds) if seconds else 0.0,
    )


def _trainer(
    case: Case, run: RunDirectory, peers: Peers, batching: Batching, arguments: Any
) -> tuple[Any, int, int, int, list[float]]:
    """The loop around a random model; its sizes, the memory before it, and where ends of steps are noted."""
    import torch
    from transformers import AutoModelForCausalLM

    from kubetune_trainer.base.adapters import trainable_parameters
    from kubetune_trainer.loop import libraries
    from kubetune_trainer.loop.checkpoint_interval import CheckpointInterval
    from kubetune_trainer.loop.guards import Guards
    from kubetune_trainer.loop.prepared_rows import Rows
    from kubetune_trainer.loop.saving import Saver
    from kubetune_trainer.loop.trainer import Attempt, FineTuner
    from kubetune_trainer.methods.table import METHODS

    class Unsaved(FineTuner):
        """Nothing is kept of it."""

        @override
        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            pass

    libraries.load()
    before = peak_bytes(peers.device) or 0
    torch.manual_seed(1)
    with torch.device(peers.device):
        base = AutoModelForCausalLM.from_config(config_of(case.shape), dtype=getattr(torch, case.dtype))
    parameters = sum(parameter.numel() for parameter in base.parameters())
    model = adapted(base, case.training.adapter, case.dtype)
    method = METHODS[case.training.method](model)
    rows = case.training.batch_size * case.steps
    run.prepared.mkdir(parents=True)
    ids = [
        [(7 * row + 13 * at) % case.shape["vocab_size"] for at in range(case.row_tokens)]
        for row in range(rows)
    ]
    with row_files.writing(run.train_rows) as writer:
        writer.write(ids, ids)
    ends: list[float] = []
    guards = Guards([])
    attempt = Attempt(
        peers=peers,
        batching=batching,
        schedule=case.training.schedule,
        stop=StopFlag(lambda error: sys.exit(str(error))),
        method=method,
        train=Rows(run.train_rows, method.filler),
        evaluation=None,
        best=None,
        epochs=None,
        guards=guards,
        stops_on_divergence=False,
        from_base=False,
        saver=Saver(
            peers=peers,
            checkpoints=Checkpoints(run.checkpoints, Layout.of(case.training, world_size=1), keep=1),
            expected_bytes=0,
            dtype=case.dtype,
            guards=guards,
            interval=CheckpointInterval(every_steps=10**6, began=0.0, has_none=False),
            journal=None,
        ),
        tokens=0,
        journal=None,
        stepped=lambda _: ends.append(time.perf_counter()),
    )
    return Unsaved(model, arguments, attempt), parameters, trainable_parameters(model), before, ends


def _parameters(case: Case) -> int:
    """Of the base, before it is made: the arguments come first."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return int(AutoModelForCausalLM.from_config(config_of(case.shape)).num_parameters())


def main() -> None:
    """Read the case from the command line, and print one line of JSON."""
    os.environ.update(_ENVIRONMENT)
    case = Case.model_validate_json(sys.argv[1])
    with tempfile.TemporaryDirectory() as directory:
        found = measure(case, Path(directory))
    print(json.dumps(found.model_dump()), flush=True)


if __name__ == "__main__":
    main()
