"""What Prometheus itself says of our configuration and metrics (promtool comes with it)."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client import generate_latest

from dev import paths, shell
from tests.cluster.conftest import Cluster, until
from tests.support.reports import full_reports

pytestmark = pytest.mark.cluster

PAGE = paths.REPOSITORY / "docs" / "how-to" / "monitor.md"


def queries_of(page: str) -> list[str]:
    """What the cells of its tables and its blocks of PromQL ask of Prometheus."""
    rows = re.findall(r"^\|.*\|$", page, flags=re.MULTILINE)
    cells = [code.replace(r"\|", "|") for row in rows for code in re.findall("`(.+?)`", row)]
    blocks = re.findall(r"^```promql\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    series = re.compile(r"(kubetune_|vllm:)[a-z_]+[a-z](?![a-z_]*[*])")
    return [code for code in (*cells, *blocks) if series.search(code)]


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


@pytest.mark.parametrize("query", queries_of(PAGE.read_text()))
def test_the_queries_of_the_documentation_are_answered(cluster: Cluster, query: str) -> None:
    cluster.series(query)  # what is malformed is an error; what is empty is a good day


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
