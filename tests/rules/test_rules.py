"""Alerts fire when they should, and else are silent, by promtool's unit tests; and each is complete."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.queries import RULES
from kubetune.vocabulary.reasons import REASONS, Group, Reason
from tests.support.promtool import needs_promtool

TESTS = sorted(Path(__file__).parent.glob("*.yaml"))
FILES = sorted(RULES.glob("*.yaml"))
ALERTS: list[dict[str, Any]] = [
    rule
    for path in FILES
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
]
NAMES = sorted({rule["alert"] for rule in ALERTS})
BY_REASON = re.compile(r'reason=~"([\w|]+)"')


@needs_promtool
def test_prometheus_takes_the_files() -> None:
    run("check", "rules", "--lint=all", "--lint-fatal", *FILES)


@pytest.mark.slow
@needs_promtool
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should(path: Path) -> None:
    run("test", "rules", path)


def test_each_alert_is_seen_to_fire_and_to_be_silent() -> None:
    """With each of its severities and causes, where several rules have one name."""
    cases = [
        case
        for path in TESTS
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test.get("alert_rule_test", [])
    ]
    silent = {case["alertname"] for case in cases if not case.get("exp_alerts")}
    fired = {
        (case["alertname"], alert["exp_labels"]["severity"], alert["exp_labels"].get("cause"))
        for case in cases
        for alert in case.get("exp_alerts", [])
    }
    assert silent == set(NAMES)
    assert fired == {
        (rule["alert"], rule["labels"]["severity"], rule["labels"].get("cause")) for rule in ALERTS
    }


def test_an_alert_says_how_bad_it_is_and_where_to_read_on() -> None:
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["for"]
        said = rule["annotations"]
        assert said.keys() == {"summary", "description", "runbook_url"}
        assert said["runbook_url"] == f"docs/runbooks/{rule['alert']}.md"
        assert "First " in said["description"]
        assert said["summary"].endswith(".")


def test_alerts_of_one_name_differ_in_their_labels() -> None:
    """Else Alertmanager takes them for one, whose sentences change."""
    labels = Counter((rule["alert"], *sorted(rule["labels"].items())) for rule in ALERTS)
    assert labels.most_common(1)[0][1] == 1


def test_each_reason_that_needs_somebody_has_an_alert() -> None:
    of = {group: {reason for reason, facts in REASONS.items() if facts.group is group} for group in Group}
    assert reasons("KubeTuneJobStalled") == of[Group.STALLED] - {Reason.GATE_FAILED}
    assert reasons("KubeTuneJobWaiting") == (of[Group.HEALS] - {Reason.SUSPENDED}) | {
        Reason.WAITING_FOR_EARLIER_PODS
    }


def reasons(alert: str) -> set[str]:
    [rule] = [rule for rule in ALERTS if rule["alert"] == alert]
    [named] = BY_REASON.findall(rule["expr"])
    found = str(named).split("|")
    assert len(found) == len(set(found))
    return set(found)


def run(*arguments: str | Path) -> None:
    """Run promtool, which prints failed tests, and what is wrong with a file to its errors."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
