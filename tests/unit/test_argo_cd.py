"""Argo CD's health check, run by a real Lua over the golden statuses."""

from __future__ import annotations

import re
from typing import Any

import lupa.lua51  # the Lua that Argo CD embeds speaks 5.1
import pytest
import yaml

from dev.paths import REPOSITORY
from tests.support.kstatus import kstatus

CHECK = (REPOSITORY / "docs" / "argocd" / "health.lua").read_text()
PAGE = REPOSITORY / "docs" / "how-to" / "argo-cd.md"
STATUSES = sorted((REPOSITORY / "tests" / "data").glob("*/status.yaml"))
OF_KSTATUS = {"Current": "Healthy", "Failed": "Degraded", "InProgress": "Progressing"}


def health(job: dict[str, Any]) -> dict[str, str]:
    lua = lupa.lua51.LuaRuntime()
    lua.globals().obj = lua.table_from(job, recursive=True)
    return dict(lua.execute(CHECK))


def job(status: dict[str, Any] | None, *, generation: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = {"metadata": {"name": "a", "generation": generation}}
    return found if status is None else {**found, "status": status}


def condition(status: dict[str, Any], type_: str) -> dict[str, Any]:
    return next((c for c in status["conditions"] if c["type"] == type_), {})


@pytest.mark.parametrize("path", STATUSES, ids=lambda path: path.parent.name)
def test_every_golden_status_has_the_health_that_its_conditions_say(path: Any) -> None:
    status = yaml.safe_load(path.read_text())
    if not status or "conditions" not in status:
        assert health(job(status or None))["status"] == "Progressing"
        return
    found = health(job(status, generation=status["observedGeneration"]))
    assert found["status"] == OF_KSTATUS[kstatus(job(status, generation=status["observedGeneration"]))]
    causes = (condition(status, type_) for type_ in ("Stalled", "Reconciling", "Ready"))
    told = next(cause for cause in causes if cause)
    said = status["abstract"] if told["type"] == "Ready" else f"{told['reason']}: {told['message']}"
    assert found["message"] == said


def test_the_golden_statuses_reach_every_health() -> None:
    found = {health(job(yaml.safe_load(path.read_text())))["status"] for path in STATUSES}
    assert found == {"Healthy", "Degraded", "Progressing"}


def test_a_status_of_an_earlier_spec_says_nothing() -> None:
    ready = {"type": "Ready", "status": "True", "reason": "Serving", "message": "."}
    status = {"observedGeneration": 1, "conditions": [ready]}
    assert health(job(status))["status"] == "Healthy"
    assert health(job(status, generation=2)) == {
        "status": "Progressing",
        "message": "The operator has not seen the newest spec yet.",
    }


@pytest.mark.parametrize("status", [None, {}])
def test_a_job_that_nobody_has_seen_is_progressing(status: dict[str, Any] | None) -> None:
    assert health(job(status))["status"] == "Progressing"


def test_the_page_shows_the_very_check() -> None:
    [block] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert yaml.safe_load(block)["data"] == {
        "resource.customizations.health.kubetune.dev_FineTuneJob": CHECK,
    }
