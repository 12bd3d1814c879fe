"""Rank 0's /metrics (Prometheus), /progress and /steps (JSON): one port, from its process's first second."""

from __future__ import annotations

import logging
import os
import re
import socket
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from typing_extensions import override

from ..contract.config import METRICS_PORT
from ..contract.messages import Progress
from ..contract.messages_base import MOST_SECONDS
from ..sizing.looks import ValidationPlan
from .measured import MeasuredSteps

logger = logging.getLogger(__name__)

PORT_VARIABLE = "METRICS_PORT"
"""Environment variable that names another port than METRICS_PORT (tests, several trainers on one host)."""

_RECENT_STEPS = 20
"""Steps that speed and remaining time are taken from: enough for a mixture of short and long rows."""

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Reports:
    """The state of the attempt as the outside sees it; the training thread writes, server threads read."""

    def __init__(self, total_steps: int, validation: ValidationPlan | None = None) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.steps = MeasuredSteps()
        self._measured: set[Gauge] = set()
        self._progress = Progress(step=0, total_steps=total_steps, epoch="0.00")
        self._recent: deque[tuple[int, float]] = deque(maxlen=_RECENT_STEPS)
        self._validation = validation
        self._seconds_per_row = 0.0
        self._warnings: dict[str, str] = {}
        self._step = self._gauge("step", "Optimizer steps done")
        self._planned = self._gauge("planned_steps", "Optimizer steps of the whole run")
        self._epoch = self._gauge("epoch", "Epochs done")
        self._loss = self._gauge("loss", "Training loss of the last step, per learned token")
        self._validation_loss = self._gauge(
            "validation_loss", "Loss on a sample of the validation rows, per learned token"
        )
        self._full_validation_loss = self._gauge(
            "full_validation_loss", "Loss on all validation rows, per learned token"
        )
        self._learning_rate = self._gauge("learning_rate", "Learning rate of the last step")
        self._grad_norm = self._gauge("grad_norm", "Norm of the gradient before clipping")
        self._accuracy = self._gauge("mean_token_accuracy", "Share of learned tokens that rank first")
        self._speed = self._gauge(
            "tokens_per_second", "Tokens per second without padding, over the last steps"
        )
        self._memory_peak = self._gauge(
            "memory_peak_bytes", "Most memory that one rank has held: of its GPU, or on CPU of its process"
        )
        self._saved_at = self._gauge(
            "last_checkpoint_timestamp_seconds", "When the last checkpoint was verified"
        )
        self._best_step = self._gauge(
            "best_step", "Step with the lowest validation loss so far, where the best weights are chosen"
        )
        self._volume_free = self._gauge(
            "volume_free_bytes",
            "Free bytes on the output volume, looked at each minute and after checkpoints",
        )
        self._volume_size = self._gauge("volume_size_bytes", "Size of the output volume")
        self._tokens = Counter(
            "kubetune_train_tokens",
            "Tokens trained on without padding, over all attempts",
            registry=self.registry,
        )
        self._step_seconds = self._histogram("step_duration_seconds", "Duration of optimizer steps")
        self._save_seconds = self._histogram("checkpoint_duration_seconds", "Duration of checkpoint saves")
        self._set(self._planned, total_steps)
        self._set(self._step, 0)
        self._set(self._epoch, 0)

    @property
    def progress(self) -> Progress:
        """Body of /progress."""
        return self._progress

    def resumed(self, *, step: int, epoch: float, tokens: int, saved_at: float) -> None:
        """Continue from a checkpoint that was written at a time in Unix seconds."""
        self._set(self._step, step)
        self._set(self._epoch, epoch)
        self._tokens.inc(tokens)
        self._update(step=step, epoch=f"{epoch:.2f}", trained_tokens=tokens)
        self._verified(step, saved_at)

    def stepped(self, *, tokens: int, seconds: float, values: dict[str, float]) -> int:
        """One optimizer step is done; returns the recent tokens per second."""
        self._recent.append((tokens, seconds))
        recent_seconds = sum(duration for _, duration in self._recent)
        speed = int(sum(count for count, _ in self._recent) / max(recent_seconds, 1e-9))
        step = int(values["step"])
        for gauge, key in (
            (self._step, "step"),
            (self._epoch, "epoch"),
            (self._loss, "loss"),
            (self._learning_rate, "learning_rate"),
            (self._grad_norm, "grad_norm"),
            (self._accuracy, "mean_token_accuracy"),
            (self._memory_peak, "memory_peak_bytes"),
        ):
            if key in values:  # the gradient's norm and the memory are not always known
                self._set(gauge, values[key])
        self._set(self._speed, speed)
        self._tokens.inc(tokens)
        self._step_seconds.observe(seconds)
        left = max(0, self._progress.total_steps - step)
        peak = values.get("memory_peak_bytes")
        self._update(
            step=step,
            epoch=f"{values['epoch']:.2f}",
            loss=f"{values['loss']:.4f}",
            tokens_per_second=speed,
            trained_tokens=self._progress.trained_tokens + tokens,
            memory_peak_bytes=None if peak is None else int(peak),
            remaining_seconds=min(
                int(left * recent_seconds / len(self._recent) + self._evaluation_seconds(step)), MOST_SECONDS
            ),
        )
        return speed

    def evaluated(
        self, *, loss: float | None, full_loss: float | None, seconds_per_row: float | None = None
    ) -> None:
        """Validation rows were scored, in this attempt or before it: a sample, and perhaps all of them."""
        if loss is not None:
            self._set(self._validation_loss, loss)
            self._update(validation_loss=f"{loss:.4f}")
        if full_loss is not None:
            self._set(self._full_validation_loss, full_loss)
        if seconds_per_row is not None:
            self._seconds_per_row = seconds_per_row

    def found_best(self, *, step: int) -> None:
        """The weights of a step are the best so far, and are kept."""
        self._set(self._best_step, step)
        self._update(best_step=step)

    def warn(self, kind: str, sentence: str | None) -> bool:
        """Tell what is wrong, as it was when it began, until it is None; True when it is new."""
        new = sentence is not None and kind not in self._warnings
        if sentence is None:
            self._warnings.pop(kind, None)
        else:
            self._warnings.setdefault(kind, sentence)
        self._update(warnings=tuple(self._warnings.values()))
        return new

    def connected(self, transport: str) -> None:
        """Collectives work, and this is how."""
        self._update(transport=transport)

    def saved(self, *, step: int, seconds: float) -> None:
        """A checkpoint is published."""
        self._save_seconds.observe(seconds)
        self._verified(step, time.time())

    def measured_volume(self, *, free: int, size: int) -> None:
        """So many bytes are free on the output volume, of so many."""
        self._set(self._volume_free, free)
        self._set(self._volume_size, size)

    def _verified(self, step: int, when: float) -> None:
        self._set(self._saved_at, when)
        self._update(last_checkpoint_step=step, last_checkpoint_time=int(when))

    def _evaluation_seconds(self, step: int) -> float:
        """What scoring validation rows from this step on will take, as long as it took the last time."""
        return self._validation.rows_from(step) * self._seconds_per_row if self._validation else 0.0

    def _update(self, **values: Any) -> None:
        self._progress = self._progress.model_copy(update=values)  # one assignment: readers see old or new

    def _gauge(self, name: str, text: str) -> Gauge:
        """A gauge that is absent until it is set for the first time: 0 would look like something measured."""
        return Gauge(f"kubetune_train_{name}", text, registry=None)

    def _set(self, gauge: Gauge, value: float) -> None:
        gauge.set(value)
        if gauge not in self._measured:
            self._measured.add(gauge)
            self.registry.register(gauge)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"kubetune_train_{name}", text, registry=self.registry, buckets=_SECONDS)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A cluster may have only one family; where there are both, one socket takes both.
    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    @override
    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def serve(reports: Reports) -> None:
    """Answer /metrics, /progress and /steps in threads, until the process ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            answer = None
            match path:
                case "/metrics":
                    kind, body = (
                        prometheus_client.CONTENT_TYPE_LATEST,
                        prometheus_client.generate_latest(reports.registry),
                    )
                case "/progress":
                    kind, body = "application/json", reports.progress.model_dump_json().encode()
                case "/steps":
                    try:
                        answer = reports.steps.after(_after(query))
                    except ValueError:
                        self.send_error(400, "after has to be a whole number: /steps?after=120")
                        return
                    kind, body = "application/jsonl", answer.body
                case _:
                    self.send_error(404)
                    return
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            if answer is not None:
                reports.steps.told(answer)

        @override
        def log_message(self, format: str, *args: Any) -> None:
            pass  # one line per scrape says nothing

    port = int(os.environ.get(PORT_VARIABLE, METRICS_PORT))
    try:
        server = _Server(("", port), Handler)
    except OSError as error:
        # Two trainers on a host network: training matters more than its metrics.
        logger.warning("No /metrics, /progress and /steps on port %d: %s", port, error.strerror)
        return
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()


def _after(query: str) -> int:
    """The step after which steps are asked for; without one, all are, also 0, which is the base model.

    Raises ValueError.
    """
    given = parse_qs(query, keep_blank_values=True).get("after", ["-1"])
    if len(given) != 1 or not re.fullmatch(r"-?[0-9]{1,18}", given[0]):
        raise ValueError
    return int(given[0])
