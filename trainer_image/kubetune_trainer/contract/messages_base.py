"""What every message to the operator is built from: bounded numbers and texts."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints


class Message(BaseModel):
    """A part of a message: unknown fields are ignored, since it may be a newer trainer's."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
"""Rows, tokens, bytes, steps: what the status can hold. Another image's nonsense must not get there."""

Small = Annotated[int, Field(ge=0, le=2**31 - 1)]
MOST_SECONDS = 10**9
"""Thirty years: a date that far away can still be written."""

Seconds = Annotated[int, Field(ge=0, le=MOST_SECONDS)]

UnixSeconds = Annotated[int, Field(ge=0, le=253_402_300_799)]
"""A time until the year 9999, the last that can be written."""

Number = Annotated[str, StringConstraints(max_length=32)]
Short = Annotated[str, StringConstraints(max_length=256)]
Path = Annotated[str, StringConstraints(max_length=1024)]

Sentence = Annotated[str, StringConstraints(max_length=1024)]
