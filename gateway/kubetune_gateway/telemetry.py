"""What the gateway tells Prometheus of itself. No label holds what a client wrote.

``model`` is the name of a FineTuneJob, or of a base model of the platform; ``route`` is a path's template.
"""

from __future__ import annotations

import asyncio
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

disable_created_metrics()  # type: ignore[no-untyped-call]

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Telemetry:
    """Metrics of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter(
            "requests",
            "Requests by the status of their answer; 499: the client went away before its end, "
            "500: it broke off",
            "method",
            "route",
            "code",
        )
        self.seconds = self._histogram(
            "request_duration_seconds", "From a request's head to the end of its answer", "method", "route"
        )
        self.in_flight = self._gauge("in_flight_requests", "Requests that are under way")
        self.first_token_seconds = self._histogram(
            "time_to_first_token_seconds",
            "From a request for completion to the first piece of its answer",
            "namespace",
            "model",
        )
        self.tokens = self._counter(
            "tokens",
            "Tokens of completions, of the kinds prompt and completion",
            "namespace",
            "model",
            "kind",
        )
        self.uploaded = self._counter("uploaded_bytes", "Bytes of files and parts that were stored")
        self.refused = self._counter("refused_requests", "Requests beyond a limit, by what they met", "limit")
        self.outages = self._counter(
            "dependency_failures",
            "Requests that failed to what the gateway needs: api_server, s3, server (of a model)",
            "dependency",
        )
        self.webhooks = self._counter(
            "webhook_deliveries",
            "Attempts to tell a webhook: delivered, failed; given_up after a day of them",
            "outcome",
        )
        self.leading = self._gauge("leading", "1 for the replica that records jobs")
        self.loop_lag = self._gauge(
            "event_loop_lag_seconds",
            "How late the event loop was in the last second: so late is all that passes the gateway",
        )
        self.process = ProcessCollector(namespace="kubetune_gateway", registry=self.registry)
        for dependency in ("api_server", "s3", "server"):  # from 0 on: an increase to 1 is seen
            self.outages.labels(dependency)
        for outcome in ("delivered", "failed", "given_up"):
            self.webhooks.labels(outcome)

    async def watch_loop(self, *, every: float = 1.0) -> None:
        """Measure the event loop that this runs in, until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(every)
            self.loop_lag.set(max(0.0, loop.time() - before - every))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"kubetune_gateway_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"kubetune_gateway_{name}", text, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"kubetune_gateway_{name}", text, labels, registry=self.registry, buckets=_SECONDS)
