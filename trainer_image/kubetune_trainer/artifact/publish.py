"""The artifact: collected from all ranks, checked, and published whole with one rename.

``adapter/`` of a LoRA run or ``model/`` of a full fine-tune: weights, tokenizer, chat template, model
card and a manifest, whose digest is the artifact's name from then on. The card is not in the manifest: what
an evaluation finds is added to it, and the name stays."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..base.adapters import add_lora, untrained_experts
from ..base.checkpoint import Shapes, tensor_shapes
from ..base.load import load_base
from ..base.stored_names import adapter_names, unused_patterns
from ..contract.config import TrainerConfig
from ..contract.layout import RunDirectory
from ..contract.messages import ArtifactSummary, ModelSummary
from ..gang.peers import Peers
from ..store import unfinished, volumes
from ..store.ledger import Ledger
from ..store.manifest import (
    Manifest,
    ManifestError,
    list_files,
    sync_directory,
    sync_file,
    verify_manifest,
    write_manifest,
)
from . import canary, epochs, model_card
from .adapter import key_mapping, save_adapter
from .canary import Canary
from .chat import write_chat_files
from .checks import check_named_after_base, check_weights
from .model_card import CARD_NAME, Result
from .weights import buffers, gather

logger = logging.getLogger(__name__)


def verified_artifact(run_directory: Path, *, keep_epochs: int = 0) -> ArtifactSummary | None:
    """The run's artifact, when there is one and every file that is served is as it was published.

    ``keep_epochs`` adapters of earlier epochs are told with it, as far as they are there.

    Raises:
        OSError: the volume did not let it be read.
    """
    run = RunDirectory(run_directory)
    for directory in (run.adapter, run.model):
        try:
            manifest = verify_manifest(directory, apart=(CARD_NAME,))
            Ledger(run.root).require(directory.name, manifest)
            return summary_of(run, directory, manifest, keep_epochs=keep_epochs)
        except ManifestError as error:
            if directory.exists():
                logger.warning("The artifact is not used: %s", error)
    return None


def publish(
    model: Any,
    config: TrainerConfig,
    run: RunDirectory,
    base: ModelSummary,
    result: Result | None,
    peers: Peers,
    confirm: Callable[[], None],
    asked: Canary,
) -> ArtifactSummary:
    """Publish what was trained. Every rank must call it; rank 0 has the result, and writes.

    ``asked`` was made before the first step, when the model was still the base.
    ``confirm`` is called right before anything changes, and raises when this attempt may not.

    Raises:
        AdapterInvalid: the weights did not pass their checks.
    """
    four_bit = config.training.adapter.type == "QLoRA"
    record = None if four_bit else asked.record(model)
    weights = gather(model, peers, whole=config.training.adapter.full)

    def write() -> Any:
        assert result is not None  # rank 0 has them
        try:
            served, said = model, record
            if said is None:
                served = _on_full_base(model, weights, config, Path(base.path))
                said = asked.record(served, trained=model)
            summary = _write(served, weights, said, config, run, base, result, confirm)
            return summary.model_dump(mode="json")
        except Exception as error:  # said here: what caused it does not travel with it
            if (told := volumes.explained(error, config)) is None:
                raise
            raise told from error

    return ArtifactSummary.model_validate(peers.told_by_first(write))


def _on_full_base(model: Any, weights: dict[str, Any], config: TrainerConfig, base: Path) -> Any:
    """The adapter of a 4-bit model beside the base as it is served: the files' own weights, on the CPU."""
    served = add_lora(load_base(base, "auto"), config.training.adapter)
    for name, parameter in served.named_parameters():
        if name in weights:
            parameter.data = weights[name]
    return served


