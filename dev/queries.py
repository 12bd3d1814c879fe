"""All PromQL that the project ships, in pages, rules and dashboards: what tests of queries begin with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from dev import paths
from dev.viewer.variables import interpolate

RULES: Final = paths.REPOSITORY / "charts" / "kubetune" / "files" / "rules"
DASHBOARDS: Final = paths.REPOSITORY / "charts" / "kubetune" / "files" / "dashboards"
MONITOR: Final = paths.REPOSITORY / "docs" / "how-to" / "monitor.md"
RUNBOOKS: Final = paths.REPOSITORY / "docs" / "runbooks"

_GRAFANAS: Final = {"__rate_interval": "5m", "__interval": "1m", "__range": "1h"}
"""What Grafana puts in for variables of its own, such as it may be."""


_PLACES: Final = (("NAMESPACE", "NAME"), ("team-a", "intents"))
"""What pages write for a job's namespace and name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One query, and where it stands."""

    source: str
    expr: str
    alert: str = ""
    """Name of the alert that fires where it has a result."""


def everything(*, namespace: str, job: str) -> list[Query]:
    """Return all queries, those with variables or placeholders for one job."""
    pages = [MONITOR, *sorted(RUNBOOKS.glob("*.md"))]
    return [
        *(query for page in pages for query in of_page(page, namespace=namespace, job=job)),
        *of_rules(),
        *of_dashboards(namespace=namespace, job=job),
    ]


def of_page(page: Path, *, namespace: str, job: str) -> Iterator[Query]:
    """Yield what a page has in blocks of `promql`, a query each, and in columns that are called query."""
    text = page.read_text()
    for place in _PLACES:
        for said, name in zip(place, (namespace, job), strict=True):
            text = text.replace(f'"{said}"', f'"{name}"')
    source = str(page.relative_to(paths.REPOSITORY))
    for block in re.findall(r"```promql\n(.*?)```", text, flags=re.DOTALL):
        yield Query(source=source, expr=block.strip())
    for head, rows in re.findall(r"^(\|.*)\n\|[-|: ]+\|\n((?:\|.*\n?)+)", text, flags=re.MULTILINE):
        if "query" in (columns := _cells(head)):
            column = columns.index("query")
            for row in rows.splitlines():
                for expr in re.findall(r"`([^`]+)`", _cells(row)[column]):
                    if names(expr):  # beside queries stand fields and values
                        yield Query(source=source, expr=expr)


def of_rules() -> Iterator[Query]:
    """Yield the expressions of recording rules and alerts."""
    for path in sorted(RULES.glob("*.yaml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                name = rule.get("alert") or rule["record"]
                yield Query(source=f"{path.name}: {name}", expr=rule["expr"], alert=rule.get("alert", ""))


def of_dashboards(*, namespace: str, job: str) -> Iterator[Query]:
    """Yield the queries of all panels and variables of the dashboards."""
    variables = {**_GRAFANAS, "namespace": namespace, "finetunejob": job}
    for path in sorted(DASHBOARDS.glob("*.json")):
        board = json.loads(path.read_text())
        for panel in _panels(board):
            for target in panel.get("targets", []):
                source = f"{path.name}: {panel.get('title')}"
                yield Query(source=source, expr=interpolate(target["expr"], variables))
        for variable in board["templating"]["list"]:
            asked = variable.get("query", "")
            asked = asked["query"] if isinstance(asked, dict) else asked
            if found := re.fullmatch(r"label_values\((.+),\s*\w+\)", asked):
                yield Query(source=f"{path.name}: ${variable['name']}", expr=interpolate(found[1], variables))


def names(expr: str) -> set[str]:
    """Return names of metrics of ours, of vLLM, or of what serves vLLM.

    >>> sorted(names('sum by (kubetune) (rate(vllm:a_total[5m])) / kubetune_b{c="kubetune_d"}'))
    ['kubetune_b', 'vllm:a_total']
    """
    bare = re.sub(r'"[^"]*"', "", expr)
    return set(re.findall(r"\b(?:\w+:kubetune_|kubetune:|kubetune_|vllm:|http_|process_)[\w:]+", bare))


def _panels(board: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield panels, those in rows that are folded too."""
    for panel in board.get("panels", []):
        yield panel
        yield from _panels(panel)


def _cells(row: str) -> list[str]:
    """Return the cells of a table's row; a bar within one is escaped."""
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row.strip())[1:-1]]
