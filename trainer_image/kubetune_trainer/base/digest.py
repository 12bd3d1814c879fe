"""What a base model's files hold, as a digest: to notice that they are no longer those of prepare."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ..contract.config import digest_of
from ..contract.errors import VolumeUnusable
from ..contract.messages import ModelSummary
from ..store.manifest import MANIFEST_NAME, naming

_WHOLE_FILE_LIMIT = 16 * 1024 * 1024
_SAMPLES, _SAMPLE_BYTES = 64, 64 * 1024

_TOKENIZER = re.compile(
    r"tokenizer.*|.*token.*\.json|vocab.*|merges\.txt|.*\.model|.*\.tiktoken|.*\.jinja|chat_template.*"
)

MODEL_SUFFIXES = (".safetensors", ".json", ".jinja", ".txt", ".model")
"""Names of the files of a model that are read."""


def directory_digest(directory: Path) -> str:
    """Digest of all files of a model in a directory that are read.

    Raises:
        OSError: the volume did not let one be read.
    """
    names = sorted(
        path.name
        for path in directory.iterdir()
        if path.suffix in MODEL_SUFFIXES and path.name != MANIFEST_NAME and path.is_file()
    )
    return digest_of(
        [[name, (directory / name).stat().st_size, content_digest(directory / name)] for name in names]
    )


def is_of_tokenizer(name: str) -> bool:
    """Whether a file makes the tokenizer, its chat template included."""
    return _TOKENIZER.fullmatch(name) is not None


def tokenizer_digest(directory: Path) -> str:
    """Digest of the files that make the tokenizer, its chat template included.

    Raises:
        OSError: the volume did not let one be read.
    """
    names = sorted(path.name for path in directory.iterdir() if is_of_tokenizer(path.name))
    return digest_of([[name, content_digest(directory / name)] for name in names])


def require_unchanged(base: ModelSummary) -> None:
    """Refuse a base model whose files are not those that prepare has checked.

    Raises:
        VolumeUnusable: they are others, or gone.
        OSError: the volume did not let one be read.
    """
    path = Path(base.path)
    if not base.digest:  # prepared by a version that did not look
        return
    try:
        same = directory_digest(path) == base.digest
    except (FileNotFoundError, NotADirectoryError):
        same = False
    if not same:
        raise VolumeUnusable(
            f"The base model in {path} is not the one that was prepared: its files were changed since. Put "
            "them back, or delete that directory and the job, and apply the job again."
        )


def content_digest(path: Path) -> str:
    """Digest of a file; of large weights, of their beginning, their end and samples in between.

    Other weights of the same shape differ everywhere, and reading 100 GB would take prepare minutes.
    """
    content = hashlib.sha256()
    with naming(path), path.open("rb") as file:
        size = path.stat().st_size
        if size <= _WHOLE_FILE_LIMIT or path.suffix != ".safetensors":
            content.update(file.read())
        else:
            for sample in range(_SAMPLES):
                file.seek((size - _SAMPLE_BYTES) * sample // (_SAMPLES - 1))
                content.update(file.read(_SAMPLE_BYTES))
    return content.hexdigest()
