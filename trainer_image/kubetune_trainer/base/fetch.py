"""Finds the base model, or an artifact to adopt: a mounted directory, or one fetched to the output volume
that all jobs there share.

A fetched model is complete or absent: files arrive in a directory of the job's own, get a manifest, and are
renamed into place. Whoever is second finds the other's copy and drops its own; a job that is cut off goes on
with the files it has.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ..contract.config import AdoptedConfig, ModelSource, TrainerConfig, digest_of
from ..contract.errors import ModelUnavailable, Transient, VolumeUnusable, name_list
from ..contract.layout import model_path, output_root
from ..sources.source import Credentials, RemoteFile, Role, require_inside, scheme_of
from ..store import manifest
from ..store.volumes import MAKE_ROOM
from . import quantised
from .digest import MODEL_SUFFIXES, content_digest

logger = logging.getLogger(__name__)

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".gguf")
_CONFIG = "config.json"
_THEIR_MANIFEST = "source-manifest.json"

Choose = Callable[[Sequence[RemoteFile], str], list[RemoteFile]]
"""Which of a folder's files are taken, by its URI; raises for a folder that is not to be used. Those of its
folders have a slash in their names, and only their name where nobody knows what is in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedModel:
    """A base model on a local path."""

    path: Path
    revision: str
    """Commit of a hub model, else a digest of the files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFolder:
    """An artifact's files on a local path."""

    path: Path
    names: tuple[str, ...]
    """The files that are taken; there may be others."""
    manifest: Path | None
    """Its own manifest, of a folder that has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """A base model whose files are known, and perhaps not here yet."""

    present: bool
    """Nothing is left to fetch."""
    fetch_config: Callable[[Path], Path]
    """Make only the files readable that say what the weights are, in a directory: this may spare them."""
    fetch: Callable[[], PinnedModel]
    """Make the files readable here."""
    names: tuple[str, ...] = ()
    """The files that are fetched."""


def fetch_model(config: TrainerConfig) -> PinnedModel:
    """Pin the model's revision and make its files readable here."""
    return find_model(config).fetch()


def find_model(config: TrainerConfig) -> FoundModel:
    """Pin the model's revision; raises ModelUnavailable for one that is not to be had or not to be used."""
    source = config.model
    match scheme_of(source.uri):
        case "hf":
            return _from_hub(source, config, role="model", choose=wanted)
        case "s3":
            return _from_store(source, config.name, role="model", choose=wanted)
        case _:
            mount = Path(source.mount or "")
            return FoundModel(present=True, fetch_config=lambda _: mount, fetch=lambda: _mounted(source))


def fetch_artifact(config: TrainerConfig, adopt: AdoptedConfig, choose: Choose) -> FoundFolder:
    """Make the files of an artifact readable here; raises ModelUnavailable for one that is not to be had."""
    source = ModelSource(uri=adopt.uri, mount=adopt.mount)
    match scheme_of(adopt.uri):
        case "hf":
            found = _from_hub(source, config, role="artifact", choose=choose)
        case "s3":
            found = _from_store(source, config.name, role="artifact", choose=choose)
        case _:
            path = Path(adopt.mount or "")
            if adopt.mount is None or not path.is_dir():
                raise ModelUnavailable(f"{adopt.uri} is no directory on the claim. Correct artifact.uri.")
            names = tuple(file.name for file in choose(_with_folders(path), adopt.uri))
            _require_inside(names, adopt.uri, adopt.mount)
            return _folder(path, names, manifest.MANIFEST_NAME)
    return _folder(found.fetch().path, found.names, _THEIR_MANIFEST)


def _folder(path: Path, names: tuple[str, ...], manifest: str) -> FoundFolder:
    return FoundFolder(
        path=path,
        names=tuple(name for name in names if name != manifest),
        manifest=path / manifest if manifest in names else None,
    )


def _with_folders(path: Path) -> list[RemoteFile]:
    """Files of a directory, and of the folders in it."""
    found = [
        *path.iterdir(),
        *(inner for folder in path.iterdir() if folder.is_dir() for inner in folder.iterdir()),
    ]
    return sorted(
        (
            RemoteFile(name=file.relative_to(path).as_posix(), size=file.stat().st_size, etag="")
            for file in found
            if file.is_file()
        ),
        key=lambda file: file.name,
    )


