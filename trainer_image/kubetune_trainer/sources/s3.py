"""Object storage: a data file, or all files below a prefix as a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from ..contract.errors import Transient, first_line
from .source import Credentials, DataFile, DataSource, RemoteFile, field_of

T = TypeVar("T")

_PART_BYTES = 8 * 1024 * 1024
"""What one of ten parallel requests for a file asks for. They are held in memory: s3fs would take 500 MB."""


class ObjectStore:
    """An S3 bucket, with the credentials and endpoint of one source."""

    def __init__(self, credentials: Credentials) -> None:
        import s3fs

        self._credentials = credentials
        self._failure = credentials.failure
        endpoint, region = credentials.get("AWS_ENDPOINT_URL"), credentials.get("AWS_REGION")
        self._files: Any = s3fs.S3FileSystem(
            key=credentials.get("AWS_ACCESS_KEY_ID"),  # None: the pod's own identity
            secret=credentials.get("AWS_SECRET_ACCESS_KEY"),
            endpoint_url=endpoint,
            client_kwargs={"region_name": region} if region else {},
            config_kwargs={"s3": {"addressing_style": "path"}} if endpoint else {},
            skip_instance_cache=True,
            use_listings_cache=False,
            default_block_size=_PART_BYTES,
        )

    def locate_file(self, uri: str) -> DataSource:
        """Find one object."""
        self._object(uri)
        return DataSource(
            contents=lambda: [self._object(uri)], fetch=lambda directory: [self._fetch(uri, directory)]
        )

    def _object(self, uri: str) -> RemoteFile:
        info = self._translated(uri, lambda: self._files.info(uri.removeprefix("s3://")))
        if info["type"] == "directory":
            raise self._failure(
                f"{uri} is a prefix, not an object: {field_of(self._credentials.role)} must name a file."
            )
        return _remote_file(info)

    def _fetch(self, uri: str, directory: Path) -> DataFile:
        key = uri.removeprefix("s3://")
        path = directory / PurePosixPath(key).name
        directory.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            self._translated(uri, lambda: self._files.get_file(key, str(path)))
        return DataFile(path=path, name=uri)

    def list_files(self, uri: str) -> list[RemoteFile]:
        """Files directly below a prefix, in order of their names."""
        prefix = uri.removeprefix("s3://").rstrip("/")
        return sorted(
            (
                _remote_file(entry)
                for entry in self._entries(uri)
                if entry["type"] == "file" and entry["name"] != prefix
            ),
            key=lambda file: file.name,
        )

    def list_folders(self, uri: str) -> list[str]:
        """Names of the prefixes directly below one, in their order."""
        entries = self._entries(uri)
        return sorted(PurePosixPath(entry["name"]).name for entry in entries if entry["type"] == "directory")

    def _entries(self, uri: str) -> list[Mapping[str, Any]]:
        prefix = uri.removeprefix("s3://").rstrip("/")
        return list(self._translated(uri, lambda: self._files.ls(prefix, detail=True)))

    def download(self, uri: str, file: RemoteFile, target: Path) -> None:
        """Download one file of a prefix."""
        key = f"{uri.removeprefix('s3://').rstrip('/')}/{file.name}"
        self._translated(uri, lambda: self._files.get_file(key, str(target)))

    def _translated(self, uri: str, call: Callable[[], T]) -> T:
        """Run a call; what the store refuses becomes a sentence."""
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            NoCredentialsError,
        )

        field = field_of(self._credentials.role)
        try:
            return call()
        except FileNotFoundError:
            raise self._failure(
                f"{uri} does not exist. Correct {field}, or create the bucket and the object."
            ) from None
        except (PermissionError, NoCredentialsError) as error:
            why = (
                "no credentials were given"
                if isinstance(error, NoCredentialsError)
                else "the server says forbidden"
            )
            raise self._failure(
                f"{uri} may not be read: {why}. "
                f"Check the Secret that {self._credentials.field} names, and its rights."
            ) from None
        except (BotoCoreError, ClientError, OSError) as error:
            raise Transient(f"{uri} cannot be read now: {first_line(error)}") from error


def _remote_file(entry: Mapping[str, Any]) -> RemoteFile:
    name = PurePosixPath(entry["name"]).name
    return RemoteFile(name=name, size=entry["size"], etag=str(entry.get("ETag", "")).strip('"'))
