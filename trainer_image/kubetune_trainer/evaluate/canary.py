"""Asks a server what it serves: only the artifact that the job has made, and its base, are evaluated."""

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


def proven(
    name: str, url: str, digest: str, patience: Patience, *, sleep: Callable[[float], None] = time.sleep
) -> str:
    """What the server of a candidate says of itself: that it answers as training measured, or why not proven.

    ``url`` is its base URL, and ``digest`` the artifact that it was made for.

    Raises:
        Transient: it has another artifact, answers otherwise than training measured, or is away for too long.
    """
    server = f"The server of {name}"
    said = _asked(server, url.rstrip("/").removesuffix("/v1") + CANARY_PATH, patience, sleep)
    if said.get("digest") != digest:
        raise Transient(
            f"{server} has the artifact {said.get('digest')}, and {digest} is to be evaluated: another model "
            "would be scored. It is tried again, as servers are replaced."
        )
    message = str(said.get("message", ""))
    if said.get("verdict") == "Mismatch":
        raise Transient(f"{server} does not answer as training measured: {message}")
    logger.info("the server of %s has %s: %s", name, digest, message)
    return message


def _asked(server: str, url: str, patience: Patience, sleep: Callable[[float], None]) -> dict[str, Any]:
    outage = Outage(server, url, patience.away)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy is for what lies outside
    while True:
        try:
            with direct.open(url, timeout=_SECONDS) as answer:
                found = json.load(answer)
                return found if isinstance(found, dict) else {}
        except HTTPError as error:
            if error.code < 500:
                raise Transient(
                    f"{server} does not say what it serves ({url}: HTTP {error.code}): it is none that the "
                    "operator has made."
                ) from None
            why = f"HTTP {error.code}."
        except (OSError, HTTPException, ValueError) as error:
            why = f"{first_line(error)}."
        sleep(outage.goes_on(why))
