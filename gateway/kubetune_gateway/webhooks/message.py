"""A webhook as it is sent: signed per Standard Webhooks, as OpenAI's client checks it. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable

from .endpoint import EventType, key


def body(id_: str, type_: EventType, *, job: str, created_at: int) -> bytes:
    """What is told: that a job has ended, and how."""
    told = {"id": id_, "object": "event", "type": type_, "created_at": created_at, "data": {"id": job}}
    return json.dumps(told).encode()


def headers(id_: str, payload: bytes, secrets: Iterable[str], *, now: int) -> dict[str, str]:
    """What is sent beside: by it the receiver knows who sends, and what it has had before."""
    signed = f"{id_}.{now}.".encode() + payload
    signatures = [base64.b64encode(hmac.digest(key(one), signed, hashlib.sha256)).decode() for one in secrets]
    return {
        "content-type": "application/json",
        "user-agent": "kubetune",
        "webhook-id": id_,
        "webhook-timestamp": str(now),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
