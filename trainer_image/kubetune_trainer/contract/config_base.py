"""What every part of the TrainerConfig is built from."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints


class ConfigModel(BaseModel):
    """A part of the TrainerConfig; unknown fields are refused, which an older trainer would pass over."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


DecimalString = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?(e-?[0-9]+)?$", max_length=24)]
"""A decimal as a string ("2e-4"): floats lose digits on their way through JSON."""


class FileSource(ConfigModel):
    """A data file (or an hf:// dataset's split)."""

    uri: str
    """hf://org/name[/split or file], s3://bucket/key, https://host/path, pvc://claim/path or
    configMap://name/key."""
    mount: str | None = None
    """Where a pvc:// or configMap:// file is found in the pod."""
