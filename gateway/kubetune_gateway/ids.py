"""Ids that clients see, derived from what Kubernetes and S3 know: nothing remembers them. Pure.

A job's id is its uid in other letters, so that whoever has the object has the id, after a restart too.
"""

from __future__ import annotations

import base64
import hashlib
import re
import uuid
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

JOB: Final = "ftjob-"
FILE: Final = "file-"
UPLOAD: Final = "upload_"
PART: Final = "part_"
EVENT: Final = "ftevent-"
CHECKPOINT: Final = "ftckpt_"
WEBHOOK: Final = "evt_"

_LETTERS: Final = re.compile(r"[a-z2-7]{26}")
_NOT_IN_SLUGS: Final = re.compile(r"[^a-z0-9.]+")
_SHORT: Final = 8
"""Characters at the end of a model's id, as OpenAI has them."""


def job_id(uid: str) -> str:
    """Id of the job whose FineTuneJob has this uid."""
    return JOB + _base32(uuid.UUID(uid).bytes)


def uid_of(job: str) -> str | None:
    """The uid behind a job's id; None where it is no id of ours."""
    letters = job.removeprefix(JOB)
    if not job.startswith(JOB) or not _LETTERS.fullmatch(letters):
        return None
    # 26 letters hold two bits more than a uid has: only one spelling is an id.
    uid = str(uuid.UUID(bytes=base64.b32decode(f"{letters.upper()}======")))
    return uid if job_id(uid) == job else None


def file_id(random: bytes) -> str:
    """Id of a new file, from 16 random bytes."""
    return FILE + _base32(random)


def is_file_id(text: str) -> bool:
    """Whether it can be one: an id becomes part of a key."""
    return text.startswith(FILE) and _LETTERS.fullmatch(text.removeprefix(FILE)) is not None


def upload_id(random: bytes) -> str:
    """Id of a new upload, from 16 random bytes."""
    return UPLOAD + _base32(random)


def is_upload_id(text: str) -> bool:
    """Whether it can be one: an id becomes part of a key."""
    return text.startswith(UPLOAD) and _LETTERS.fullmatch(text.removeprefix(UPLOAD)) is not None


def part_id(random: bytes) -> str:
    """Id of a new part of an upload, from 16 random bytes."""
    return PART + _base32(random)


def assembled_id(upload: str, parts: Iterable[str]) -> str:
    """Id of the file that is made of an upload's parts in this order."""
    return FILE + _base32(hashlib.sha256("\n".join((upload, *parts)).encode()).digest()[:16])


def event_id(uid: str, what: str) -> str:
    """Id of one event of a job: the same event has the same id whoever tells it."""
    return EVENT + _base32(hashlib.sha256(f"{uid}\n{what}".encode()).digest()[:16])


def results_id(uid: str) -> str:
    """Id of the file with what was measured in a job."""
    return file_id(hashlib.sha256(f"{uid}\nresults".encode()).digest()[:16])


def checkpoint_id(uid: str, step: int) -> str:
    """Id of a job's checkpoint."""
    return CHECKPOINT + _base32(hashlib.sha256(f"{uid}\ncheckpoint {step}".encode()).digest()[:16])


def webhook_id(uid: str, what: str) -> str:
    """Id of what is told to webhooks once: that a job has come to one of its ends."""
    return WEBHOOK + _base32(hashlib.sha256(f"{uid}\n{what}".encode()).digest()[:16])


def model_id(base: str, *, namespace: str, suffix: str | None, uid: str) -> str:
    """Id of the model that a job makes: ``ft:base:namespace:suffix:12345678``, without a slash.

    OpenAI's older client does not escape one in a path.
    """
    return f"ft:{slug(base)}:{namespace}:{suffix or ''}:{short(uid)}"


@lru_cache(maxsize=2**16)
def short(uid: str) -> str:
    """The end of a model's id, which tells jobs of a namespace apart; asked of all jobs in every request."""
    return _base32(hashlib.sha256(uid.encode()).digest()[:5])[:_SHORT]


def slug(model: str) -> str:
    """A model's name in small letters, digits, dots and hyphens: ``hf://Qwen/Qwen3-8B`` is ``qwen3-8b``."""
    name = model.rstrip("/").rpartition("/")[2]
    return _NOT_IN_SLUGS.sub("-", name.lower()).strip("-.")


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()