def _from_hub(source: ModelSource, config: TrainerConfig, *, role: Role, choose: Choose) -> FoundModel:
    from ..sources.hub import Hub, Repository

    repository = Repository.of(source.uri)
    if repository.path and role == "model":
        raise ModelUnavailable(f"model.uri {source.uri} must be hf://organisation/name, without a path.")
    below = f"{repository.path}/" if repository.path else ""
    hub = Hub(Credentials(role), config.platform.hf_endpoint)
    listing = hub.list_files(repository.name, "model", source.revision or repository.revision)
    files = choose(
        [
            replace(file, name=file.name.removeprefix(below))
            for file in listing.files
            if file.name.startswith(below)
        ],
        source.uri,
    )

    def download(file: RemoteFile, directory: Path) -> None:
        remote, target = replace(file, name=f"{below}{_their_name(file)}"), directory / file.name
        if remote.name != file.name and target.exists():
            return
        path = hub.download(repository.name, "model", listing.commit, remote, directory)
        if path != target:
            path.rename(target)

    return _found(source.uri, listing.commit, files, download, job=config.name)


def _from_store(source: ModelSource, job: str, *, role: Role, choose: Choose) -> FoundModel:
    from ..sources.s3 import ObjectStore

    store = ObjectStore(Credentials(role))
    folders = store.list_folders(source.uri) if role == "artifact" else []
    inside = [RemoteFile(name=f"{name}/", size=0, etag="") for name in folders]
    files = choose([*store.list_files(source.uri), *inside], source.uri)
    revision = digest_of([[file.name, file.size, file.etag] for file in files])

    def download(file: RemoteFile, directory: Path) -> None:
        target = directory / file.name
        if not target.exists():
            partial = target.with_name(f"{file.name}.partial")
            store.download(source.uri, replace(file, name=_their_name(file)), partial)
            partial.rename(target)

    return _found(source.uri, revision, files, download, job=job)


def _mounted(source: ModelSource) -> PinnedModel:
    path = Path(source.mount or "")
    if source.mount is None or not path.is_dir():
        raise ModelUnavailable(f"{source.uri} is no directory on the claim. Correct model.uri.")
    found = [
        RemoteFile(name=file.name, size=file.stat().st_size, etag="")
        for file in path.iterdir()
        if file.is_file()
    ]
    files = wanted(sorted(found, key=lambda file: file.name), source.uri)
    _require_inside([file.name for file in files], source.uri, source.mount)
    revision = digest_of([[file.name, file.size, content_digest(path / file.name)] for file in files])
    return PinnedModel(path=path, revision=revision)


def _require_inside(names: Sequence[str], uri: str, mount: str) -> None:
    for name in names:
        require_inside(Path(mount) / name, uri=uri, mount=mount, failure=ModelUnavailable)


def wanted(files: Sequence[RemoteFile], uri: str) -> list[RemoteFile]:
    """The files of a model that are read: safetensors, configuration and tokenizer; refuses anything else."""
    root = [file for file in files if "/" not in file.name]
    names = {file.name for file in root}
    weights = [name for name in names if name.endswith(".safetensors")]
    if _CONFIG not in names:
        if "adapter_config.json" in names:
            raise ModelUnavailable(
                f"{uri} is an adapter, not a base model. Name its base model in model.uri."
            )
        if any(name.endswith(".gguf") for name in names):
            raise quantised.refusal(uri, "gguf")
        raise ModelUnavailable(f"{uri} has no config.json; it has {name_list(sorted(names)) or 'no files'}.")
    if not weights:
        pickles = sorted(name for name in names if name.endswith(_PICKLES))
        if pickles and all(name.endswith(".gguf") for name in pickles):
            raise quantised.refusal(uri, "gguf")
        if pickles:
            raise ModelUnavailable(
                f"{uri} has its weights only as {name_list(pickles, 3)}, which can run code when loaded: "
                "convert to safetensors, or use a repository that has them."
            )
        raise ModelUnavailable(f"{uri} has no weights (*.safetensors).")
    # Some repositories hold the same weights twice, once in the vendor's own layout.
    vendor = any(name.startswith("model") for name in weights)
    return [
        file
        for file in root
        if PurePosixPath(file.name).suffix in MODEL_SUFFIXES
        and file.name != manifest.MANIFEST_NAME
        and not (vendor and file.name.startswith("consolidated"))
    ]


def _found(
    uri: str,
    revision: str,
    files: Sequence[RemoteFile],
    download: Callable[[RemoteFile, Path], None],
    *,
    job: str,
) -> FoundModel:
    files = [replace(file, name=_own_name(file)) for file in files]

    def fetch_config(directory: Path) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        for file in files:
            if file.name in (_CONFIG, quantised.EXPORTED):
                download(file, directory)
        return directory

    return FoundModel(
        present=_is_complete(model_path(uri, revision), files),
        fetch_config=fetch_config,
        fetch=lambda: _fetched(uri, revision, files, download, job=job),
        names=tuple(file.name for file in files),
    )


