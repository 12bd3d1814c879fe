"""Finds the files of a dataset by its URI.

``pvc://`` and ``configMap://`` are mounted in the pod; ``hub`` and ``s3`` fetch the others.
"""

from __future__ import annotations

from pathlib import Path

from ..contract.config import FileSource, PlatformConfig
from ..contract.errors import DataInvalid, name_list
from .hub import Hub
from .source import (
    Credentials,
    DataFile,
    DataSource,
    RemoteFile,
    Role,
    field_of,
    require_inside,
    scheme_of,
    sha256,
)


def locate_data(source: FileSource, role: Role, *, platform: PlatformConfig) -> DataSource:
    """Find the files of a data source."""
    match scheme_of(source.uri):
        case "hf":
            return Hub(Credentials(role), platform.hf_endpoint).locate_dataset(source.uri, role)
        case "s3":
            from .s3 import ObjectStore

            return ObjectStore(Credentials(role)).locate_file(source.uri)
        case "https":
            from .https import WebFiles

            return WebFiles(role, platform).locate_file(source.uri)
        case _:
            file = _mounted(source, role)
            return DataSource(contents=lambda: [_contents(file)], fetch=lambda _: [file])


def _contents(file: DataFile) -> RemoteFile:
    return RemoteFile(name=file.name, size=file.path.stat().st_size, etag=sha256(file.path))


def _mounted(source: FileSource, role: Role) -> DataFile:
    if source.mount is None:
        raise DataInvalid(
            f"{field_of(role)} {source.uri} is of an unknown kind: use hf://, s3://, https://, pvc:// or "
            "configMap://."
        )
    path = Path(source.mount)
    if path.is_file():
        require_inside(path, uri=source.uri, mount=source.mount, failure=DataInvalid)
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
