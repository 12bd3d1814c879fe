"""Servers that run and do not answer as training measured. Pure; part of ``diagnose``."""

from __future__ import annotations

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