def _own_name(file: RemoteFile) -> str:
    """Name of a file where it is fetched to: what is fetched gets a manifest of its own."""
    return _THEIR_MANIFEST if file.name == manifest.MANIFEST_NAME else file.name


def _their_name(file: RemoteFile) -> str:
    return manifest.MANIFEST_NAME if file.name == _THEIR_MANIFEST else file.name


def _fetched(
    uri: str,
    revision: str,
    files: Sequence[RemoteFile],
    download: Callable[[RemoteFile, Path], None],
    *,
    job: str,
) -> PinnedModel:
    """Fetch once to the output volume."""
    target = model_path(uri, revision)
    pinned = PinnedModel(path=target, revision=revision)
    partial = target.with_name(f"{target.name}.partial-{job}")
    _remove_left_over(partial, job)
    if _is_complete(target, files):
        if (problem := _problem(target, files, uri, revision)) is None:
            logger.info("model found on the volume", extra={"uri": uri, "revision": revision})
            return pinned
        logger.warning("The model on the volume is not used, but fetched again: %s", problem)
        target.rename(target.with_name(f"{target.name}.damaged-{job}"))
    partial.mkdir(parents=True, exist_ok=True)
    _require_space(uri, files, partial)
    for file in files:
        logger.info("fetching %s (%s bytes)", file.name, f"{file.size:,}")
        download(file, partial)
    for path in partial.iterdir():
        if path.is_dir():  # the hub client's own records, and folders that files were taken out of
            shutil.rmtree(path, ignore_errors=True)
    entries = []
    for file in files:
        entry = manifest.sync_file(partial, file.name)
        try:
            file.require(entry.sha256, uri)
        except Transient:
            (partial / file.name).unlink()
            raise
        entries.append(entry)
    manifest.write_manifest(partial, entries, _source_of(uri, revision, files))
    if target.exists() and not _is_complete(target, files):  # a copy that lost files
        target.rename(target.with_name(f"{target.name}.damaged-{job}"))
    try:
        partial.rename(target)
    except OSError:
        if not _is_complete(target, files):
            raise
        shutil.rmtree(partial)  # another job was first
    _remove_left_over(partial, job)  # readers of a damaged copy keep what they have open
    manifest.sync_directory(target.parent)
    return pinned


def _remove_left_over(partial: Path, job: str) -> None:
    """Remove the job's damaged copies, and what it fetched of a revision that has moved on since."""
    for kind in ("partial", "damaged"):
        for left in partial.parent.glob(f"*.{kind}-{job}"):
            if left != partial:
                shutil.rmtree(left, ignore_errors=True)


def _is_complete(directory: Path, files: Sequence[RemoteFile]) -> bool:
    """Whether every file is there with its size, and the manifest that is written last."""
    try:
        sizes = {path.name: path.stat().st_size for path in directory.iterdir()}
    except OSError:
        return False
    return manifest.MANIFEST_NAME in sizes and all(
        file.name in sizes and (not file.size or sizes[file.name] == file.size)  # mirrors may not tell sizes
        for file in files
    )


def _source_of(uri: str, revision: str, files: Sequence[RemoteFile]) -> dict[str, Any]:
    return {"uri": uri, "revision": revision, "etags": {file.name: file.etag for file in files}}


def _problem(directory: Path, files: Sequence[RemoteFile], uri: str, revision: str) -> str | None:
    """Why a copy on the volume is not what its source has; all of it is read.

    Another job has written it, and perhaps somebody else since. A hub tells digests, which are compared;
    where a bucket tells none, the manifest is believed if it names the same versions.
    """
    try:
        held = manifest.verify_manifest(directory)
    except manifest.ManifestError as error:
        return str(error)
    expected = _source_of(uri, revision, files)
    if {**expected, **held.details} != expected:  # earlier versions did not write the etags
        return f"{directory.name} was fetched from elsewhere"
    digests = {file.name: file.sha256 for file in held.files}
    if strangers := sorted(digests.keys() - {file.name for file in files}):
        return f"{directory.name}: {strangers[0]} is none of the files of {uri}"
    for file in files:
        if not file.is_content_of(directory / file.name, digests[file.name]):
            return f"{directory.name}: {file.name} is not the one of {uri}"
    return None


def _require_space(uri: str, files: Sequence[RemoteFile], partial: Path) -> None:
    missing = sum(file.size for file in files if not (partial / file.name).exists())
    free = shutil.disk_usage(output_root()).free
    if missing > free:
        raise VolumeUnusable(
            f"The output volume has {free / 1e9:.1f} GB free, but {uri} needs {missing / 1e9:.1f} GB: "
            f"{MAKE_ROOM}."
        )
