"""What a source is: its role in the job, its credentials, and the files that it has."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from ..contract.errors import DataInvalid, InvalidInput, ModelUnavailable, Transient

Role = Literal["model", "artifact", "train", "validation", "evaluation", "regression"]

_FIELDS: dict[Role, str] = {
    "model": "model",
    "artifact": "artifact",
    "train": "dataset.train",
    "validation": "dataset.validation",
    "evaluation": "evaluation.dataset",
    "regression": "evaluation.gate.mustNotRegress.dataset",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """One file with rows."""

    path: Path
    name: str
    """How messages call it."""
    sha256: str | None = None
    """Of a file that nothing else pins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file that can be fetched."""

    name: str
    """Relative to the repository or prefix."""
    size: int
    etag: str
    """Changes with the content."""

    def __post_init__(self) -> None:
        """Refuse a name by which the file would be written, or read, elsewhere than where its source is."""
        if self.name.startswith("/") or ".." in PurePosixPath(self.name).parts:
            raise InvalidInput(
                f"A source has a file named {self.name[:200]!r}, which leads out of its folder: remove it "
                "there."
            )

    def require(self, sha256: str, where: str) -> None:
        """Compare a fetched file's content with what the hub tells of large files.

        Raises:
            Transient: it is another content.
        """
        if len(self.etag) == len(sha256) and self.etag != sha256:  # other etags are no SHA-256
            raise Transient(f"{self.name} of {where} arrived damaged; it will be fetched again.")

    def is_content_of(self, path: Path, sha256: str) -> bool:
        """Whether a file with this digest has the content that the etag tells, where that is a digest."""
        if len(self.etag) == len(sha256):  # large files of a hub
            return self.etag == sha256
        if len(self.etag) == 40:  # its small files: the name of a blob in git
            content = path.read_bytes()
            named = b"blob %d\0" % len(content) + content
            return hashlib.sha1(named, usedforsecurity=False).hexdigest() == self.etag
        return True


@dataclass(frozen=True, slots=True)
class Credentials:
    """Reads the environment variables that the operator sets from a source's Secret."""

    role: Role

    def get(self, key: str) -> str | None:
        """Value of a key of CREDENTIAL_KEYS; the one without the source's prefix is the fallback."""
        return os.environ.get(f"{self.role.upper()}_{key}") or os.environ.get(key) or None

    @property
    def failure(self) -> type[InvalidInput]:
        """What a source that cannot be had is for the job."""
        return ModelUnavailable if self.role in ("model", "artifact") else DataInvalid

    @property
    def field(self) -> str:
        """Field of the job that names the Secret."""
        return f"{_FIELDS[self.role]}.credentials.secretName"


def field_of(role: Role) -> str:
    """Field of the job that holds the URI."""
    return f"{_FIELDS[role]}.uri"


def require_inside(path: Path, *, uri: str, mount: str, failure: type[InvalidInput]) -> None:
    """Refuse a link out of a claim: it would have other files of the pod read, its environment among them.

    ``mount`` is where what the URI names lies in the pod; links within the claim are as good as files.
    """
    root = Path(mount)
    for _ in PurePosixPath(uri.partition("://")[2]).parts[1:]:
        root = root.parent
    if not path.resolve().is_relative_to(root.resolve()):
        raise failure(f"{path.name} of {uri} is a link that leads out of it: put the file itself there.")


def scheme_of(uri: str) -> str:
    """``hf``, ``s3``, ``https``, ``pvc`` or ``configMap``."""
    return uri.partition("://")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """The files of a data source: found, and not fetched yet."""

    contents: Callable[[], list[RemoteFile]]
    """What the files hold now, by their etags; an empty etag says that nobody knows."""
    fetch: Callable[[Path], list[DataFile]]
    """Make the files readable here; remote ones are put into a directory, unless they are there already."""


def sha256(path: Path) -> str:
    """Digest of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
