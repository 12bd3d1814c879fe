"""One rank's attempt from beginning to end, readable from top to bottom.

torch and the libraries on top of it are imported inside the functions: rank 0 answers scrapes before they
load."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from ..contract.config import AdapterConfig, TrainerConfig, TrainingConfig
from ..contract.errors import VolumeUnusable
from ..contract.layout import RunDirectory
from ..contract.messages import ArtifactSummary, DatasetSummary, ModelSummary, TrainSummary
from ..data.sampler import Batching, planned_steps, steps_per_epoch
from ..gang import devices
from ..gang.nccl_debug import NcclDebug
from ..gang.peers import Peers, join
from ..gang.stop import StopFlag
from ..sizing import gpus
from ..sizing.looks import ValidationPlan
from ..sizing.memory import CPU_TOKENS
from ..store import lock, passes
from ..store.checkpoints import Checkpoints, Layout
from ..store.manifest import naming
from ..store.resume import Found, Survey, unreadable, verify_together
from . import libraries
from .guards import Guards
from .journal import Journal
from .out_of_memory import smaller_after_out_of_memory
from .progress import Reports, serve
from .records import Records
from .volume_room import VolumeRoom

if TYPE_CHECKING:
    from ..methods.method import Row
    from .prepared_rows import Rows

logger = logging.getLogger(__name__)

DTYPE_VARIABLE = "KUBETUNE_DTYPE"
"""Environment variable that forces "float32" or "bfloat16" (tests that compare numbers closely)."""

_LOOKED = TypeAdapter(tuple[ArtifactSummary | None, Survey | None])


def train(config: TrainerConfig, stop: StopFlag, stepped: Callable[[int], None]) -> TrainSummary:
    """Train from the last verified checkpoint to the end, and publish the artifact."""
    training, run = config.training, RunDirectory.of(config)
    dataset, base = _read_prepared(run)
    total = planned_steps(
        dataset.train_examples, training.batch_size, epochs=training.epochs, max_steps=training.max_steps
    )
    plan = ValidationPlan.of(
        training, train_rows=dataset.train_examples, validation_rows=dataset.validation_examples
    )
    reports = Reports(total, plan)
    if os.environ["RANK"] == "0":
        serve(reports)
    nccl = None
    if training.gpus_per_node:
        _require_gpus(config, reports)
        nccl = NcclDebug() if os.environ["RANK"] == "0" and training.world_size > 1 else None
    libraries.load()
    peers = join(training, lock.tokens(config, os.environ))
    batching = Batching(
        global_batch=training.batch_size,
        world_size=peers.world_size,
        most_tokens=peers.broadcast(passes.read(run) or CPU_TOKENS),
    )
    layout = Layout.of(training, world_size=peers.world_size)
    confirm = lock.confirmation(os.environ)
    checkpoints = Checkpoints(run.checkpoints, layout, keep=training.checkpoint_keep, confirm=confirm)
    artifact, found = _look(run, base, checkpoints, peers, keep_epochs=training.keep_epochs)
    if artifact is not None:
        ended = artifact.last_step or total
        return TrainSummary(from_step=ended, to_step=ended, artifact=artifact)

    dtype = found.dtype if found else _dtype(peers)
    # Full training changes the base's weights, so that it is scored first. Under an adapter they stay as they
    # are, and the first step comes before: what is wrong with a run shows there, and all rows may take long.
    score_first = found is None and training.adapter.full
    arguments = arguments_of(
        training,
        batching,
        run,
        Path(base.path),
        total,
        parameters=base.parameters,
        bf16=dtype == "bfloat16",
        evaluate=score_first,
    )
    model = _model(training, Path(base.path), dtype)

    from ..artifact.canary import Canary
    from ..artifact.epochs import EpochAdapters
    from ..base.adapters import trainable_parameters
    from ..methods.table import METHODS
    from .best import BestWeights
    from .checkpoint_interval import CheckpointInterval
    from .evaluation import Evaluation
    from .saving import Saver
    from .trainer import Attempt, FineTuner

    method = METHODS[training.method](model)
    rows = _rows(run.train_rows, method.filler, counted=dataset.train_examples)
    per_epoch = steps_per_epoch(len(rows), training.batch_size)
    journal = None
    from_step = found.step if found else 0
    if peers.rank == 0:
        room = VolumeRoom(root=run.root, reports=reports)
        room.look()
        records = Records(run, reports.steps, from_step=from_step)
        journal = Journal(reports=reports, records=records, room=room, nccl=nccl)
        if found:
            epoch = found.step / per_epoch
            saved_at = found.path.stat().st_mtime
            reports.resumed(step=found.step, epoch=epoch, tokens=found.tokens, saved_at=saved_at)
            reports.evaluated(
                loss=journal.records.last("validation_loss"),
                full_loss=journal.records.last("full_validation_loss"),
            )
    evaluation = None
    if plan is not None:
        evaluation = Evaluation(
            rows=_rows(run.validation_rows, method.filler, counted=dataset.validation_examples),
            method=method,
            plan=plan,
            batching=batching,
            peers=peers,
            stop=stop,
            seed=training.seed,
        )
    best = None
    if plan is not None and training.select.strategy == "Best":
        best = BestWeights(run, training, plan, peers, confirm=confirm, anew=found is None)
        if journal is not None and best.found is not None:
            reports.found_best(step=best.found.step)
    epochs = None
    if not training.adapter.full:
        epochs = EpochAdapters(
            model,
            config,
            run,
            base,
            peers,
            confirm=confirm,
            from_step=from_step,
            steps_per_epoch=per_epoch,
            total_steps=total,
        )
    guards = Guards(peers.broadcast(journal.records.steps() if journal is not None else None))
    attempt = Attempt(
        peers=peers,
        batching=batching,
        schedule=training.schedule,
        stop=stop,
        method=method,
        train=rows,
        evaluation=evaluation,
        best=best,
        epochs=epochs,
        guards=guards,
        stops_on_divergence=training.on_divergence == "Stop",
        from_base=found is None,
        saver=Saver(
            peers=peers,
            checkpoints=checkpoints,
            expected_bytes=Checkpoints.expected_bytes(trainable_parameters(model)),
            dtype=dtype,
            guards=guards,
            interval=CheckpointInterval(
                every_steps=training.checkpoint_every_steps, began=time.monotonic(), has_none=found is None
            ),
            journal=journal,
        ),
        tokens=found.tokens if found else 0,
        journal=journal,
        stepped=stepped,
    )
    asked = Canary(run, model, Path(base.path), peers.device)
    trainer = FineTuner(model, arguments, attempt)
    stepped(from_step)
    with smaller_after_out_of_memory(run, batching.most_tokens, longest=dataset.tokens_per_row.max):
        trainer.train(resume_from_checkpoint=str(found.path) if found else None)
    stop.raise_if_agreed()
    step = last_step = trainer.state.global_step
    if best is not None:
        step = best.restore(model).step
        trainer.score_again(step)
        stop.raise_if_agreed()

    from ..artifact.model_card import Result
    from ..artifact.publish import publish

    result = None
    if journal is not None:
        records = journal.records
        records.finish()
        result = Result(
            step=step,
            last_step=last_step,
            train=records.last("loss", until=step),
            validation=records.last("full_validation_loss", until=step),
            first_validation=records.first("full_validation_loss"),
        )
    artifact = publish(model, config, run, base, result, peers, confirm, asked)
    if best is not None:
        best.discard()
    if journal is not None:
        reports.steps.wait_for_reader()
    last = reports.progress.model_copy(update={"warnings": (), "remaining_seconds": None})
    return TrainSummary(from_step=from_step, to_step=last_step, artifact=artifact, progress=last)


def _require_gpus(config: TrainerConfig, reports: Reports) -> None:
    """Look before the libraries load, some of which ask CUDA themselves, and before the ranks meet."""
    found = devices.look(int(os.environ["LOCAL_RANK"]))
    devices.require_usable(found, config.training.gpus_per_node)
    told = gpus.of_platform(config)
    expected = told is None or told.bf16  # prepare has said already that there is none
    if expected and (warning := devices.bf16_warning(found)) is not None:
        logger.warning("%s", warning)
        reports.warn("dtype", warning)


def _read_prepared(run: RunDirectory) -> tuple[DatasetSummary, ModelSummary]:
    try:
        with naming(run.prepared):
            dataset = DatasetSummary.model_validate_json(run.dataset_file.read_bytes())
            return dataset, ModelSummary.model_validate_json(run.model_file.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise VolumeUnusable.changed(run.prepared, str(error)) from error


def _rows(path: Path, filler: Row, *, counted: int) -> Rows:
    """The prepared rows of a split: as many as prepare counted, or somebody changed the file."""
    from .prepared_rows import Rows

    rows = Rows(path, filler)
    if len(rows) != counted:
        raise VolumeUnusable.changed(path.parent, f"{path.name} has {len(rows)} rows, not {counted}")
    return rows


def _look(
    run: RunDirectory, base: ModelSummary, checkpoints: Checkpoints, peers: Peers, *, keep_epochs: int
) -> tuple[ArtifactSummary | None, Found | None]:
    """What the volume already holds; rank 0 looks, and all ranks verify and decide the same."""

    def look() -> Any:
        from ..artifact.publish import verified_artifact
        from ..base.digest import require_unchanged

        try:
            artifact = verified_artifact(run.root, keep_epochs=keep_epochs)
            if artifact is None:
                require_unchanged(base)
            return _LOOKED.dump_python((artifact, None if artifact else checkpoints.survey()), mode="json")
        except OSError as error:
            raise unreadable(error) from error

    artifact, survey = _LOOKED.validate_python(peers.told_by_first(look))  # an artifact is read whole
    return artifact, survey.newest(verify_together(peers)) if survey else None


def _dtype(peers: Peers) -> str:
    """The type of the weights; rank 0 decides, should the nodes be of different kinds."""
    from ..base.load import preferred_dtype

    forced = os.environ.get(DTYPE_VARIABLE)
    return peers.broadcast(forced or str(preferred_dtype(peers.device)).removeprefix("torch."))


def arguments_of(
    training: TrainingConfig,
    batching: Batching,
    run: RunDirectory,
    base: Path,
    total: int,
    *,
    parameters: int,
    bf16: bool,
    evaluate: bool,
) -> Any:
    """HF's arguments, for a base with so many parameters. They must exist before it is loaded: ZeRO-3 splits
    it while loading."""
    from transformers import AutoConfig, TrainingArguments
    from transformers.utils.logging import disable_progress_bar

    from .deepspeed_config import deepspeed_config

    disable_progress_bar()
    text = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False).get_text_config()
    return TrainingArguments(
        output_dir=str(run.checkpoints),
        max_steps=total,
        per_device_train_batch_size=batching.rows_per_rank,
        learning_rate=float(training.learning_rate),
        weight_decay=float(training.weight_decay),  # HF leaves out biases and norms by their names
        max_grad_norm=float(training.max_grad_norm),
        optim="adamw_torch",
        seed=training.seed,
        bf16=bf16,
        use_cpu=not training.gpus_per_node,
        deepspeed=deepspeed_config(training, batching, text, parameters=parameters, bf16=bf16),
        ddp_timeout=training.collective_timeout_seconds,
        # Long rows on a GPU run out of memory for activations first; on CPU there is more memory than speed.
        activation_checkpointing=training.gpus_per_node > 0,
        eval_on_start=evaluate,
        eval_strategy="no",  # the callback decides on evaluations and checkpoints
        save_strategy="no",
        logging_steps=1,
        logging_nan_inf_filter=False,  # it would hide a NaN
        report_to=[],
        disable_tqdm=True,
        log_level="error",
        remove_unused_columns=False,
        dataloader_num_workers=0,  # rows are memory-mapped
    )


def _model(training: TrainingConfig, base: Path, dtype: str) -> Any:
    import torch
    from transformers import set_seed

    from ..base.load import load_base

    set_seed(training.seed)  # LoRA's A is random, and must be the same on every rank
    four_bit = training.adapter.type == "QLoRA"
    return adapted(load_base(base, getattr(torch, dtype), four_bit=four_bit), training.adapter, dtype)


def adapted(model: Any, adapter: AdapterConfig, dtype: str) -> Any:
    """The base model with what is trained beside it, if anything is, in the type of its weights."""
    import torch

    from ..base.adapters import add_lora

    if adapter.full:
        return model
    model = add_lora(model, adapter)
    for parameter in model.parameters():
        if parameter.requires_grad:  # beside 4-bit weights they are made in float32
            parameter.data = parameter.data.to(getattr(torch, dtype))
    return model
