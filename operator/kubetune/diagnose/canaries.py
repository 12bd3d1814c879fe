"""Servers that run and do not answer as training measured, or would answer nobody. Pure; see ``diagnose``."""

from __future__ import annotations

from ..children.api_keys import VOLUME
from ..children.server import PORT
from ..facts.canary import Canary
from ..facts.observed import Diagnosis
from ..facts.views import Raw
from ..vocabulary.names import CONTAINER_SERVER, SERVE
from ..vocabulary.reasons import Reason
from .evidence import found, is_deleting, name_of, statuses


def asked_at(pod: Raw) -> str | None:
    """Host and port of a server that runs without being ready; None where there is nobody to ask."""
    status = pod.get("status") or {}
    server: Raw = next((s for s in statuses(pod) if s.get("name") == CONTAINER_SERVER), {})
    runs = (server.get("state") or {}).get("running") is not None
    ip = status.get("podIP")
    if not ip or not runs or server.get("ready") or is_deleting(pod):
        return None
    return f"[{ip}]:{PORT}" if ":" in ip else f"{ip}:{PORT}"


def diagnose_canary(pod: Raw, canary: Canary | None) -> Diagnosis | None:
    """A server that is kept from getting requests, since its answers are not those that were trained."""
    if canary is not None and canary.keyless and canary.verdict != "Mismatch":
        return _keyless(pod)
    if canary is None or canary.verdict != "Mismatch":
        return None
    return found(
        Reason.MODEL_MISMATCH,
        SERVE,
        f"The server in pod {name_of(pod)} does not answer as training measured, and gets no requests. "
        f"{canary.message}",
        "Compare serving.image and serving.engineArgs (dtype) with those of a server that was proven, or "
        "train again under another name; earlier servers keep answering",
        stalled=True,
    )


def _keyless(pod: Raw) -> Diagnosis:
    """A server that asks for a key and has none to accept."""
    volumes: list[Raw] = (pod.get("spec") or {}).get("volumes") or []
    mounted: Raw = next((volume for volume in volumes if volume.get("name") == VOLUME), {})
    secret = (mounted.get("secret") or {}).get("secretName", "of serving.apiKey.secretName")
    return found(
        Reason.SECRET_NOT_FOUND,
        SERVE,
        f"The server in pod {name_of(pod)} asks for a key and has none to accept: Secret {secret} "
        "(serving.apiKey.secretName) has no value of printable ASCII characters without spaces",
        "Put a key into it, which reaches the server without a restart, or name another Secret",
    )
