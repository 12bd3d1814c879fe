"""What a client asks a model, as the model's server is asked. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from ..wire.errors import ApiError

_OURS: Final = ("store", "metadata")
"""Fields that are for the gateway, and not for the model's server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A body that can be asked."""

    model: str
    """As the client names it."""
    body: Mapping[str, Any]
    """As the client sent it."""

    @property
    def counts_itself(self) -> bool:
        """Whether the client asks for the usage of a stream."""
        options = self.body.get("stream_options")
        return isinstance(options, dict) and bool(options.get("include_usage"))

    def to_server(self, served_name: str) -> bytes:
        """For the server: all that the client says, but the model's name there, and usage of streams, too.

        Raises ApiError for a number that JSON does not have.
        """
        asked = {name: value for name, value in self.body.items() if name not in _OURS}
        asked["model"] = served_name
        if asked.get("stream") is True:
            options = asked.get("stream_options")
            if options is None or isinstance(options, dict):
                asked["stream_options"] = {**(options or {}), "include_usage": True}
        try:
            return json.dumps(asked, allow_nan=False, separators=(",", ":")).encode()
        except ValueError:
            raise _refusal("The body has a number that no double can hold; send a smaller one.") from None


def question(body: bytes, *, model: str | None = None) -> Question:
    """Read a body. ``model`` is the name in the path, which wins over that in the body.

    Raises ApiError with what is wrong.
    """
    try:
        asked = json.loads(body.decode("utf-8-sig"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise _refusal(f"The body is not UTF-8: byte {error.start} is wrong. Send JSON in UTF-8.") from None
    except RecursionError:
        raise _refusal("The body is nested too deeply; send a flatter one.") from None
    except ValueError as error:
        raise _refusal(f"The body is no JSON: {error}.") from None
    if not isinstance(asked, dict):
        raise _refusal('The body has to be a JSON object, as {"model": ..., "messages": [...]}.')
    name = asked.get("model") if model is None else model
    if not isinstance(name, str) or not name:
        raise ApiError(
            "Say by `model` who is asked, a text: GET /v1/models lists those that there are.",
            code="invalid_value",
            param="model",
        )
    return Question(model=name, body=asked)


def _refusal(message: str) -> ApiError:
    return ApiError(message, code="invalid_body")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
