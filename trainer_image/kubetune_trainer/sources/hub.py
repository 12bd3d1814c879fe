"""The model hub: resolves a revision to a commit, lists and downloads files of models and datasets.

Honours ``platform.hf_endpoint`` and HF_ENDPOINT. What the hub refuses becomes a sentence naming the field.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huggingface_hub import HfApi, errors
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import disable_progress_bars

from ..contract.errors import InvalidInput, Transient, first_line
from .source import Credentials, DataFile, DataSource, RemoteFile, Role, field_of, sha256
from .splits import choose

Kind = Literal["model", "dataset"]

_HTTP_ERROR: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]
"""Base of the errors of whichever HTTP library the client uses."""

_ANSWER_SECONDS = 60.0
"""Seconds for which the hub may be silent when it is asked for a list; the client limits downloads itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """``hf://org/name[@revision][/path]``."""

    name: str
    revision: str | None
    path: str

    @classmethod
    def of(cls, uri: str) -> Repository:
        """Take a URI apart; the revision may contain no slash."""
        first, _, rest = uri.removeprefix("hf://").partition("/")
        second, _, path = rest.partition("/")
        name, _, revision = second.partition("@")
        return cls(name=f"{first}/{name}" if name else first, revision=revision or None, path=path.strip("/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A repository's files at one commit."""

    commit: str
    files: tuple[RemoteFile, ...]


class Hub:
    """The hub, as one source sees it."""

    def __init__(
        self, credentials: Credentials, endpoint: str | None, *, answer_seconds: float = _ANSWER_SECONDS
    ) -> None:
        disable_progress_bars()
        self._credentials = credentials
        token = credentials.get("HF_TOKEN")
        self._api = HfApi(endpoint=endpoint or os.environ.get("HF_ENDPOINT"), token=token or False)
        self._has_token = token is not None
        self._answer_seconds = answer_seconds
        self._failure = credentials.failure

    def list_files(self, name: str, kind: Kind, revision: str | None) -> Listing:
        """Resolve a branch or tag to its commit, and list what is there."""
        if "/" not in name:
            raise self._not_a_name(name)
        with self._translated(name, kind, revision):
            read = self._api.model_info if kind == "model" else self._api.dataset_info
            info = read(name, revision=revision, files_metadata=True, timeout=self._answer_seconds)
        files = tuple(
            RemoteFile(
                name=file.rfilename,
                size=file.size or 0,
                etag=file.lfs.sha256 if file.lfs else file.blob_id or "",
            )
            for file in info.siblings or ()
        )
        return Listing(commit=str(info.sha), files=files)

    def download(self, name: str, kind: Kind, commit: str, file: RemoteFile, directory: Path) -> Path:
        """Download one file below ``directory``; a file that is there already is not fetched again."""
        with self._translated(name, kind, commit):
            path = Path(
                self._api.hf_hub_download(
                    name, file.name, repo_type=kind, revision=commit, local_dir=directory
                )
            )
        if file.size and path.stat().st_size != file.size:
            path.unlink()
            raise Transient(f"{file.name} of hf://{name} arrived incomplete; it will be fetched again.")
        return path

    def locate_dataset(self, uri: str, role: Role) -> DataSource:
        """Find the files of a dataset's split, or the one file that the URI names, at one commit."""
        repository = Repository.of(uri)
        listing = self.list_files(repository.name, "dataset", repository.revision)
        chosen = choose(listing.files, repository=repository.name, path=repository.path, role=role)

        def fetch(directory: Path) -> list[DataFile]:
            fetched = []
            for file in chosen:
                path = self.download(repository.name, "dataset", listing.commit, file, directory)
                file.require(sha256(path), f"hf://{repository.name}")
                fetched.append(DataFile(path=path, name=f"hf://{repository.name}/{file.name}"))
            return fetched

        return DataSource(contents=lambda: chosen, fetch=fetch)

    def _not_a_name(self, name: str) -> InvalidInput:
        field = field_of(self._credentials.role)
        return self._failure(f"{field} must be hf://organisation/name, not hf://{name}.")

    @contextmanager
    def _translated(self, name: str, kind: Kind, revision: str | None) -> Iterator[None]:
        field, secret = field_of(self._credentials.role), self._credentials.field
        what = f"The {kind} hf://{name}"
        if self._has_token:
            who = f"the token in the Secret of {secret}"
            gated = (
                f"is gated, and {who} gives no access: accept its terms on the hub with that token's account"
            )
            absent = f"does not exist, or {who} may not read it: correct {field} or the Secret"
            denied = f"{who} is not accepted"
        else:
            gated = f"is gated: accept its terms on the hub, and name a Secret with your token in {secret}"
            absent = (
                f"does not exist, or is private: correct {field}, or name a Secret with a token in {secret}"
            )
            denied = f"name a Secret with a token in {secret}"
        try:
            yield
        except GatedRepoError:
            raise self._failure(f"{what} {gated}.") from None
        except RepositoryNotFoundError:
            raise self._failure(f"{what} {absent}.") from None
        except RevisionNotFoundError:
            raise self._failure(
                f"{what} has no revision {revision or 'main'}. Correct the revision."
            ) from None
        except LocalEntryNotFoundError as error:  # what the client makes of a hub that does not answer a HEAD
            raise Transient(f"{what} cannot be read now: {first_line(error.__cause__ or error)}") from error
        except EntryNotFoundError:
            raise self._failure(
                f"A file of {what[0].lower()}{what[1:]} is missing at revision {revision}."
            ) from None
        except DisabledRepoError:
            raise self._failure(f"{what} has been disabled by the hub. Use another one in {field}.") from None
        except HFValidationError:
            raise self._not_a_name(name) from None
        except HfHubHTTPError as error:
            status = error.response.status_code
            if status in (401, 403):
                raise self._failure(f"{what} may not be read (status {status}): {denied}.") from None
            raise Transient(f"{what} cannot be read now: the hub answers with status {status}.") from None
        except (_HTTP_ERROR, OSError) as error:
            if "Timeout" in type(error).__name__:
                raise Transient(
                    f"{what} cannot be read now: the hub, or a proxy before it, has not answered in time."
                ) from error
            raise Transient(f"{what} cannot be read now: {first_line(error)}") from error
