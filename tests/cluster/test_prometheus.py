"""What Prometheus itself says of our configuration, metrics, rules and queries (promtool comes with it)."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client import generate_latest

from dev import paths, queries, shell
from dev.demo.run import NAMESPACE
from tests.cluster.conftest import Cluster, until
from tests.support.reports import full_reports

pytestmark = pytest.mark.cluster

JOB = "triage-1"
"""Of the demo, whose tests come before these."""

COMPARES = re.compile(r"[<>=]\s*[\d.]+\s*$")
"""What asks whether something is so, which need not be."""

QUIET = {
    'reason="Unschedulable"': "the demo has room",
    'result="error"': "the operator has no fault",
    'code=~"4..|5..|error"': "the API server may have refused nothing",
    "kubetune_watch_restarts_total": "no watch may have broken",
    "kubetune_job_cost": "the local cluster has no prices",
    "kubetune_job_run_failures": "no run of the demo fails",
    "kubetune_job_run_interruptions": "nor is one interrupted",
    'kubetune_events_total{type="Warning"}': "nothing may have gone wrong",
    'code=~"5..",code!="503"': "the gateway has no fault",
    'code="499"': "its clients wait for their answers",
    "kubetune_gateway_tokens_total{namespace": "the demo's model is asked without it",
    "kubetune_gateway_time_to_first_token_seconds_bucket{namespace": "the same",
}
"""Nor need this have a result after the demo, and why; nor an alert."""

PAGE = paths.REPOSITORY / "docs" / "how-to" / "monitor.md"


@pytest.mark.usefixtures("cluster")
def test_the_scrape_jobs_of_the_documentation_are_valid(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(- job_name.*?)```", PAGE.read_text(), flags=re.DOTALL)
    jobs = [job for block in blocks for job in yaml.safe_load(block)]
    assert jobs
    for job in jobs:
        [discovery] = job.pop("kubernetes_sd_configs")
        assert discovery["role"] == "pod"
        # Debian's promtool knows no discovery of Kubernetes: the rest is checked with another.
        job["http_sd_configs"] = [{"url": "http://127.0.0.1/"}]
    config = tmp_path / "prometheus.yaml"
    config.write_text(yaml.safe_dump({"scrape_configs": jobs}))
    assert "SUCCESS" in shell.output(["promtool", "check", "config", config])


def test_prometheus_scrapes_the_operator_and_is_content_with_it(cluster: Cluster) -> None:
    assert "SUCCESS" in shell.output(
        ["promtool", "check", "config", paths.cluster_state() / "prometheus.yaml"]
    )
    selector = "app.kubernetes.io/name=kubetune,app.kubernetes.io/component=operator"
    pods = cluster.kubectl.get("pods", "-n", "kubetune-system", "-l", selector)["items"]
    [pod] = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]  # an upgrade overlaps
    # By its address: what Prometheus knew of a pod with another one may be five minutes old.
    query = f'up{{job="kubetune-system/kubetune-operator",instance="{pod["status"]["podIP"]}:8080"}} == 1'
    until(lambda: cluster.series(query), "a scrape of the operator")


def test_the_metrics_are_named_as_prometheus_wants_them(cluster: Cluster) -> None:
    with cluster.kubectl.port_forward("kubetune-system", "deployment/kubetune", 8080) as port:
        operator = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    trainer = generate_latest(full_reports().registry).decode()
    for metrics in (operator, trainer):
        assert "# HELP kubetune_" in metrics
        assert shell.output(["promtool", "check", "metrics"], stdin=metrics) == ""


def test_prometheus_evaluates_the_charts_rules(cluster: Cluster) -> None:
    def evaluated() -> dict[str, Any] | None:
        groups = {group["name"]: group["rules"] for group in ask(cluster, "rules")["groups"]}
        pending = any(rule["health"] == "unknown" for rules in groups.values() for rule in rules)
        return None if pending else groups

    groups = until(evaluated, "an evaluation of all rules")
    said = {
        name: [(rule["name"], rule["health"], rule.get("lastError", "")) for rule in rules]
        for name, rules in groups.items()
    }
    assert said == {
        group["name"]: [(rule.get("alert") or rule["record"], "ok", "") for rule in group["rules"]]
        for path in queries.RULES.glob("*.yaml")
        for group in yaml.safe_load(path.read_text())["groups"]
    }


def test_no_query_that_ships_is_malformed_or_finds_nothing(cluster: Cluster) -> None:
    """In two hours, since the demo's training is over; where nothing was told of, nothing is found."""
    told = set(ask(cluster, "label/__name__/values", **recently()))
    assert "kubetune_leader" in told
    silent = [
        f"{query.source}: {query.expr}"
        for query in queries.everything(namespace=NAMESPACE, job=JOB)
        if not found(cluster, query)
        and not query.alert
        and not COMPARES.search(query.expr)
        and not any(quiet in query.expr for quiet in QUIET)
        and queries.names(query.expr) <= told
    ]
    assert silent == []


def found(cluster: Cluster, query: queries.Query) -> list[Any]:
    """All series of a query's result; an error of Prometheus raises."""
    return list(ask(cluster, "query_range", query=query.expr, step=15, **recently())["result"])


def recently() -> dict[str, float]:
    now = time.time()
    return {"start": now - 7200, "end": now}


def ask(cluster: Cluster, path: str, **parameters: Any) -> Any:
    reply = httpx.get(f"{cluster.prometheus}/api/v1/{path}", params=parameters, timeout=60)
    assert reply.status_code == 200, f"{parameters.get('query')}: {reply.text}"
    return reply.json()["data"]
