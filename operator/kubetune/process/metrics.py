"""The operator's own metrics. No uid or free text in labels, names only where a number is one job's alone.

Gauges of jobs come from the index, and so vanish with them.

``python -m kubetune.process.metrics`` prints the table of docs/reference/metrics.md.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from .. import __version__

disable_created_metrics()  # type: ignore[no-untyped-call]

Statuses = Callable[[], Iterable[tuple[str, str, Mapping[str, Any]]]]
"""Namespace, name and status of every FineTuneJob."""

_SCORES = ("namespace", "finetunejob", "candidate", "metric")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """All series of one operator, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.leads = False  # until on_leading says so
        self.leader = Gauge(
            "kubetune_leader",
            "1 for the operator that acts, 0 for one that waits to take over.",
            registry=self.registry,
        )
        self.reconcile = Counter(
            "kubetune_reconcile_total",
            "Reconciles by result: ok, retry (the API server asked for it or was away), error.",
            ["result"],
            registry=self.registry,
        )
        self.reconcile_duration = Histogram(
            "kubetune_reconcile_duration_seconds",
            "Time of one reconcile, requests included.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.queue_depth = Gauge(
            "kubetune_workqueue_depth", "FineTuneJobs that wait for a worker.", registry=self.registry
        )
        self.queue_oldest = Gauge(
            "kubetune_workqueue_oldest_age_seconds",
            "How long the oldest FineTuneJob has been waiting or in work.",
            registry=self.registry,
        )
        self.queue_retries = Counter(
            "kubetune_workqueue_retries_total",
            "Reconciles that failed and come again.",
            registry=self.registry,
        )
        self.requests = Counter(
            "kubetune_kube_requests_total",
            "Requests to the API server except watches; code is the HTTP status, or error if none came.",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self.watch_restarts = Counter(
            "kubetune_watch_restarts_total",
            "Watches that broke and were started again; what was missed is made up for.",
            ["resource"],
            registry=self.registry,
        )
        self.loop_lag = Gauge(
            "kubetune_event_loop_lag_seconds",
            "How late the event loop was in the last second: more than a moment means that it is blocked.",
            registry=self.registry,
        )
        self.build = Gauge(
            "kubetune_build_info",
            "1, with the operator's version as a label.",
            ["version"],
            registry=self.registry,
        )
        self.build.labels(version=__version__).set(1)
        for result in ("ok", "retry", "error"):
            self.reconcile.labels(result=result)

    def on_leading(self, leads: bool) -> None:
        """Take note that this operator begins or ceases to act."""
        self.leads = leads
        self.leader.set(leads)

    def on_request(self, verb: str, resource: str, code: str) -> None:
        """Count a request."""
        self.requests.labels(verb=verb, resource=resource, code=code).inc()

    def on_watch_restart(self, resource: str) -> None:
        """Count a watch that broke."""
        self.watch_restarts.labels(resource=resource).inc()

    def on_reconcile(self, result: str, seconds: float) -> None:
        """Count a reconcile."""
        self.reconcile.labels(result=result).inc()
        self.reconcile_duration.observe(seconds)
        if result != "ok":
            self.queue_retries.inc()

    def tell_jobs(self, statuses: Statuses) -> None:
        """Report kubetune_jobs and kubetune_evaluation_score of every FineTuneJob."""
        self.registry.register(_Jobs(statuses))
        self.registry.register(_Scores(statuses))


class _Scores:
    """What evaluations found, of each job that there is: the series vanish with the objects."""

    def __init__(self, statuses: Statuses) -> None:
        self._statuses = statuses

    def describe(self) -> Iterator[Metric]:
        """Name without values, so that registration does not ask for any."""
        yield _scores_family()

    def collect(self) -> Iterator[Metric]:
        """Tell them now."""
        family = _scores_family()
        for namespace, name, status in self._statuses():
            for candidate in (status.get("evaluation") or {}).get("candidates") or ():
                for metric, score in sorted((candidate.get("scores") or {}).items()):
                    family.add_metric([namespace, name, str(candidate.get("name")), metric], float(score))
        yield family


def _scores_family() -> GaugeMetricFamily:
    return GaugeMetricFamily(
        "kubetune_evaluation_score",
        "Mean score of a candidate of a FineTuneJob's evaluation by a metric, from 0 to 1.",
        labels=list(_SCORES),
    )


class _Jobs:
    """FineTuneJobs by namespace and condition, counted when asked: the series vanish with the objects."""

    def __init__(self, statuses: Statuses) -> None:
        self._statuses = statuses

    def describe(self) -> Iterator[Metric]:
        """Name without values, so that registration does not ask for any."""
        yield _jobs_family()

    def collect(self) -> Iterator[Metric]:
        """Count now."""
        tally: Tally[tuple[str, str]] = Tally()
        for namespace, _, status in self._statuses():
            for condition in status.get("conditions") or ():
                if condition.get("status") == "True":
                    tally[namespace, str(condition.get("type"))] += 1
        family = _jobs_family()
        for (namespace, type_), count in sorted(tally.items()):
            family.add_metric([namespace, type_], count)
        yield family


def _jobs_family() -> GaugeMetricFamily:
    return GaugeMetricFamily(
        "kubetune_jobs",
        "FineTuneJobs by namespace and by each condition that is True; from the operator that acts.",
        labels=["namespace", "condition"],
    )


def table() -> str:
    """All metrics as a Markdown table, for the reference."""
    metrics = Metrics()
    metrics.tell_jobs(lambda: ())
    labels = {
        metric._name: metric._labelnames  # public in no version of prometheus_client
        for metric in vars(metrics).values()
        if hasattr(metric, "_labelnames")
    }
    labels["kubetune_jobs"] = ("namespace", "condition")
    labels["kubetune_evaluation_score"] = _SCORES
    rows = ["| Metric | Type | Labels | Meaning |", "|---|---|---|---|"]
    for family in sorted(metrics.registry.collect(), key=lambda family: family.name):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        shown = ", ".join(f"`{label}`" for label in labels[family.name])
        rows.append(f"| `{name}` | {family.type} | {shown} | {family.documentation} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(table(), end="")
