"""Where data and models come from: URIs, credentials, and the files of a dataset.

``pvc://`` and ``configMap://`` are mounted in the pod; ``hub`` and ``s3`` fetch the others.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .config import FileSource, PlatformConfig
from .errors import DataInvalid, Transient, name_list

Role = Literal["model", "train", "validation"]

_FIELDS: dict[Role, str] = {"model": "model", "train": "dataset.train", "validation": "dataset.validation"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """One file with rows."""

    path: Path
    name: str
    """How messages call it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file that can be fetched."""

    name: str
    """Relative to the repository or prefix."""
    size: int
    etag: str
    """Changes with the content."""

    def require(self, sha256: str, where: str) -> None:
        """Compare a fetched file's content with what the hub tells of large files.

        Raises:
            Transient: it is another content.
        """
        if len(self.etag) == len(sha256) and self.etag != sha256:  # other etags are no SHA-256
            raise Transient(f"{self.name} of {where} arrived damaged; it will be fetched again.")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Reads the environment variables that the operator sets from a source's Secret."""

    role: Role

    def get(self, key: str) -> str | None:
        """Value of a key of CREDENTIAL_KEYS; the one without the source's prefix is the fallback."""
        return os.environ.get(f"{self.role.upper()}_{key}") or os.environ.get(key) or None

    @property
    def field(self) -> str:
        """Field of the job that names the Secret."""
        return f"{_FIELDS[self.role]}.credentials.secretName"


def field_of(role: Role) -> str:
    """Field of the job that holds the URI."""
    return f"{_FIELDS[role]}.uri"


def scheme_of(uri: str) -> str:
    """``hf``, ``s3``, ``pvc`` or ``configMap``."""
    return uri.partition("://")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """The files of a data source: found, and not fetched yet."""

    contents: Callable[[], list[RemoteFile]]
    """What the files hold now, by their etags; an empty etag says that nobody knows."""
    fetch: Callable[[Path], list[DataFile]]
    """Make the files readable here; remote ones are put into a directory, unless they are there already."""


def locate_data(source: FileSource, role: Role, *, platform: PlatformConfig) -> DataSource:
    """Find the files of a data source."""
    match scheme_of(source.uri):
        case "hf":
            from .hub import Hub

            return Hub(Credentials(role), platform.hf_endpoint).locate_dataset(source.uri, role)
        case "s3":
            from .s3 import ObjectStore

            return ObjectStore(Credentials(role)).locate_file(source.uri)
        case _:
            file = _mounted(source, role)
            return DataSource(contents=lambda: [_contents(file)], fetch=lambda _: [file])


def _contents(file: DataFile) -> RemoteFile:
    return RemoteFile(name=file.name, size=file.path.stat().st_size, etag=sha256(file.path))


def sha256(path: Path) -> str:
    """Digest of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mounted(source: FileSource, role: Role) -> DataFile:
    if source.mount is None:
        raise DataInvalid(
            f"{field_of(role)} {source.uri} is of an unknown kind: use hf://, s3://, pvc:// or configMap://."
        )
    path = Path(source.mount)
    if path.is_file():
        return DataFile(path=path, name=source.uri)
    if path.is_dir():
        raise DataInvalid(
            f"{source.uri} is a directory; {field_of(role)} must name a file.{_neighbours(path)}"
        )
    raise DataInvalid(f"{source.uri} does not exist.{_neighbours(path.parent)} Correct {field_of(role)}.")


def _neighbours(directory: Path) -> str:
    """Name a few files that are there, which shows most typing errors."""
    try:
        names = sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))
    except OSError:
        return ""
    return f" {directory.name}/ holds {name_list(names)}." if names else f" {directory.name}/ is empty."
