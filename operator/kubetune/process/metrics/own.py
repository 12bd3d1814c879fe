"""The operator's own metrics. No uid or free text in labels, names only where a number is one job's alone."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from ... import __version__
from ...stages.table import STAGES
from ...vocabulary.reasons import REASONS
from .collect import Jobs, JobsCollector
from .fields import MetricField
from .series import series_of

disable_created_metrics()  # type: ignore[no-untyped-call]

_EVENTS: Final = frozenset(
    {("Normal" if facts.normal else "Warning", reason.value) for reason, facts in REASONS.items()}
    | {("Normal", str(stage.condition)) for stage in STAGES}
)
"""Types and reasons of all Events that there can be: a stage that is reached is told by its condition."""

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """All series of one operator, in a registry of their own."""

    def __init__(self, fields: tuple[MetricField, ...] = ()) -> None:
        """``fields``: of FineTuneJobs, that become labels."""
        self._fields = fields
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
        self.events = Counter(
            "kubetune_events_total",
            "Events told of FineTuneJobs, by type and reason: Warnings are what goes wrong, over time.",
            ["type", "reason"],
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
        for type_, reason in sorted(_EVENTS):  # from 0 on: an increase to 1 is seen
            self.events.labels(type=type_, reason=reason)

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

    def on_event(self, type_: str, reason: str) -> None:
        """Count an Event; what another version wrote as a reason is one of no name."""
        known = (type_, reason) in _EVENTS
        self.events.labels(type=type_, reason=reason if known else "Other").inc()

    def jobs(self, jobs: Jobs) -> JobsCollector:
        """What is told of these jobs."""
        return JobsCollector(jobs, series_of(self._fields))

    def tell_jobs(self, jobs: Jobs) -> None:
        """Report all series of every FineTuneJob."""
        self.registry.register(self.jobs(jobs))
