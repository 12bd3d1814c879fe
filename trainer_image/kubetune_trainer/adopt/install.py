"""Adopts an artifact: fetched, pinned, checked, and installed in the run as if it had been trained there.

A folder that a KubeTune job published is installed as it is, under the digest that it had. Of any other what
a server needs is written anew: weights, settings, chat template and ends.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from ..artifact import model_card
from ..artifact.model_card import CARD_NAME
from ..artifact.publish import summary_of, verified_artifact
from ..base.architecture import Architecture
from ..base.fetch import FoundFolder, fetch_artifact
from ..contract.config import AdoptedConfig, TrainerConfig
from ..contract.errors import name_list
from ..contract.layout import RunDirectory
from ..contract.messages import ArtifactSummary, ModelSummary
from ..sources.source import sha256
from ..store import manifest, unfinished
from ..store.ledger import Ledger
from ..store.manifest import FileEntry, Manifest, ManifestError, naming
from .adapter import write_adapter
from .folder import ADAPTER_CONFIG, PICKLED, artifact_files, refusal
from .model import put, write_model
from .settings import read_settings
from .text import write_adapter_text, write_model_text

logger = logging.getLogger(__name__)

_UNCHANGED: Final = ".safetensors"
"""Files of a full model that are taken as they are."""

Confirm = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A folder as it is now."""

    folder: FoundFolder
    files: Mapping[str, FileEntry]
    digest: str
    """Of a published folder that of its manifest, else of all files that are taken."""
    published: Manifest | None
    """Of a folder that a KubeTune job published, and that holds what it did then."""

    @property
    def lora(self) -> bool:
        return ADAPTER_CONFIG in self.folder.names


def adopt(
    config: TrainerConfig, run: RunDirectory, base: ModelSummary, kind: Architecture, confirm: Confirm
) -> ArtifactSummary:
    """Install the job's artifact in its run, unless it is there; return what it is.

    ``base`` and ``kind`` are the base model as prepare pinned it. ``confirm`` is called right before anything
    changes, and raises when this process may not.

    Raises:
        AdapterInvalid: it cannot be served as it was trained, or is not what the digest says.
        ModelUnavailable: the folder cannot be had, or its model or tokenizer cannot be read.
    """
    assert config.adopt is not None
    source = _read(fetch_artifact(config, config.adopt, artifact_files))
    _require_pinned(source, config.adopt)
    held = verified_artifact(run.root)
    if held is not None and source.digest in (held.digest, held.source_digest):
        logger.info("the artifact is on the volume already")
    else:
        held = _install(source, config, run, base, kind, confirm)
    # Of a published one the manifest says what its own job had: the server looks for this job's base.
    job = {"base_model": config.model.uri, "base_revision": base.revision, "source_digest": source.digest}
    return held.model_copy(update=job)


def _read(folder: FoundFolder) -> _Source:
    """Read every file of a folder; its manifest is believed if a job wrote it and all of it is still true."""
    files = {name: _entry(folder.path, name) for name in folder.names}
    if folder.manifest is not None and (published := _published(folder.manifest, files)) is not None:
        return _Source(folder=folder, files=files, digest=published.digest, published=published)
    told = json.dumps([[f.name, f.size, f.sha256] for _, f in sorted(files.items())], separators=(",", ":"))
    digest = f"sha256:{hashlib.sha256(told.encode()).hexdigest()}"
    return _Source(folder=folder, files=files, digest=digest, published=None)


def _entry(directory: Path, name: str) -> FileEntry:
    path = directory / name
    with naming(path):
        return FileEntry(name=name, size=path.stat().st_size, sha256=sha256(path))


def _published(path: Path, files: Mapping[str, FileEntry]) -> Manifest | None:
    try:
        found = manifest.parse_manifest(path)
    except ManifestError:
        return None
    try:
        said = ArtifactSummary(path="", digest=found.digest, size_bytes=found.size_bytes, **found.details)
    except (TypeError, ValidationError):
        return None  # of something else, such as a model that was fetched
    if said.type not in ("LoRA", "Full"):
        return None
    if any(file.name.endswith(PICKLED) for file in found.files):
        return None
    if wrong := [file.name for file in found.files if files.get(file.name) != file]:
        logger.warning(
            "%s is not what the job that published it wrote: it is checked as any other folder",
            name_list(wrong),
        )
        return None
    return found


