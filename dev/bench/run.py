"""The parts of the benchmark, and the command that runs the chosen ones."""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dev.bench import (
    burst,
    dashboards,
    delivery,
    demo,
    documentation,
    estimate,
    gateway,
    idle,
    machine,
    processor,
    questions,
    rendering,
    rows,
    speed,
    writes,
)
from dev.bench.figures import Figure, show
from dev.cluster.kubeconfig import local_kubeconfig
from dev.errors import DevError
from dev.kubectl import Kubectl
from dev.progress import note
from dev.shell import CommandError
from dev.target import kubectl_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How much is measured."""

    jobs: int = 100
    repeats: int = 3
    gate: float = 30.0
    """Seconds in which all prepare pods have to run."""
    finished: int = 1000
    idle_seconds: float = 120.0
    profile: Path | None = None
    """Where a profile of the operator goes; it costs time itself."""


PARTS: Final[Mapping[str, Callable[[Options], list[Figure]]]] = {
    delivery.PART: lambda _: delivery.measure(),
    rendering.PART: lambda _: rendering.measure(),
    documentation.PART: lambda _: documentation.measure(),
    writes.PART: lambda _: writes.measure(),
    processor.PART: lambda o: processor.measure(jobs=o.jobs, gate=o.gate, profile=o.profile),
    idle.PART: lambda o: idle.measure(finished=o.finished, seconds=o.idle_seconds),
    burst.PART: lambda o: burst.measure(jobs=o.jobs, repeats=o.repeats, gate=o.gate, profile=o.profile),
    demo.PART: lambda _: _of_demo(demo.measure),
    questions.PART: lambda _: _of_demo(questions.measure),
    rows.PART: lambda _: rows.measure(),
    speed.PART: lambda o: speed.measure(repeats=o.repeats),
    estimate.PART: lambda _: estimate.measure(),
    gateway.PART: lambda o: gateway.measure(jobs=o.finished, repeats=o.repeats),
    dashboards.PART: lambda o: dashboards.measure(jobs=o.finished, repeats=o.repeats),
}


def run(only: Collection[str], options: Options) -> list[Figure]:
    """Measure the chosen parts, or all, and show each; whatever was started is gone afterwards."""
    if unknown := set(only) - PARTS.keys():
        raise DevError(f"No part is called {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    # As Ctrl-C does: else what was started would outlive this.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    note(machine.describe())
    found: list[Figure] = []
    for part, measure in PARTS.items():
        if not only or part in only:
            figures = measure(options)
            show(figures)  # at once: a later part may fail
            found += figures
    return found


def _of_demo(measure: Callable[[Kubectl], list[Figure]]) -> list[Figure]:
    kubeconfig = local_kubeconfig()
    try:
        figures = measure(kubectl_of(kubeconfig)) if kubeconfig.exists() else []
    except CommandError as error:
        note(f"   {error}")
        figures = []
    if not figures:
        note(f"   no finished job {demo.NAME}: `make demo` runs it")
    return figures
