"""PromQL of the dashboards, put together from few pieces, so that all of them count alike.

Several pods of the operator may tell of one job, while one takes over from another, and each attempt at
training is a pod of its own. So a series of one job is reduced to one by `max by`; and what is added up over
jobs is added up for each operator, of whom the one that tells most counts: a thousand groups would be slow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CHOSEN: Final = 'namespace=~"$namespace"'
"""What a dashboard's variables select: jobs of these namespaces,"""
ONE_JOB: Final = f'{CHOSEN},finetunejob="$finetunejob"'
"""one of them,"""
SOME_JOBS: Final = f'{CHOSEN},finetunejob=~"$finetunejob"'
"""or several."""

RATE: Final = "$__rate_interval"
"""At least four scrapes, however far a graph is zoomed in."""

_JOB: Final = "namespace, finetunejob"
_SCRAPED: Final = "instance, pod, container, endpoint, job, service, prometheus, prometheus_replica"
"""Labels that say where a series was read; the others of kubetune_job_info are the job's."""


@dataclass(frozen=True, slots=True)
class Query:
    """One target of a panel."""

    expr: str
    legend: str
    """What a series is called, with `{{label}}` for a label's value; not shown by tables."""
    instant: bool = False
    """Only the value at the end of the range: for what is true now, and must not be remembered."""


def now(expr: str, legend: str) -> Query:
    """Return a query for the value at the end of the range."""
    return Query(expr, legend, instant=True)


def of_jobs(metric: str, *labels: str, where: str = CHOSEN) -> str:
    """Return a job's gauge of the operator, once for each job and each value of these labels."""
    return f"max by ({', '.join((_JOB, *labels))}) ({metric}{{{where}}})"


def added_up(metric: str, *labels: str, where: str = CHOSEN) -> str:
    """Return a gauge of the operator, added up over jobs by these labels."""
    of_each = f"sum by ({', '.join(('instance', *labels))}) ({metric}{{{where}}})"
    return f"max by ({', '.join(labels)}) ({of_each})" if labels else f"max ({of_each})"


def quantile(share: float, histogram: str, where: str = "") -> str:
    """Return a quantile of what a histogram counted of late, over pods; nothing where it counted nothing."""
    selected = f"{histogram}_bucket{{{where}}}" if where else f"{histogram}_bucket"
    return f"histogram_quantile({share:g}, sum by (le) (rate({selected}[{RATE}]))) >= 0"


def quantiles(histogram: str, where: str, shares: tuple[float, ...]) -> list[Query]:
    """Return queries for several quantiles, called p50 and so on."""
    return [Query(quantile(share, histogram, where), f"p{share * 100:g}") for share in shares]


def per_second(counter: str, where: str, *by: str) -> str:
    """Return how fast a counter grows, added up over pods by these labels."""
    selected = f"{counter}{{{where}}}" if where else counter
    grouped = f" by ({', '.join(by)})" if by else ""
    return f"sum{grouped} (rate({selected}[{RATE}]))"


def increase(counter: str, where: str, *by: str, window: str = RATE) -> str:
    """Return by how much a counter grew in a window, added up over pods by these labels."""
    grouped = f" by ({', '.join(by)})" if by else ""
    selected = f"{counter}{{{where}}}" if where else counter
    return f"sum{grouped} (increase({selected}[{window}]))"


def about_jobs(where: str = CHOSEN) -> str:
    """Return 1 for each job, with what its people have said of it as labels."""
    return f"max without ({_SCRAPED}) (kubetune_job_info{{{where}}})"


def or_zero(expr: str) -> str:
    """Return a sum without labels that is 0 where an operator is seen, and still nothing where none is."""
    return f"{expr} or 0 * max(kubetune_leader)"
