"""What the fleet's dashboard says of failures and of the operator itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from dev.dashboards.limits import rising
from dev.dashboards.panels import Panel, bars, graph, number
from dev.dashboards.query import Query, added_up, increase, now, per_second, quantiles

Panels = Sequence[Builder[models.Panel]]

_EVENTS: Final = "kubetune_events_total"
_WARNING: Final = 'type="Warning"'
_FAILED_REQUESTS: Final = per_second(
    "kubetune_kube_requests_total", 'code=~"4..|5..|error"', "verb", "resource", "code"
)
WARNINGS: Final = increase(_EVENTS, _WARNING, window="$__range")
ANY_NAMESPACE: Final = "Events carry no namespace: this is of all of them."


def failures() -> Panels:
    """Return panels of what went wrong, by reason."""
    return [
        graph(
            Panel(
                title="Warnings by reason over time",
                description=f"Events of type Warning in each interval. {ANY_NAMESPACE} "
                "docs/reference/reasons.md says what each reason means.",
                unit="short",
                decimals=0,
                queries=[Query(f"{increase(_EVENTS, _WARNING, 'reason')} > 0", "{{reason}}")],
                width=12,
            ),
            bars=True,
        ),
        bars(
            Panel(
                title="Warnings by reason",
                description="The same, added up over the time shown.",
                unit="short",
                decimals=0,
                queries=[
                    now(
                        f"sort_desc({increase(_EVENTS, _WARNING, 'reason', window='$__range')} > 0)",
                        "{{reason}}",
                    )
                ],
                width=6,
            )
        ),
        bars(
            Panel(
                title="Runs that failed",
                description="Runs of a stage that failed by the job's own fault and were tried again, of "
                "all jobs.",
                unit="short",
                queries=[now(added_up("kubetune_job_run_failures", "stage"), "{{stage}}")],
                width=6,
            )
        ),
    ]


def operator() -> Panels:
    """Return panels of the operator's queue and health."""
    return [
        graph(
            Panel(
                title="Jobs that wait for a worker",
                description="More than a few for long: add workers (`settings.workers`), or the API server "
                "is slow.",
                unit="short",
                decimals=0,
                queries=[Query("max(kubetune_workqueue_depth)", "waiting")],
                limits=rising(20, 100),
            )
        ),
        graph(
            Panel(
                title="Oldest job that waits",
                description="How long the oldest job has been waiting for a worker or in work.",
                unit="s",
                queries=[Query("max(kubetune_workqueue_oldest_age_seconds)", "oldest")],
                limits=rising(30, 120),
            )
        ),
        graph(
            Panel(
                title="Time of one look at a job",
                description="Time of a reconcile, requests to the API server included.",
                unit="s",
                queries=quantiles("kubetune_reconcile_duration_seconds", "", (0.5, 0.95, 0.99)),
                limits=rising(1, 10),
            )
        ),
        graph(
            Panel(
                title="Looks by result",
                description="Reconciles per second. `error` is a fault of KubeTune, of which the operator's "
                "log has more; `retry` is the API server's wish, or its absence.",
                unit="reqps",
                queries=[Query(per_second("kubetune_reconcile_total", "", "result"), "{{result}}")],
            )
        ),
        graph(
            Panel(
                title="Requests to the API server that failed",
                description="By status; `error` is no answer at all. A 404 is a look for what is not there "
                "yet, a 409 now and then two writers who met; 403 is a missing right, 429 an "
                "API server that is too busy.",
                unit="reqps",
                queries=[Query(f"{_FAILED_REQUESTS} > 0", "{{code}} {{verb}} {{resource}}")],
            )
        ),
        graph(
            Panel(
                title="Watches that broke",
                description="By resource, in each interval. They are started again, and what was missed is "
                "made up for.",
                unit="short",
                decimals=0,
                queries=[
                    Query(f"{increase('kubetune_watch_restarts_total', '', 'resource')} > 0", "{{resource}}")
                ],
            ),
            bars=True,
        ),
        graph(
            Panel(
                title="Lateness of the event loop",
                description="More than a moment means that something blocks the operator.",
                unit="s",
                queries=[Query("max(kubetune_event_loop_lag_seconds)", "lag")],
                limits=rising(0.5, 5),
            )
        ),
        graph(
            Panel(
                title="Operator by pod",
                description="1 for the pod that acts, 0 for one that waits to take over.",
                unit="short",
                decimals=0,
                queries=[Query("max by (pod) (kubetune_leader)", "{{pod}}")],
                high=1,
            )
        ),
        number(
            Panel(
                title="Versions",
                description="Versions of the operator's pods; two of them only while an upgrade is rolled "
                "out.",
                unit="short",
                queries=[now("count by (version) (kubetune_build_info)", "{{version}}")],
            ),
            named=True,
        ),
    ]
