"""What a simulated cluster tells of the one job in it."""

from __future__ import annotations

from tests.support.memory_kube import MemoryKube, Object


def job_of(kube: MemoryKube) -> Object:
    """The FineTuneJob ``job``, which must be there."""
    found = kube.find("FineTuneJob", "job")
    assert found
    return found


def said(kube: MemoryKube, type_: str) -> tuple[str, str, str]:
    """Status, reason and message of one of its conditions, which must be there."""
    found = next(c for c in job_of(kube)["status"]["conditions"] if c["type"] == type_)
    return found["status"], found["reason"], found["message"]
