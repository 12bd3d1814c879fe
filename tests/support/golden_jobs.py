"""FineTuneJobs of the golden cases as the API server has them, with statuses that people have reviewed."""

from __future__ import annotations

from typing import Any

import yaml

from tests.support.golden import DATA

UID = "71b186a7-8c2c-4540-92f4-f2ab565299ef"


def golden(name: str) -> dict[str, Any]:
    """The object of one case."""
    raw: dict[str, Any] = yaml.safe_load((DATA / name / "input.yaml").read_text())
    raw["metadata"] |= {"uid": UID, "creationTimestamp": "2026-03-01T11:00:00Z"}
    return raw | {"status": yaml.safe_load((DATA / name / "status.yaml").read_text()) or {}}
