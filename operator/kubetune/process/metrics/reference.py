"""The table of the operator's metrics in docs/reference/metrics.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.metrics import MetricWrapperBase

from .own import Metrics


def table() -> str:
    """All metrics as a Markdown table."""
    rows = ["| Metric | Type | Labels | Meaning |", "|---|---|---|---|"]
    for name, type_, labels, meaning in sorted(_rows(Metrics())):
        shown = ", ".join(f"`{label}`" for label in labels)
        rows.append(f"| `{name}` | {type_} | {shown} | {meaning} |")
    return "\n".join(rows) + "\n"


def _rows(metrics: Metrics) -> Iterator[tuple[str, str, Sequence[str], str]]:
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            [family] = metric.describe()
            name = f"{family.name}_total" if family.type == "counter" else family.name
            # Public in no version of prometheus_client, as below.
            yield name, family.type, metric._labelnames, family.documentation
    for gauge in metrics.jobs(lambda: ()).families():
        yield gauge.name, gauge.type, gauge._labelnames, gauge.documentation
