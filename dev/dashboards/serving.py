"""The dashboard of servers: vLLM's own series, and how many servers there are.

Names and labels are those of vLLM 0.32, as its /metrics has them (tests/data/vllm/metrics.txt).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from dev.dashboards.board import SERVING, board, servers_variable
from dev.dashboards.limits import rising
from dev.dashboards.panels import Column, Panel, graph, number, rows
from dev.dashboards.query import (
    SOME_JOBS,
    Query,
    added_up,
    increase,
    now,
    or_zero,
    per_second,
    quantile,
    quantiles,
)

Panels = Sequence[Builder[models.Panel]]

_POINTS: Final = 60
"""Of a graph: the histograms of each server have dozens of series."""
_TOGETHER: Final = "Of all servers that are chosen, taken together."
_ADAPTERS: Final = (
    "max by (namespace, finetunejob, pod, running_lora_adapters, waiting_lora_adapters, max_lora) "
    f'(vllm:lora_requests_info{{{SOME_JOBS},running_lora_adapters!=""}}) * 1000'
)
"""The value is when it was so, in seconds; Grafana's times are in milliseconds."""
_BY_JOB: Final = "{{namespace}}/{{finetunejob}}"


def serving() -> build.Dashboard:
    """Return the dashboard."""
    return board(
        SERVING,
        "KubeTune / Serving",
        "Servers of FineTuneJobs: how fast they answer, how much they do, and what they still have room for.",
        [servers_variable()],
        [
            ("Now", _now()),
            ("Latency", _latency()),
            ("Load", _load()),
            ("Memory and adapters", _memory()),
        ],
        shown="1h",
    )


def _sum(metric: str, *by: str) -> str:
    return f"sum by ({', '.join(by)}) ({metric}{{{SOME_JOBS}}})" if by else f"sum ({metric}{{{SOME_JOBS}}})"


def _servers(state: str) -> str:
    return added_up("kubetune_job_servers", where=f'{SOME_JOBS},state="{state}"')


def _mean(histogram: str) -> str:
    total, count = (per_second(f"{histogram}_{part}", SOME_JOBS) for part in ("sum", "count"))
    return f"{total} / ({count} > 0)"


def _now() -> Panels:
    rate = per_second("vllm:request_success_total", SOME_JOBS)
    return [
        number(
            Panel(
                title="Servers wanted",
                description="Pods that the chosen jobs want to answer with.",
                unit="short",
                queries=[now(or_zero(_servers("wanted")), "wanted")],
                width=4,
                height=4,
            )
        ),
        number(
            Panel(
                title="Servers missing",
                description="Pods that are wanted and not ready: they wait for GPUs, load the model, or "
                "fail. `kubectl describe ftj` says why.",
                unit="short",
                queries=[now(or_zero(f"{_servers('wanted')} - {_servers('ready')}"), "missing")],
                limits=rising(1),
                width=4,
                height=4,
            )
        ),
        number(
            Panel(
                title="Requests waiting",
                description="Requests that a server has taken and not begun. For long: more replicas, or a "
                "larger GPU.",
                unit="short",
                queries=[now(_sum("vllm:num_requests_waiting"), "waiting")],
                limits=rising(1, 20),
                width=4,
                height=4,
            )
        ),
        number(
            Panel(
                title="Requests running",
                description="Requests that are being answered.",
                unit="short",
                queries=[now(_sum("vllm:num_requests_running"), "running")],
                width=4,
                height=4,
            )
        ),
        number(
            Panel(
                title="Answers",
                description="Requests per second that were answered, for whatever reason the answer ended.",
                unit="reqps",
                decimals=2,
                queries=[now(rate, "answers")],
                width=4,
                height=4,
            )
        ),
        number(
            Panel(
                title="KV cache, fullest",
                description="Share of the KV cache that is in use, of the server where it is highest. Near "
                "100 %, requests wait or are preempted.",
                unit="percentunit",
                decimals=0,
                queries=[now(f"max (vllm:kv_cache_usage_perc{{{SOME_JOBS}}})", "used")],
                limits=rising(0.8, 0.95),
                width=4,
                height=4,
                high=1,
            )
        ),
    ]


def _latency() -> Panels:
    def one(
        title: str, description: str, histogram: str, *, warn: float, bad: float
    ) -> Builder[models.Panel]:
        return graph(
            Panel(
                title=title,
                description=f"{description} {_TOGETHER}",
                unit="s",
                queries=quantiles(histogram, SOME_JOBS, (0.5, 0.95, 0.99)),
                limits=rising(warn, bad),
                points=_POINTS,
            )
        )

    return [
        one(
            "Time to the first token",
            "From the request to the first token: waiting, and reading the prompt.",
            "vllm:time_to_first_token_seconds",
            warn=2,
            bad=10,
        ),
        one(
            "Time of an output token",
            "Of each request, its mean time between tokens: how fast an answer appears.",
            "vllm:request_time_per_output_token_seconds",
            warn=0.1,
            bad=0.5,
        ),
        one(
            "Time of a request",
            "From the request to the end of its answer; it depends on how long answers are.",
            "vllm:e2e_request_latency_seconds",
            warn=30,
            bad=60,
        ),
        graph(
            Panel(
                title="Where the time goes",
                description="Mean time of each part of a request: in the queue, reading the prompt, writing "
                "the answer. A queue asks for more replicas; reading, for shorter prompts or "
                "ones that begin alike; writing, for shorter answers or a faster GPU. "
                f"{_TOGETHER}",
                unit="s",
                queries=[
                    Query(_mean(f"vllm:request_{part}_time_seconds"), legend)
                    for part, legend in (("queue", "waiting"), ("prefill", "reading"), ("decode", "writing"))
                ],
                width=12,
                points=_POINTS,
            ),
            stacked=True,
        ),
        graph(
            Panel(
                title="Time between tokens",
                description="Of each token, the time since the one before: in p99 are hitches, which a "
                f"request's mean hides. {_TOGETHER}",
                unit="s",
                queries=[
                    Query(_mean("vllm:inter_token_latency_seconds"), "mean"),
                    Query(quantile(0.99, "vllm:inter_token_latency_seconds", SOME_JOBS), "p99"),
                ],
                limits=rising(0.2, 1),
                width=12,
                points=_POINTS,
            )
        ),
    ]


