"""TrainerConfig for tests, with what a test changes as keyword arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kubetune_trainer.contract.config import FileSource, ModelSource, TrainerConfig


def trainer_config(
    *,
    model: str | Path,
    train: str | Path | None = None,
    validation: str | Path | None = None,
    revision: str | None = None,
    dataset: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    adopt: str | Path | dict[str, Any] | None = None,
    **fields: Any,
) -> TrainerConfig:
    """Build a configuration; a Path is a mounted pvc:// source, a string is the URI itself."""
    model_source = (
        ModelSource(uri=f"pvc://inputs/{model.name}", mount=str(model))
        if isinstance(model, Path)
        else ModelSource(uri=model, revision=revision)
    )
    rows: dict[str, Any] = {"max_length": 256, **(dataset or {})}
    if train is not None:
        rows["train"] = _file(train)
    if validation is not None:
        rows["validation"] = _file(validation)
    defaults: dict[str, Any] = {
        "adapter": {"rank": 4, "alpha": 8},
        "epochs": 1,
        "batch_size": 4,
        "learning_rate": "1e-3",
        "schedule": {},
        "seed": 42,
        "zero_stage": 2,
        "nodes": 1,
        "gpus_per_node": 0,
        "checkpoint_every_steps": 100,
        "checkpoint_keep": 2,
    }
    return TrainerConfig.model_validate(
        {
            "namespace": "default",
            "name": "job",
            "model": model_source,
            "dataset": rows,
            "training": {**defaults, **(training or {})},
            "adopt": adopt if adopt is None or isinstance(adopt, dict) else _file(adopt).model_dump(),
            "images": {"trainer": "trainer"},
            **fields,
        }
    )


def _file(source: str | Path) -> FileSource:
    if isinstance(source, Path):
        return FileSource(uri=f"pvc://inputs/{source.name}", mount=str(source))
    return FileSource(uri=source)
