"""MANIFEST.json: name, size and SHA-256 of every file of a directory, and what the directory is.

A checkpoint or an artifact counts only when its manifest verifies. The manifest is written last, after every
file that it names is on disk, so that a directory with a valid manifest is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MANIFEST_NAME = "MANIFEST.json"


_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
"""What says that something is not there. Any other OSError is the volume's: the content may be whole."""


class ManifestError(Exception):
    """The directory is not what its manifest says; the text names the file."""


@dataclass(slots=True, frozen=True, kw_only=True)
class FileEntry:
    """One file of a directory."""

    name: str
    """Relative to the directory, with forward slashes."""
    size: int
    sha256: str


@dataclass(slots=True, frozen=True, kw_only=True)
class Manifest:
    """A parsed MANIFEST.json."""

    files: tuple[FileEntry, ...]
    details: dict[str, Any]
    """What the directory is: step and world size of a checkpoint, kind and base of an artifact."""
    digest: str
    """``sha256:...`` of the manifest itself, and so of everything that it names."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of reading name the path, as an error of opening does."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def list_files(directory: Path) -> list[str]:
    """Names of every file below a directory, without its manifest, in a stable order."""
    names = (path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())
    return sorted(name for name in names if name != MANIFEST_NAME)


def sync_file(directory: Path, name: str, *, sha256: str | None = None) -> FileEntry:
    """Make one file durable and describe it; it is read unless its SHA-256 is known."""
    path = directory / name
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return FileEntry(name=name, size=path.stat().st_size, sha256=sha256 or _sha256(path))


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Write a file of JSON, whole or not at all."""
    replace_file(path, json.dumps(value, indent=1) + "\n", path.with_name(f".{path.name}.tmp"))


def replace_file(path: Path, text: str, temporary: Path) -> None:
    """Write a file, whole or not at all; ``temporary`` is a path on the same volume that nobody else uses."""
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)


def write_manifest(directory: Path, files: Iterable[FileEntry], details: Mapping[str, Any]) -> Manifest:
    """Write the manifest of files that are already durable, and make it and every name durable."""
    document = {**details, "files": [asdict(file) for file in sorted(files, key=lambda file: file.name)]}
    path = directory / MANIFEST_NAME
    with path.open("w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    for folder in sorted({path.parent for path in directory.rglob("*")} | {directory}):
        sync_directory(folder)
    return read_manifest(directory)


def read_manifest(directory: Path) -> Manifest:
    """Parse a manifest without looking at the files.

    Raises:
        ManifestError: it is missing, cut short or not ours.
        OSError: the volume did not let it be read, which says nothing about its content.
    """
    return parse_manifest(directory / MANIFEST_NAME)


def parse_manifest(path: Path) -> Manifest:
    """The same of a manifest under any name; raises as ``read_manifest`` does."""
    try:
        with naming(path):
            content = path.read_bytes()
        document = json.loads(content)
        files = tuple(
            FileEntry(name=str(file["name"]), size=int(file["size"]), sha256=str(file["sha256"]))
            for file in document.pop("files")
        )
    except (*_ABSENT, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ManifestError(f"{path.parent.name}: {MANIFEST_NAME} cannot be read: {error}") from error
    return Manifest(files=files, details=document, digest=f"sha256:{hashlib.sha256(content).hexdigest()}")


def verify_manifest(directory: Path, *, apart: Collection[str] = ()) -> Manifest:
    """Read a manifest and compare every file with it.

    ``apart`` are names of files that may be there without being in the manifest.

    Raises:
        ManifestError: a file is missing, left over, of another size or of other content.
        OSError: the volume did not let a file be read, which says nothing about its content.
    """
    manifest = read_manifest(directory)
    verify_names(directory, manifest, apart=apart)
    for file in manifest.files:
        verify_file(directory, file)
    return manifest


def verify_names(directory: Path, manifest: Manifest, *, apart: Collection[str] = ()) -> None:
    """Compare the names of a directory's files with its manifest; no file is read.

    ``apart`` are names of files that may be there without being in the manifest.

    Raises:
        ManifestError: a file is missing or left over.
    """
    expected, found = {file.name for file in manifest.files}, set(list_files(directory))
    if missing := sorted(expected - found):
        raise ManifestError(f"{directory.name}: {missing[0]} is missing")
    if unknown := sorted(found - expected - set(apart)):
        raise ManifestError(f"{directory.name}: {unknown[0]} is not in {MANIFEST_NAME}")


def verify_file(directory: Path, file: FileEntry) -> None:
    """Compare one file with what was written.

    Raises:
        ManifestError: it is missing, of another size or of other content.
        OSError: the volume did not let it be read.
    """
    path = directory / file.name
    try:
        with naming(path):
            size = path.stat().st_size
            same = size == file.size and _sha256(path) == file.sha256
    except _ABSENT as error:
        raise ManifestError(f"{directory.name}: {file.name} is missing") from error
    if not same:
        raise ManifestError(f"{directory.name}: {file.name} is not what was written ({size} bytes)")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
