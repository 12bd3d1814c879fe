"""What users should know about their rows, and about the job that reads them."""

from __future__ import annotations

from collections.abc import Sequence

from ..contract.config import DatasetConfig, TrainerConfig
from ..contract.messages import DatasetSummary
from ..sizing import gpus
from . import dataset, leaks
from .dataset import Split

_FEW_ROWS = 50


def of_rows(config: DatasetConfig, train: Split, validation: Split | None, leaked: leaks.Found) -> list[str]:
    """What is true for every job that reads these rows in this way."""
    found = list(train.warnings)
    if train.split_rows:
        found.append(
            f"{train.split_rows:,} training rows became several examples, {len(train.lengths):,} in all: "
            "the chat template writes earlier turns otherwise than the last."
        )
    found += _too_long(train, config.max_length)
    if validation is not None and config.validation_fraction is None:  # else its counts are train's
        found += _too_long(validation, config.max_length, kind="validation ")
    if repeated := dataset.duplicates(train):
        found.append(f"{repeated:,} training rows repeat an earlier one.")
    if validation is not None:
        found += leaks.warnings(leaked, len(validation.digests))
    return found


def of_job(
    config: TrainerConfig, rows: DatasetSummary, *, context: int | None, notes: Sequence[str]
) -> list[str]:
    """What the job's other fields make of the rows; ``notes`` are about its model, made for ``context``."""
    found = []
    limit, count = config.dataset.max_length, rows.train_rows
    if count < _FEW_ROWS:
        found.append(f"{count} training rows are few: 50 to 100 good ones are where results begin to show.")
    if rows.train_examples < config.training.batch_size:
        found.append(
            f"training.batchSize {config.training.batch_size} is larger than the {rows.train_examples} "
            "training rows: each epoch is one step."
        )
    if context is not None and limit > context:
        found.append(
            f"dataset.maxLength {limit:,} is more than the {context:,} tokens that the model was made for."
        )
    return [*found, *notes, *_of_gpus(config)]


def _too_long(split: Split, limit: int, *, kind: str = "") -> list[str]:
    """What became of a split's rows that are longer than ``limit``."""
    found = []
    if split.truncated:
        cut = "were cut" if split.format == "Text" else "lost the turns that do not fit"
        found.append(f"{split.truncated:,} {kind}rows are longer than dataset.maxLength {limit:,} and {cut}.")
    if split.dropped:
        found.append(
            f"{split.dropped:,} {kind}rows are longer than dataset.maxLength {limit:,} and were dropped."
        )
    return found


def _of_gpus(config: TrainerConfig) -> list[str]:
    """What the platform's type of GPU makes of the estimate and of training."""
    if config.gpu_type is None or not config.training.gpus_per_node:
        return []
    gpu = gpus.of_platform(config)
    if gpu is None:
        memory = "its memory is taken from settings.gpuMemoryBytes"
        if config.gpu_memory_bytes is None:
            memory = "whether training fits is not known: set settings.gpuMemoryBytes to the memory of one"
        return [f"settings.gpuType {config.gpu_type} is none of {gpus.names()}; {memory}."]
    if not gpu.bf16:
        return [f"{gpu.name} does not compute in bf16: training is in float32, with twice the memory."]
    return []
