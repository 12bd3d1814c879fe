"""Types of the status' fields: bounded, since a status that is refused tells nothing."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from kubetune.api.base import INT32_MAX, INT64_MAX, clipped

Short = Annotated[str, clipped(253), StringConstraints(max_length=253)]
Uri = Annotated[str, clipped(2048), StringConstraints(max_length=2048)]
"""A claim, and a path of 1024 characters on it."""
Message = Annotated[str, clipped(4096), StringConstraints(max_length=4096)]
Number = Annotated[str, StringConstraints(max_length=32)]
"""A decimal as a string: no floats in the API."""
Int = Annotated[int, Field(ge=0, le=INT64_MAX)]
Small = Annotated[int, Field(ge=0, le=INT32_MAX)]
