"""The dashboard of the gateway: what programs with OpenAI's or Azure's API ask, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from dev.dashboards.board import GATEWAY, board
from dev.dashboards.limits import exactly_one, falling, rising
from dev.dashboards.panels import Panel, graph, number
from dev.dashboards.query import CHOSEN, RATE, Query, increase, now, per_second, quantiles

Panels = Sequence[Builder[models.Panel]]

_REQUESTS: Final = "kubetune_gateway_requests_total"
_SECONDS: Final = "kubetune_gateway_request_duration_seconds"
_FIRST_TOKEN: Final = "kubetune_gateway_time_to_first_token_seconds"
_FAILURES: Final = "kubetune_gateway_dependency_failures_total"
_LEADING: Final = "kubetune_gateway_leading"
_ERRORS: Final = 'code=~"5..",code!="503"'
"""A 503 says that a model is loading, or when to come again."""
_UNFINISHED: Final = 'code=~"499|5.."'
_LOOKS: Final = 'method="GET",route!~".*/content"'
"""Of what only reads: no model answers there, and no client sends or fetches files."""
_ANY_NAMESPACE: Final = "Of all namespaces."


def gateway() -> build.Dashboard:
    """Return the dashboard."""
    return board(
        GATEWAY,
        "KubeTune / Gateway",
        "Requests by OpenAI's and Azure's API: how many, how they end, and how long they take.",
        [],
        [
            ("Now", _now()),
            ("Requests", _requests()),
            ("Models", _answers()),
            ("Files, limits and what is needed", _needs()),
            ("Pods", _pods()),
        ],
        shown="1h",
    )


def _now() -> Panels:
    all_of_them = per_second(_REQUESTS, "")
    return [
        number(
            Panel(
                title="Requests per second",
                description=f"Whatever they asked for, and however they ended. {_ANY_NAMESPACE}",
                unit="reqps",
                queries=[now(all_of_them, "requests")],
                width=4,
                height=4,
            )
        ),
        number(
            Panel(
                title="Errors",
                description="Share of answers of 500 and above. 503 does not count, which says that a model "
                f"is loading, or when to come again. {_ANY_NAMESPACE}",
                unit="percentunit",
                decimals=1,
                queries=[
                    now(
                        f"({per_second(_REQUESTS, _ERRORS)} or 0 * {all_of_them}) / ({all_of_them} > 0)",
                        "errors",
                    )
                ],
                limits=rising(0.01, 0.05),
                width=4,
                height=4,
            )
        ),
        number(
            Panel(
                title="Under way",
                description=f"Requests that are being answered, streams among them. {_ANY_NAMESPACE}",
                unit="short",
                queries=[now("sum(kubetune_gateway_in_flight_requests)", "under way")],
                width=4,
                height=4,
            )
        ),
        number(
            Panel(
                title="Failures of what it needs",
                description="Requests to S3, the API server and servers of models that failed in the time "
                "shown.",
                unit="short",
                decimals=0,
                queries=[now(increase(_FAILURES, "", window="$__range"), "failures")],
                limits=rising(1),
                width=4,
                height=4,
            )
        ),
        number(
            Panel(
                title="Pods",
                description="Pods of the gateway that are scraped. With one alone there is no answer while "
                "its node is drained.",
                unit="short",
                queries=[now(f"count({_LEADING})", "pods")],
                limits=falling(1, 2),
                width=4,
                height=4,
            )
        ),
        number(
            Panel(
                title="Pods that record",
                description="One, whatever number of pods there is: it keeps records of jobs and sends "
                "webhooks. With none these wait.",
                unit="short",
                queries=[now(f"sum({_LEADING})", "recording")],
                limits=exactly_one(),
                width=4,
                height=4,
            )
        ),
    ]


def _requests() -> Panels:
    return [
        graph(
            Panel(
                title="Requests by route",
                description="A route is the same for OpenAI's paths and Azure's; `unknown` is any other "
                "path, and what a limit refused.",
                unit="reqps",
                queries=[Query(per_second(_REQUESTS, "", "route"), "{{route}}")],
                width=12,
            )
        ),
        graph(
            Panel(
                title="Requests by code",
                description="499: the client went away before the end of its answer. 429: beyond a limit. "
                "503: a model is loading, or something that is needed does not answer.",
                unit="reqps",
                queries=[Query(per_second(_REQUESTS, "", "code"), "{{code}}")],
                width=12,
            ),
            stacked=True,
        ),
        graph(
            Panel(
                title="Errors by route",
                description="Answers of 500 and above, and clients that went away (499), in each interval.",
                unit="short",
                decimals=0,
                queries=[
                    Query(f"{increase(_REQUESTS, _UNFINISHED, 'route', 'code')} > 0", "{{code}} {{route}}")
                ],
            ),
            bars=True,
        ),
        graph(
            Panel(
                title="Time of looking something up",
                description="Of requests for jobs, files and models, from head to end: the gateway's own "
                "time, and that of the API server and S3. Answers of models and contents of files are "
                "not in it.",
                unit="s",
                queries=quantiles(_SECONDS, _LOOKS, (0.5, 0.95, 0.99)),
                limits=rising(1),
            )
        ),
        graph(
            Panel(
                title="Time by route, p95",
                description="From a request's head to the end of its answer: of completions it is the "
                "model's time, of files that of the client's connection.",
                unit="s",
                queries=[Query(_by(0.95, _SECONDS, "", "method", "route"), "{{method}} {{route}}")],
            )
        ),
    ]


def _answers() -> Panels:
    return [
        graph(
            Panel(
                title="Time to the first token",
                description="From a request to the first piece of a streamed answer, over all models: "
                "time in the server's queue, of reading the prompt, and of the way there and back.",
                unit="s",
                queries=quantiles(_FIRST_TOKEN, CHOSEN, (0.5, 0.95, 0.99)),
                limits=rising(5),
            )
        ),
        graph(
            Panel(
                title="Time to the first token by model, p95",
                description="The same of each FineTuneJob, or base model by the name that clients ask for.",
                unit="s",
                queries=[
                    Query(_by(0.95, _FIRST_TOKEN, CHOSEN, "namespace", "model"), "{{namespace}}/{{model}}")
                ],
                limits=rising(5),
            )
        ),
        graph(
            Panel(
                title="Tokens per second",
                description="Tokens of prompts and of completions, as servers count them at the end of an "
                "answer.",
                unit="short",
                queries=[
                    Query(
                        per_second("kubetune_gateway_tokens_total", CHOSEN, "namespace", "model", "kind"),
                        "{{namespace}}/{{model}} {{kind}}",
                    )
                ],
            )
        ),
    ]


def _needs() -> Panels:
    return [
        graph(
            Panel(
                title="Uploads",
                description="Bytes of files and parts that clients send.",
                unit="binBps",
                queries=[Query(per_second("kubetune_gateway_uploaded_bytes_total", ""), "uploaded")],
                width=6,
            )
        ),
        graph(
            Panel(
                title="Refused by limits",
                description="Requests beyond `gateway.limits`, by what they met, in each interval.",
                unit="short",
                decimals=0,
                queries=[
                    Query(
                        f"{increase('kubetune_gateway_refused_requests_total', '', 'limit')} > 0", "{{limit}}"
                    )
                ],
                width=6,
            ),
            bars=True,
        ),
        graph(
            Panel(
                title="Failures of what it needs over time",
                description="Requests to S3, the API server and servers of models that failed, in each "
                "interval. The log says why.",
                unit="short",
                decimals=0,
                queries=[Query(f"{increase(_FAILURES, '', 'dependency')} > 0", "{{dependency}}")],
                width=6,
            ),
            bars=True,
        ),
        graph(
            Panel(
                title="Webhooks",
                description="Attempts to tell a receiver that a job has ended, in each interval: "
                "`failed` ones are made again, for a day.",
                unit="short",
                decimals=0,
                queries=[
                    Query(
                        f"{increase('kubetune_gateway_webhook_deliveries_total', '', 'outcome')} > 0",
                        "{{outcome}}",
                    )
                ],
                width=6,
            ),
            bars=True,
        ),
    ]


def _pods() -> Panels:
    return [
        graph(
            Panel(
                title="Requests under way by pod",
                description="Very different numbers: clients keep their connections, and new pods get few.",
                unit="short",
                decimals=0,
                queries=[Query("sum by (pod) (kubetune_gateway_in_flight_requests)", "{{pod}}")],
                width=6,
            )
        ),
        graph(
            Panel(
                title="Processor time",
                description="Processors that a pod uses. It can use one: before that, add pods "
                "(`gateway.replicas`).",
                unit="short",
                queries=[
                    Query(per_second("kubetune_gateway_process_cpu_seconds_total", "", "pod"), "{{pod}}")
                ],
                limits=rising(0.7, 0.9),
                width=6,
            )
        ),
        graph(
            Panel(
                title="Memory",
                description="Resident memory of a pod. It grows with uploads that are under way.",
                unit="bytes",
                queries=[Query("max by (pod) (kubetune_gateway_process_resident_memory_bytes)", "{{pod}}")],
                width=6,
            )
        ),
        graph(
            Panel(
                title="Lateness of the event loop",
                description="So late is all that passes a pod, each token of a stream too.",
                unit="s",
                queries=[Query("max by (pod) (kubetune_gateway_event_loop_lag_seconds)", "{{pod}}")],
                limits=rising(0.02, 0.1),
                width=6,
            )
        ),
    ]


def _by(share: float, histogram: str, where: str, *by: str) -> str:
    """Return a quantile for each of these labels; nothing where nothing was counted."""
    selected = f"{histogram}_bucket{{{where}}}" if where else f"{histogram}_bucket"
    return f"histogram_quantile({share:g}, sum by ({', '.join((*by, 'le'))}) (rate({selected}[{RATE}]))) >= 0"
