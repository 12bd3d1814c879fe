"""All generated files by one command. Each generator writes its own, or says that they are out of date."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from dev import paths

_GENERATORS = (
    "kubetune.api.crdgen",  # crds/ and docs/reference/finetunejob.md
    "dev.dashboards.write",  # the chart's dashboards
    "dev.chart",  # the chart's copy of the CRD, its closed schema and its table of values
    "dev.kustomize",  # kustomize/base/, from the chart
)
_METRICS = paths.REPOSITORY / "docs" / "reference" / "metrics.md"
_CHOOSE_GPUS = paths.REPOSITORY / "docs" / "how-to" / "choose-gpus.md"
_TRAINING_TIME = paths.REPOSITORY / "docs" / "how-to" / "estimate-time-and-cost.md"
_METRICS_PAGE = """<!-- DO NOT EDIT; run make generate -->
# Metrics

[monitor.md](../how-to/monitor.md) tells how to scrape them. vLLM's are in its own documentation.

## Of the operator

Served on `/metrics` of the operator's pod, port 8080 (`settings.metricsPort` of the chart).

{operator}
## Of the gateway

Served on `/metrics` of the gateway's pods, at the port that is called `metrics`.

{gateway}
## Of the trainer

Served on `/metrics` of the pod of rank 0, port 9400. Gauges are absent until they are measured first.

{trainer}"""


def generate(*, check: bool) -> int:
    """Run every generator, in the order in which they read each other's files; return the first failure."""
    from dev import choose_gpus, training_time

    codes = [
        _page(_METRICS, _metrics(), check=check),
        _page(_CHOOSE_GPUS, choose_gpus.page(), check=check),
        _page(_TRAINING_TIME, training_time.page(), check=check),
    ]
    for generator in _GENERATORS:
        argv = [sys.executable, "-m", generator, *(["--check"] if check else [])]
        codes.append(subprocess.run(argv, check=False).returncode)
    return next((code for code in codes if code), 0)


def _page(path: Path, text: str, *, check: bool) -> int:
    """Write a page, or say that it is out of date."""
    if path.exists() and path.read_text() == text:
        return 0
    if check:
        print(f"out of date: {path.relative_to(paths.REPOSITORY)} (run `make generate`)")
        return 1
    path.write_text(text)
    return 0


def _metrics() -> str:
    from kubetune.process.metrics.reference import table

    return _METRICS_PAGE.format(operator=table(), gateway=_gateway_metrics(), trainer=_trainer_metrics())


def _gateway_metrics() -> str:
    """All metrics of the gateway as a Markdown table."""
    from prometheus_client import Metric
    from prometheus_client.metrics import MetricWrapperBase

    from kubetune_gateway.telemetry import Telemetry

    telemetry = Telemetry()
    found: list[tuple[Metric, Sequence[str]]] = [(family, ()) for family in telemetry.process.collect()]
    for metric in vars(telemetry).values():
        if isinstance(metric, MetricWrapperBase):
            # Its labels are public in no version of prometheus_client.
            found += [(family, metric._labelnames) for family in metric.describe()]
    rows = ["| Metric | Type | Labels | Meaning |", "|---|---|---|---|"]
    for family, labels in sorted(found, key=lambda each: each[0].name):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        shown = ", ".join(f"`{label}`" for label in labels)
        rows.append(f"| `{name}` | {family.type} | {shown} | {family.documentation.removesuffix('.')}. |")
    return "\n".join(rows) + "\n"


def _trainer_metrics() -> str:
    """All metrics of the trainer as a Markdown table; importing them takes no torch."""
    from prometheus_client.metrics import MetricWrapperBase

    from kubetune_trainer.loop.progress import Reports

    metrics = [each for each in vars(Reports(total_steps=1)).values() if isinstance(each, MetricWrapperBase)]
    families = [family for each in metrics for family in each.describe()]
    rows = ["| Metric | Type | Meaning |", "|---|---|---|"]
    for family in sorted(families, key=lambda family: family.name):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append(f"| `{name}` | {family.type} | {family.documentation}. |")
    return "\n".join(rows) + "\n"
