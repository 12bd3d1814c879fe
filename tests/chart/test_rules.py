"""The PrometheusRule is made of files/rules, as they are but for what values say."""

from __future__ import annotations

from typing import Any

import helm_python
import pytest
import yaml

from dev.chart import CHART
from tests.support import chart

Rules = dict[str, Any]
FILES: list[Rules] = [
    group
    for path in sorted((CHART / "files" / "rules").glob("*.yaml"))
    for group in yaml.safe_load(path.read_text())["groups"]
]


def test_there_are_none_unless_asked_for() -> None:
    assert chart.of_kind(chart.render(), "PrometheusRule") == []


def test_without_other_values_they_are_those_of_the_files() -> None:
    assert groups({}) == FILES


def test_prometheus_finds_them_by_additional_labels() -> None:
    [rules] = chart.of_kind(chart.render(chart.CASES["monitoring"]), "PrometheusRule")
    assert rules["metadata"]["labels"]["release"] == "prometheus"


def test_values_change_nothing_else() -> None:
    values = {
        "labels": {"team": "ml", "tier": "{{ gold }}"},
        "disabled": ["KubeTuneOperatorBlind", "KubeTuneServerSlow"],
        "thresholds": {
            "jobWaiting": "2h",
            "noProgress": "1h30m",
            "workAtRiskSeconds": 3600,
            "timeToFirstTokenSeconds": 0.5,
        },
    }
    waits = {"KubeTuneJobWaiting": "2h", "KubeTuneNoProgress": "1h30m"}
    constants = {
        "kubetune:work_at_risk_seconds:threshold": "vector(3600)",
        "kubetune:time_to_first_token_seconds:threshold": "vector(0.5)",
    }
    expected = [
        group
        | {
            "rules": [
                rule
                | ({"labels": rule["labels"] | values["labels"]} if "alert" in rule else {})
                | ({"for": waits[rule["alert"]]} if rule.get("alert") in waits else {})
                | ({"expr": constants[rule["record"]]} if rule.get("record") in constants else {})
                for rule in group["rules"]
                if rule.get("alert") not in values["disabled"]
            ]
        }
        for group in FILES
    ]
    assert groups(values) == expected


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("https://docs.example.com/kubetune", "https://docs.example.com/kubetune/runbooks/{}.html"),
        ("https://docs.example.com/", "https://docs.example.com/runbooks/{}.html"),
        ("https://git.example.com/main/{alert}.md", "https://git.example.com/main/{}.md"),
    ],
)
def test_alerts_lead_to_where_their_pages_are(url: str, page: str) -> None:
    found = [rule for group in groups({"runbookUrl": url}) for rule in group["rules"] if "alert" in rule]
    assert found
    assert [rule["annotations"]["runbook_url"] for rule in found] == [
        page.format(rule["alert"]) for rule in found
    ]


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (
            {"disabled": ["KubeTuneServerFast"]},
            "names KubeTuneServerFast, which is no alert: remove it, or write",
        ),
        (
            {"labels": {"severity": "page"}},
            "has severity, which alerts have of their own: name yours otherwise",
        ),
    ],
)
def test_what_would_do_nothing_is_refused_in_a_sentence(rules: Rules, said: str) -> None:
    with pytest.raises(helm_python.HelmError, match=said):
        groups(rules)


def groups(rules: Rules) -> list[Rules]:
    """Groups of the PrometheusRule that values of monitoring.rules give."""
    values = {"monitoring": {"rules": {"enabled": True, **rules}}}
    [found] = chart.of_kind(chart.render(values), "PrometheusRule")
    return list(found["spec"]["groups"])
