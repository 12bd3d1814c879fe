"""The dashboard of all jobs and of the operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from dev.dashboards.board import FLEET, board, link_to_job
from dev.dashboards.limits import exactly_one, rising
from dev.dashboards.operators import ANY_NAMESPACE, WARNINGS, failures, operator
from dev.dashboards.panels import Column, Panel, bars, graph, number, rows
from dev.dashboards.query import CHOSEN, Query, about_jobs, added_up, now, of_jobs, or_zero

Panels = Sequence[Builder[models.Panel]]

_STATE: Final = of_jobs("kubetune_job_state", "stage", "reason")
_STALLED: Final = f'{CHOSEN},condition="Stalled"'
_COST: Final = of_jobs("kubetune_job_cost", "currency")
_GPU_SECONDS: Final = f"sum by (namespace, finetunejob) ({of_jobs('kubetune_job_gpu_seconds', 'stage')})"


def fleet() -> build.Dashboard:
    """Return the dashboard."""
    return board(
        FLEET,
        "KubeTune / Fleet",
        "All FineTuneJobs: what they do, wait for and cost, and whether the operator keeps up.",
        [],
        [
            ("Now", _now()),
            ("Jobs", _jobs()),
            ("GPUs and cost", _cost()),
            ("Failures", failures()),
            ("Operator", operator()),
        ],
    )


def _now() -> Panels:
    return [
        number(
            Panel(
                title="Jobs",
                description="FineTuneJobs that there are, whatever they do.",
                unit="short",
                queries=[now(or_zero(added_up("kubetune_job_state")), "jobs")],
                width=4,
                height=4,
            )
        ),
        number(
            Panel(
                title="Stalled",
                description="Jobs on which nothing goes on before a person changes something. Their reason "
                "and its remedy are in `kubectl describe ftj`.",
                unit="short",
                queries=[now(or_zero(added_up("kubetune_jobs", where=_STALLED)), "stalled")],
                limits=rising(1),
                width=4,
                height=4,
            )
        ),
        number(
            Panel(
                title="GPUs in use",
                description="GPUs of pods that are ready, of training and of servers.",
                unit="short",
                queries=[now(or_zero(added_up("kubetune_job_gpus", where=_gpus("used"))), "used")],
                width=4,
                height=4,
            )
        ),
        number(
            Panel(
                title="GPUs waited for",
                description="GPUs of pods that are asked for and not ready: they wait for a node, a quota "
                "or an image.",
                unit="short",
                queries=[now(or_zero(added_up("kubetune_job_gpus", where=_gpus("waiting"))), "waiting")],
                limits=rising(1),
                width=4,
                height=4,
            )
        ),
        number(
            Panel(
                title="Warnings",
                description="Events of type Warning that the operator has told in the time shown. "
                f"{ANY_NAMESPACE}",
                unit="short",
                decimals=0,
                queries=[now(or_zero(WARNINGS), "warnings")],
                limits=rising(1),
                width=4,
                height=4,
            )
        ),
        number(
            Panel(
                title="Operators that act",
                description="One, whatever number of pods there is. None: no job is begun or looked after, "
                "though training and servers go on. Two: they would work against each other.",
                unit="short",
                queries=[now("sum(kubetune_leader)", "acting")],
                limits=exactly_one(),
                width=4,
                height=4,
            )
        ),
    ]


def _jobs() -> Panels:
    return [
        bars(
            Panel(
                title="Jobs by stage",
                description="Where jobs are: in one of their stages, or done.",
                unit="short",
                queries=[now(added_up("kubetune_job_state", "stage"), "{{stage}}")],
                width=6,
            )
        ),
        bars(
            Panel(
                title="Jobs by reason",
                description="The reason of the condition Ready: what a job does, waits for, or has failed "
                "of. docs/reference/reasons.md says what each means.",
                unit="short",
                queries=[now(f"sort_desc({added_up('kubetune_job_state', 'reason')})", "{{reason}}")],
                width=6,
            )
        ),
        graph(
            Panel(
                title="Jobs by stage over time",
                description="A stage that only grows is where jobs wait.",
                unit="short",
                decimals=0,
                queries=[Query(added_up("kubetune_job_state", "stage"), "{{stage}}")],
                width=6,
            ),
            stacked=True,
        ),
        graph(
            Panel(
                title="Jobs by condition",
                description="Jobs whose condition is True; one job has several of them.",
                unit="short",
                decimals=0,
                queries=[Query(added_up("kubetune_jobs", "condition"), "{{condition}}")],
                width=6,
            )
        ),
        rows(
            Panel(
                title="All jobs",
                description="Each job with what its people have said of it (`settings.metricFields`), its "
                "stage, the reason of its condition Ready, its progress in training, its "
                "attempts and its GPU time. A name leads to the job's own dashboard.",
                unit="short",
                queries=[
                    now(about_jobs(), "job"),
                    now(_STATE, "state"),
                    now(of_jobs("kubetune_job_progress_ratio"), "progress"),
                    now(of_jobs("kubetune_job_attempts"), "attempts"),
                    now(_GPU_SECONDS, "GPU time"),
                ],
                width=24,
                height=10,
            ),
            {
                "namespace": Column(title="Namespace"),
                "finetunejob": Column(title="FineTuneJob", link=link_to_job()),
                "stage": Column(title="Stage"),
                "reason": Column(title="Reason"),
                "Value #C": Column(title="Progress", unit="percentunit", decimals=0),
                "Value #D": Column(title="Attempts", unit="short"),
                "Value #E": Column(title="GPU time", unit="s", decimals=1),
                "model": Column(title="Model"),
            },
            sort="Namespace",
            hidden=["Value #A", "Value #B"],
        ),
    ]


def _cost() -> Panels:
    return [
        graph(
            Panel(
                title="GPUs",
                description="GPUs of pods that are ready, and of pods that are asked for and not ready.",
                unit="short",
                decimals=0,
                queries=[Query(added_up("kubetune_job_gpus", "state"), "{{state}}")],
                width=12,
            ),
            stacked=True,
        ),
        bars(
            Panel(
                title="GPU time of jobs, top ten",
                description="GPU time of all runs of a job that there still is; servers, which have no end, "
                "are not in it.",
                unit="s",
                decimals=1,
                queries=[now(f"sort_desc(topk(10, {_GPU_SECONDS}))", "{{namespace}}/{{finetunejob}}")],
                width=6,
            )
        ),
        bars(
            Panel(
                title="GPU time by namespace",
                description="The same, added up. A deleted job is no longer in it.",
                unit="s",
                decimals=1,
                queries=[
                    now(f"sort_desc({added_up('kubetune_job_gpu_seconds', 'namespace')})", "{{namespace}}")
                ],
                width=6,
            )
        ),
        graph(
            Panel(
                title="Cost over time",
                description="What all jobs that there are have cost, at the prices that each began with "
                "(`settings.prices`); nothing where no currency is set.",
                unit="short",
                decimals=2,
                queries=[Query(added_up("kubetune_job_cost", "currency"), "{{currency}}")],
                width=12,
            )
        ),
        bars(
            Panel(
                title="Cost of jobs, top ten of each currency",
                description="Cost of all runs of a job so far, without its servers.",
                unit="short",
                decimals=2,
                queries=[
                    now(
                        f"sort_desc(topk by (currency) (10, {_COST}))",
                        "{{namespace}}/{{finetunejob}} ({{currency}})",
                    )
                ],
                width=6,
            )
        ),
        bars(
            Panel(
                title="Cost by namespace",
                description="The same, added up. A deleted job is no longer in it.",
                unit="short",
                decimals=2,
                queries=[
                    now(
                        f"sort_desc({added_up('kubetune_job_cost', 'namespace', 'currency')})",
                        "{{namespace}} ({{currency}})",
                    )
                ],
                width=6,
            )
        ),
    ]


def _gpus(state: str) -> str:
    return f'{CHOSEN},state="{state}"'
