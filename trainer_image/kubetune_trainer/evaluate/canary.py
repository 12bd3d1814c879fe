"""Asks the candidate's server what it serves: only the artifact that the job has made is evaluated."""

from __future__ import annotations

import json
import logging
import time
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError

from ..contract.errors import Transient, first_line
from .asking import Outage, Patience

logger = logging.getLogger(__name__)

CANARY_PATH = "/kubetune/canary"
"""Where the guard in front of a server says what it found, beside /v1."""

_SECONDS = 60.0


def proven(url: str, digest: str, patience: Patience, *, sleep: Callable[[float], None] = time.sleep) -> str:
    """What the server at a base URL says of itself: that it answers as training measured, or why not proven.

    Raises:
        Transient: it serves another artifact, answers otherwise than training measured, or is away for too
            long.
    """
    asked = url.rstrip("/").removesuffix("/v1") + CANARY_PATH
    said = _asked(asked, Outage(f"The candidate's server at {asked}", patience.away), sleep)
    if said.get("digest") != digest:
        raise Transient(
            f"The candidate's server has the artifact {said.get('digest')}, and {digest} is to be evaluated: "
            "another model would be scored. It is tried again, as servers are replaced."
        )
    message = str(said.get("message", ""))
    if said.get("verdict") == "Mismatch":
        raise Transient(f"The candidate's server does not answer as training measured: {message}")
    logger.info("the candidate's server has %s: %s", digest, message)
    return message


def _asked(url: str, outage: Outage, sleep: Callable[[float], None]) -> dict[str, Any]:
    while True:
        try:
            with urllib.request.urlopen(url, timeout=_SECONDS) as answer:  # the operator's URL
                found = json.load(answer)
                return found if isinstance(found, dict) else {}
        except HTTPError as error:
            if error.code < 500:
                raise Transient(
                    f"The candidate's server does not say what it serves ({url}: HTTP {error.code}): it is "
                    "not one that the operator has made."
                ) from None
            why = f"HTTP {error.code}."
        except (OSError, HTTPException, ValueError) as error:
            why = f"{first_line(error)}."
        sleep(outage.goes_on(why))