def _write(
    model: Any,
    weights: dict[str, Any],
    record: dict[str, Any],
    config: TrainerConfig,
    run: RunDirectory,
    base: ModelSummary,
    result: Result,
    confirm: Callable[[], None],
) -> ArtifactSummary:
    lora, best = not config.training.adapter.full, config.training.select.strategy == "Best"
    final = run.adapter if lora else run.model
    confirm()
    for left in unfinished.left(final):
        shutil.rmtree(left, ignore_errors=True)
    directory = unfinished.beside(final)
    directory.mkdir(parents=True)
    stored = tensor_shapes(Path(base.path), config.model.uri)
    mapping: dict[str, str] = {}
    if lora:
        names = adapter_names(model, stored)
        mapping = key_mapping(names)
        expected = save_adapter(model, weights, config, base, names, directory)
        check_named_after_base(expected, stored)
    else:
        expected = _save_model(model, weights, stored, directory)
    chat = write_chat_files(config, run, Path(base.path), directory)
    canary.write(record, directory)
    shift = record.get("quantisation_shift")
    card = model_card.render(config, run, base, result, untrained_experts(model), mapping, shift)
    (directory / CARD_NAME).write_text(card, encoding="utf-8")
    check_weights(directory, expected, lora=lora, untrained=_untrained(model))
    for path in directory.iterdir():
        path.chmod(0o644)  # safetensors writes 0600, and serving pods have another user
    details = {
        "type": "LoRA" if lora else "Full",  # what a server has to do
        "rank": config.training.adapter.rank if lora else None,
        "base_model": config.model.uri,
        "base_revision": base.revision,
        "base_digest": base.digest,
        "train_loss": _decimal(result.train),
        "validation_loss": _decimal(result.validation),
        **({"step": result.step, "last_step": result.last_step} if best else {}),
        **chat,
    }
    files = [sync_file(directory, name) for name in list_files(directory)]
    manifest = write_manifest(directory, [file for file in files if file.name != CARD_NAME], details)
    confirm()
    if final.exists():  # it did not verify, or this attempt would have taken it; a user may have changed it
        aside = final.with_name(f".broken-{final.name}")
        shutil.rmtree(aside, ignore_errors=True)
        final.rename(aside)
    Ledger(run.root).record(final.name, manifest)
    directory.rename(final)
    sync_directory(run.root)
    return summary_of(run, final, manifest, keep_epochs=config.training.keep_epochs)


def _save_model(
    model: Any, weights: dict[str, Any], stored: Shapes, directory: Path
) -> dict[str, tuple[int, ...]]:
    """Write the whole model in the base's layout, and return what the files must hold."""
    # A base without an architecture's buffers gets none, or they would look like strangers.
    last_parts = {_last_part(name) for name in stored}
    constants = {name for name in buffers(model) if _last_part(name) not in last_parts}
    model.save_pretrained(
        directory, state_dict={name: tensor for name, tensor in weights.items() if name not in constants}
    )
    # Some repositories store a tied output layer too, or tensors that the architecture has given up.
    unused = unused_patterns(model)
    return {
        name: shape
        for name, shape in stored.items()
        if name not in model.all_tied_weights_keys and not any(pattern.search(name) for pattern in unused)
    }


def _untrained(model: Any) -> set[str]:
    """Last parts of names that only tensors have which training leaves alone, in the type that they have."""
    frozen: set[str] = set(buffers(model))
    trained: set[str] = set()
    for name, parameter in model.named_parameters():
        (trained if parameter.requires_grad else frozen).add(name)
    return {_last_part(name) for name in frozen} - {_last_part(name) for name in trained}


def _last_part(name: str) -> str:
    return name.rpartition(".")[2]


def summary_of(
    run: RunDirectory, directory: Path, manifest: Manifest, *, keep_epochs: int = 0
) -> ArtifactSummary:
    """What is said of a published artifact."""
    details: Mapping[str, Any] = manifest.details
    return ArtifactSummary(
        path=run.relative(directory),
        digest=manifest.digest,
        size_bytes=manifest.size_bytes,
        checkpoints=epochs.kept(run, most=keep_epochs, result_step=details.get("step")),
        **details,
    )


def _decimal(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"