def _require_pinned(source: _Source, adopt: AdoptedConfig) -> None:
    if adopt.digest is not None and adopt.digest != source.digest:
        raise refusal(
            adopt.uri,
            f"holds {source.digest} now, and artifact.digest is {adopt.digest}",
            "Put the files back, or apply the job with the digest that they have now if the change is meant",
        )


def _install(
    source: _Source,
    config: TrainerConfig,
    run: RunDirectory,
    base: ModelSummary,
    kind: Architecture,
    confirm: Confirm,
) -> ArtifactSummary:
    final = run.adapter if source.lora else run.model
    confirm()
    for left in (*unfinished.left(run.adapter), *unfinished.left(run.model)):
        shutil.rmtree(left, ignore_errors=True)
    directory = unfinished.beside(final)
    directory.mkdir(parents=True)
    try:
        details = _write(source, config, base, kind, directory)
        for path in directory.iterdir():
            path.chmod(0o644)  # serving pods have another user
        if source.published is not None:
            written = _as_published(source, source.published, directory)
        else:
            known = {name: file.sha256 for name, file in source.files.items() if name.endswith(_UNCHANGED)}
            known = {} if source.lora else known
            entries = [
                manifest.sync_file(directory, name, sha256=known.get(name))
                for name in manifest.list_files(directory)
                if name != CARD_NAME
            ]
            written = manifest.write_manifest(directory, entries, details)
        confirm()
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    for earlier in (run.adapter, run.model):
        if earlier.exists():  # of an earlier state of the folder, or damaged
            aside = earlier.with_name(f".replaced-{earlier.name}")
            shutil.rmtree(aside, ignore_errors=True)
            earlier.rename(aside)
    Ledger(run.root).record(final.name, written)
    directory.rename(final)
    manifest.sync_directory(run.root)
    return summary_of(run, final, written)


def _write(
    source: _Source, config: TrainerConfig, base: ModelSummary, kind: Architecture, directory: Path
) -> dict[str, Any]:
    """Check the artifact, write it in the form that servers read, and return what its manifest says of it."""
    assert config.adopt is not None
    folder, names, at = source.folder.path, source.folder.names, Path(base.path)
    rank, warnings = None, list[str]()
    published = source.published.details if source.published else {}
    if source.lora:
        settings = read_settings(folder, config.adopt.uri)
        written = write_adapter(folder, directory, settings, config, base, kind)
        rank = written.rank
        text, more = write_adapter_text(config, at, folder, names, directory)
        warnings += (*written.warnings, *more)
    else:
        write_model(folder, names, directory, config, kind)
        text = write_model_text(config, at, names, directory)
    told = {"type": "LoRA" if source.lora else "Full", "rank": rank}
    if published and {name: published.get(name) for name in told} != told:
        raise refusal(
            config.adopt.uri,
            f"is not what its {manifest.MANIFEST_NAME} says ({told})",
            f"Copy it again from the job's volume, or remove {manifest.MANIFEST_NAME}",
        )
    for warning in warnings:
        logger.warning("%s", warning)
    card = model_card.adopted(config, base, source_digest=source.digest, lora=source.lora, warnings=warnings)
    (directory / CARD_NAME).write_text(card, encoding="utf-8")
    return {
        **told,
        "base_model": config.model.uri,
        "base_revision": base.revision,
        "base_digest": base.digest,
        "source": config.adopt.uri,
        "source_digest": source.digest,
        "warnings": warnings,
        **text,
    }


def _as_published(source: _Source, published: Manifest, directory: Path) -> Manifest:
    """Put a job's own files in the place of what was written to check them."""
    shutil.rmtree(directory)
    directory.mkdir()
    for file in published.files:
        put(source.folder.path / file.name, directory / file.name)
        manifest.sync_file(directory, file.name, sha256=file.sha256)
    assert source.folder.manifest is not None
    shutil.copyfile(source.folder.manifest, directory / manifest.MANIFEST_NAME)
    manifest.sync_file(directory, manifest.MANIFEST_NAME, sha256=published.digest)
    manifest.sync_directory(directory)
    if CARD_NAME in source.folder.names and not (directory / CARD_NAME).exists():
        shutil.copyfile(source.folder.path / CARD_NAME, directory / CARD_NAME)
    return manifest.verify_manifest(directory, apart=(CARD_NAME,))
