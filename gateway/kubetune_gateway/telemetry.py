"""What the gateway tells Prometheus of itself. No label holds what a client wrote.

``model`` is the name of a FineTuneJob, or of a base model of the platform; ``route`` is a path's template.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Telemetry:
    """Metrics of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Requests that were answered", "method", "route", "code")
        self.seconds = self._histogram(
            "request_duration_seconds", "From a request's head to the end of its answer", "route"
        )
        self.in_flight = Gauge(
            "kubetune_gateway_in_flight_requests", "Requests that are under way", registry=self.registry
        )
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
            "dependency_failures", "Requests to what the gateway needs that failed", "dependency"
        )
        self.webhooks = self._counter("webhook_deliveries", "Webhooks, by how they ended", "outcome")
        self.leading = Gauge(
            "kubetune_gateway_leading", "1 for the replica that records jobs", registry=self.registry
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"kubetune_gateway_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"kubetune_gateway_{name}", text, labels, registry=self.registry, buckets=_SECONDS)
