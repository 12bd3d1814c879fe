"""What a server's guard says of it: whether it answers as training measured. Pure."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

CANARY_PATH: Final = "/kubetune/canary"
STARTED_PATH: Final = "/kubetune/started"


class Canary(BaseModel):
    """A verdict, as the guard's ``/kubetune/canary`` has it; its numbers are in the message."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    verdict: Literal["Same", "Mismatch", "Unproven"]
    message: Annotated[str, StringConstraints(max_length=2048)]
    digest: Annotated[str, StringConstraints(max_length=128)]
    """Of the artifact that the pod was made from."""
    weights: Annotated[str, StringConstraints(max_length=128)] | None = Field(default=None)
    """SHA-256 of the adapter's weights in the pod."""
    keyless: bool = Field(default=False, exclude=True)
    """The server asks for a key and has none to accept, and so refuses everybody. No status keeps it."""