def _load() -> Panels:
    return [
        graph(
            Panel(
                title="Requests running and waiting",
                description="Requests that are being answered, and requests that wait for a place. "
                f"{_TOGETHER}",
                unit="short",
                decimals=0,
                queries=[
                    Query(_sum("vllm:num_requests_running"), "running"),
                    Query(_sum("vllm:num_requests_waiting_by_reason", "reason"), "waiting: {{reason}}"),
                ],
            )
        ),
        graph(
            Panel(
                title="Tokens per second",
                description=f"Tokens of prompts that were read, and tokens that were written. {_TOGETHER}",
                unit="short",
                queries=[
                    Query(per_second("vllm:prompt_tokens_total", SOME_JOBS), "in"),
                    Query(per_second("vllm:generation_tokens_total", SOME_JOBS), "out"),
                ],
            )
        ),
        graph(
            Panel(
                title="Answers by how they ended",
                description="`stop` is an end that the model has found; `length` one that it was cut at: "
                "many of them are answers without an end. `abort` is a client that went away.",
                unit="reqps",
                queries=[
                    Query(
                        per_second("vllm:request_success_total", SOME_JOBS, "finished_reason"),
                        "{{finished_reason}}",
                    )
                ],
            ),
            stacked=True,
        ),
        graph(
            Panel(
                title="HTTP by status",
                description="What vLLM answered by status. What the guard in front of it refuses (keys, "
                "sizes, too many requests) does not reach vLLM, and is not in here.",
                unit="reqps",
                queries=[Query(per_second("http_requests_total", SOME_JOBS, "status"), "{{status}}")],
            ),
            stacked=True,
        ),
        graph(
            Panel(
                title="Answers by job",
                description="Requests per second that the servers of each job have answered.",
                unit="reqps",
                queries=[
                    Query(
                        per_second("vllm:request_success_total", SOME_JOBS, "namespace", "finetunejob"),
                        _BY_JOB,
                    )
                ],
            ),
            stacked=True,
        ),
        graph(
            Panel(
                title="Length of prompts and answers",
                description=f"Mean number of tokens of a request's prompt and answer. {_TOGETHER}",
                unit="short",
                queries=[
                    Query(_mean("vllm:request_prompt_tokens"), "prompt"),
                    Query(_mean("vllm:request_generation_tokens"), "answer"),
                ],
            )
        ),
    ]


def _memory() -> Panels:
    hits, queries = (per_second(f"vllm:prefix_cache_{name}_total", SOME_JOBS) for name in ("hits", "queries"))
    return [
        graph(
            Panel(
                title="KV cache in use",
                description="By server. Near 100 %, requests wait or are preempted: more replicas, shorter "
                "contexts, or a larger GPU.",
                unit="percentunit",
                queries=[Query(f"max by (pod) (vllm:kv_cache_usage_perc{{{SOME_JOBS}}})", "{{pod}}")],
                limits=rising(0.8, 0.95),
                high=1,
            )
        ),
        graph(
            Panel(
                title="Prompts found in the prefix cache",
                description="Share of prompt tokens that needed no reading, since a request before began "
                f"alike. {_TOGETHER}",
                unit="percentunit",
                queries=[Query(f"{hits} / ({queries} > 0)", "hit rate")],
                high=1,
            )
        ),
        graph(
            Panel(
                title="Preemptions and rejections",
                description="Requests in each interval that lost their place to others, as the KV cache was "
                "full, and those that vLLM's own queue has refused.",
                unit="short",
                decimals=0,
                queries=[
                    Query(increase("vllm:num_preemptions_total", SOME_JOBS), "preempted"),
                    Query(
                        increase("vllm:admission_rejections_total", SOME_JOBS, "reason"),
                        "rejected: {{reason}}",
                    ),
                ],
                limits=rising(1),
            ),
            bars=True,
        ),
        graph(
            Panel(
                title="Servers",
                description="Pods that the chosen jobs want, and those that answer.",
                unit="short",
                decimals=0,
                queries=[
                    Query(_servers("wanted"), "wanted"),
                    Query(_servers("ready"), "ready"),
                ],
            )
        ),
        rows(
            Panel(
                title="Adapters",
                description="When which LoRA adapters last had requests that ran or waited, by server, and "
                "how many a server holds at once. A server of full weights has none.",
                unit="short",
                queries=[now(_ADAPTERS, "adapters")],
                width=16,
            ),
            {
                "namespace": Column(title="Namespace"),
                "finetunejob": Column(title="FineTuneJob"),
                "pod": Column(title="Server"),
                "running_lora_adapters": Column(title="Running"),
                "waiting_lora_adapters": Column(title="Waiting"),
                "max_lora": Column(title="At once"),
                "Value": Column(title="Last seen", unit="dateTimeAsIso"),
            },
            sort="Namespace",
        ),
    ]
