"""Queries that ship can be parsed, and name metrics that there are."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from dev import queries, shell
from dev.bench.series import RECORDED
from dev.paths import REPOSITORY
from tests.support.promtool import needs_promtool

QUERIES = queries.everything(namespace="team-a", job="intents")


def test_queries_are_found_in_pages_and_rules() -> None:
    sources = {query.source.partition(":")[0] for query in QUERIES}
    files = {path.name for path in (*queries.RULES.glob("*.yaml"), *queries.DASHBOARDS.glob("*.json"))}
    assert sources >= {"docs/how-to/monitor.md", *files}


@needs_promtool
def test_none_is_malformed(tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": query.expr} for number, query in enumerate(QUERIES)]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    shell.output(["promtool", "check", "rules", file])


def test_each_metric_of_a_query_exists() -> None:
    recorded = {
        rule["record"]
        for path in queries.RULES.glob("*.yaml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    known = ours() | vllms() | recorded
    unknown = {query.source: queries.names(query.expr) - known for query in QUERIES}
    assert {source: names for source, names in unknown.items() if names} == {}


def ours() -> set[str]:
    """Names of the series of operator and trainer, by the page of all metrics."""
    page = (REPOSITORY / "docs" / "reference" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(kubetune_\w+)` \| (\w+) \|", page, flags=re.MULTILINE)
    suffixes = {"histogram": ("_bucket", "_sum", "_count")}
    return {name + suffix for name, kind in rows for suffix in suffixes.get(kind, ("",))}


def vllms() -> set[str]:
    """What vLLM 0.32 has told after the demo."""
    families = text_string_to_metric_families(RECORDED.read_text())
    return {sample.name for family in families for sample in family.samples}
