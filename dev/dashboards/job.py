"""The dashboard of one job, from its training to its result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from dev.dashboards.board import JOB, board, job_variable
from dev.dashboards.limits import falling, rising
from dev.dashboards.panels import Column, Panel, bars, graph, number, rows
from dev.dashboards.query import ONE_JOB, Query, about_jobs, now, per_second, quantiles

Panels = Sequence[Builder[models.Panel]]

_CHECKPOINT: Final = "kubetune_train_checkpoint_duration_seconds"
_FREE: Final = f"kubetune_train_volume_free_bytes{{{ONE_JOB}}}"
_SIZE: Final = f"kubetune_train_volume_size_bytes{{{ONE_JOB}}}"
_POINTS: Final = 400
"""The series of one job are few: its curves may be fine."""
_STEPS: Final = "It is of rank 0, and ends with the pod."


def job() -> build.Dashboard:
    """Return the dashboard."""
    return board(
        JOB,
        "KubeTune / Job",
        "One FineTuneJob: how it learns, how fast, what would be lost now, and what came of it.",
        [job_variable()],
        [
            ("Now", _now()),
            ("Learning", _learning()),
            ("Speed", _speed()),
            ("Safety", _safety()),
            ("Result", _result()),
        ],
    )


def _mine(metric: str, *labels: str) -> str:
    """Return a gauge of the operator for this job, by these labels alone."""
    grouped = f" by ({', '.join(labels)})" if labels else ""
    return f"max{grouped} ({metric}{{{ONE_JOB}}})"


def _trained(name: str) -> str:
    """Return a gauge of the trainer; while one attempt follows another, there may be two pods."""
    return f"max (kubetune_train_{name}{{{ONE_JOB}}})"


def _now() -> Panels:
    return [
        number(
            Panel(
                title="State",
                description="Stage of the job, and the reason of its condition Ready: what it does, waits "
                "for, or has failed of. `kubectl describe ftj` has the sentence.",
                unit="short",
                queries=[now(_mine("kubetune_job_state", "stage", "reason"), "{{stage}}: {{reason}}")],
                width=6,
                height=4,
            ),
            named=True,
        ),
        number(
            Panel(
                title="Progress",
                description="Steps done of all steps of training.",
                unit="percentunit",
                decimals=0,
                queries=[now(_mine("kubetune_job_progress_ratio"), "progress")],
                width=3,
                height=4,
                high=1,
            )
        ),
        number(
            Panel(
                title="Epoch",
                description="How often all rows have been trained on. It stays as it was when the pod ended.",
                unit="short",
                decimals=2,
                queries=[Query(_trained("epoch"), "epoch")],
                width=3,
                height=4,
            )
        ),
        number(
            Panel(
                title="Attempt",
                description="Number of the latest attempt to train. More than one: pods were lost or "
                "failed, and the reason of each is in `status.attempts`.",
                unit="short",
                queries=[now(_mine("kubetune_job_attempts"), "attempt")],
                limits=rising(2, 4),
                width=3,
                height=4,
            )
        ),
        number(
            Panel(
                title="GPU time",
                description="Of all runs of the job; its servers, which have no end, are not in it.",
                unit="s",
                decimals=1,
                queries=[now(f"sum ({_mine('kubetune_job_gpu_seconds', 'stage')})", "GPU time")],
                width=3,
                height=4,
            )
        ),
        number(
            Panel(
                title="Cost",
                description="Of all runs of the job without its servers, at the prices that it began with; "
                "nothing where the platform has set no currency.",
                unit="short",
                decimals=2,
                queries=[now(_mine("kubetune_job_cost", "currency"), "{{currency}}")],
                width=3,
                height=4,
            )
        ),
        number(
            Panel(
                title="Servers ready",
                description="Pods of the server that answer. How many are wanted is on the dashboard "
                "Serving.",
                unit="short",
                queries=[now(f'max (kubetune_job_servers{{{ONE_JOB},state="ready"}})', "ready")],
                width=3,
                height=4,
            )
        ),
    ]


def _learning() -> Panels:
    return [
        graph(
            Panel(
                points=_POINTS,
                title="Loss",
                description="Loss per learned token: of each training step, of a sample of the validation "
                "rows between epochs, and of all validation rows. Validation that rises while "
                f"training falls is overfitting: fewer epochs, or more rows. {_STEPS}",
                unit="short",
                decimals=3,
                low=None,
                queries=[
                    Query(_trained("loss"), "training"),
                    Query(_trained("validation_loss"), "validation, a sample"),
                    Query(_trained("full_validation_loss"), "validation, all rows"),
                ],
                width=12,
                height=9,
            )
        ),
        graph(
            Panel(
                points=_POINTS,
                title="Learned tokens that rank first",
                description="Share of learned tokens that the model would have said itself, of each "
                f"training step. {_STEPS}",
                unit="percentunit",
                queries=[Query(_trained("mean_token_accuracy"), "accuracy")],
                high=1,
                width=6,
                height=9,
            )
        ),
        graph(
            Panel(
                points=_POINTS,
                title="Norm of the gradient",
                description="Before it is clipped. One that grows without end, or jumps, asks for a lower "
                f"learning rate. {_STEPS}",
                unit="short",
                decimals=2,
                queries=[Query(_trained("grad_norm"), "norm")],
                width=6,
                height=9,
            )
        ),
        graph(
            Panel(
                points=_POINTS,
                title="Learning rate",
                description=f"It warms up and decays as the job says. {_STEPS}",
                unit="sci",
                decimals=1,
                queries=[Query(_trained("learning_rate"), "learning rate")],
            )
        ),
        graph(
            Panel(
                points=_POINTS,
                title="Steps",
                description="Optimizer steps done, those planned, and the one with the lowest validation "
                f"loss, whose weights are kept where the job asks for the best. {_STEPS}",
                unit="short",
                decimals=0,
                queries=[
                    Query(_trained("step"), "done"),
                    Query(_trained("planned_steps"), "planned"),
                    Query(_trained("best_step"), "best"),
                ],
            )
        ),
        graph(
            Panel(
                points=_POINTS,
                title="Progress",
                description="Steps done of all steps, as the operator tells it: it does not begin anew with "
                "an attempt that resumes, and falls back to the last checkpoint with one that "
                "had to.",
                unit="percentunit",
                queries=[Query(_mine("kubetune_job_progress_ratio"), "progress")],
                high=1,
            )
        ),
    ]


def _speed() -> Panels:
    return [
        graph(
            Panel(
                points=_POINTS,
                title="Tokens per second",
                description=f"Of all ranks over the last steps, without padding. {_STEPS}",
                unit="short",
                queries=[Query(_trained("tokens_per_second"), "tokens/s")],
            )
        ),
        graph(
            Panel(
                points=_POINTS,
                title="Time of a step",
                description="Optimizer steps of the last minutes. p95 far above p50: rows of very different "
                f"lengths, or ranks that wait for one. {_STEPS}",
                unit="s",
                queries=quantiles("kubetune_train_step_duration_seconds", ONE_JOB, (0.5, 0.95)),
            )
        ),
        graph(
            Panel(
                points=_POINTS,
                title="Memory at its highest",
                description="Most memory that one rank has held, of its GPU, or on CPU of its process. The "
                f"estimate is in `status.plan.memoryPerGPU`. {_STEPS}",
                unit="bytes",
                queries=[Query(_trained("memory_peak_bytes"), "peak")],
            )
        ),
    ]


def _safety() -> Panels:
    counted = [
        Query(_mine("kubetune_job_attempts"), "attempts"),
        Query(_mine("kubetune_job_run_failures", "stage"), "failed: {{stage}}"),
        Query(_mine("kubetune_job_run_interruptions", "stage"), "interrupted: {{stage}}"),
    ]
    total, count = (per_second(f"{_CHECKPOINT}_{part}", ONE_JOB) for part in ("sum", "count"))
    return [
        graph(
            Panel(
                points=_POINTS,
                title="Age of the last checkpoint",
                description="Work that would be lost if training failed now. Older than an hour: "
                f"checkpoints fail, or `training.checkpoint` asks for few. {_STEPS}",
                unit="s",
                queries=[Query(f"time() - {_trained('last_checkpoint_timestamp_seconds')}", "age")],
                limits=rising(1800, 3600),
                width=5,
            )
        ),
        graph(
            Panel(
                points=_POINTS,
                title="Time of a checkpoint",
                description="From the end of a step until the checkpoint is verified, where one was "
                f"written. {_STEPS}",
                unit="s",
                queries=[Query(f"{total} / ({count} > 0)", "mean")],
                width=5,
            ),
            points=True,
        ),
        graph(
            Panel(
                points=_POINTS,
                title="Attempts, failures, interruptions",
                description="Attempts to train; runs of a stage that failed by the job's own fault, of "
                "which a limited number is tried again; and latest runs in a row that others "
                "interrupted, which cost no retry.",
                unit="short",
                decimals=0,
                queries=counted,
                width=5,
            )
        ),
        graph(
            Panel(
                points=_POINTS,
                title="Free space of the output volume",
                description="Share that is free. A full volume ends training at its next checkpoint. "
                f"{_STEPS}",
                unit="percentunit",
                queries=[Query(f"min ({_FREE} / {_SIZE})", "free")],
                limits=falling(0.05, 0.1),
                high=1,
                width=4,
            )
        ),
        graph(
            Panel(
                points=_POINTS,
                title="Output volume",
                description="What is free, and the size of the volume that has the checkpoints and the "
                f"artifact. {_STEPS}",
                unit="bytes",
                queries=[Query(f"min ({_FREE})", "free"), Query(f"max ({_SIZE})", "size")],
                width=5,
            )
        ),
    ]


def _result() -> Panels:
    return [
        bars(
            Panel(
                title="Scores",
                description="Mean score of each candidate of the evaluation by each metric. Tuned is what "
                "was trained; it is worth something where it is above the others.",
                unit="percentunit",
                decimals=1,
                queries=[
                    now(
                        f"sort_desc({_mine('kubetune_evaluation_score', 'metric', 'candidate')})",
                        "{{metric}}: {{candidate}}",
                    )
                ],
                high=1,
                width=10,
            )
        ),
        bars(
            Panel(
                title="GPU time by stage",
                description="Where the GPU time went.",
                unit="s",
                decimals=1,
                queries=[now(_mine("kubetune_job_gpu_seconds", "stage"), "{{stage}}")],
                width=7,
            )
        ),
        bars(
            Panel(
                title="Pod time by stage",
                description="Time of all pods of a stage, added up: what a job without GPUs takes.",
                unit="s",
                decimals=1,
                queries=[now(_mine("kubetune_job_pod_seconds", "stage"), "{{stage}}")],
                width=7,
            )
        ),
        rows(
            Panel(
                title="About this job",
                description="Its base model, and what its people have said of it (`settings.metricFields`).",
                unit="short",
                queries=[now(about_jobs(ONE_JOB), "job")],
                width=24,
                height=4,
            ),
            {
                "namespace": Column(title="Namespace"),
                "finetunejob": Column(title="FineTuneJob"),
                "model": Column(title="Model"),
            },
            sort="Namespace",
            hidden=["Value"],
        ),
    ]
