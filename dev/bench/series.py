"""Made-up series of many jobs, as operator, trainers and servers tell them, for a Prometheus of its own.

They are written as OpenMetrics, of which promtool makes blocks: hours of series within a minute.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

NAMESPACES: Final = ("team-nlp", "team-search", "team-support", "research", "demo")
_STAGES: Final = (
    ("done", "Serving"),
    ("done", "Completed"),
    ("train", "Training"),
    ("train", "Unschedulable"),
    ("prepare", "Preparing"),
    ("evaluate", "Evaluating"),
    ("train", "RetriesExhausted"),
    ("serve", "Deploying"),
)
_MODELS: Final = ("meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen3-4B", "mistralai/Mistral-7B-Instruct-v0.3")
_OPERATORS: Final = ("kubetune-6b7f-a", "kubetune-6b7f-b")
_GATEWAYS: Final = ("kubetune-gateway-5d9c-a", "kubetune-gateway-5d9c-b")
_ROUTES: Final = (
    ("POST", "/chat/completions", "200", 9.0, 1.4),
    ("POST", "/chat/completions", "499", 0.1, 1.4),
    ("POST", "/chat/completions", "503", 0.2, 1.4),
    ("GET", "/fine_tuning/jobs/{id_}", "200", 2.0, 0.02),
    ("GET", "/fine_tuning/jobs", "200", 0.5, 0.06),
    ("POST", "/files", "200", 0.02, 9.0),
    ("POST", "/files", "500", 0.01, 9.0),
    ("GET", "/files", "200", 0.2, 0.2),
    ("GET", "unknown", "404", 0.05, 0.01),
)
"""Method, template and code of requests, how many there are in a second, and their mean time."""
_STEP_BOUNDS: Final = (0.5, 1, 2.5, 5, 10)
_REQUEST_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_LOOK_BOUNDS: Final = (0.005, 0.025, 0.1, 0.5, 2.5)

_TRAININGS: Final = 160
"""Of jobs, the first that may train, a quarter of them at once:"""
_SERVERS: Final = 320
"""and the first that may have a server, an eighth."""
RECORDED: Final = Path(__file__).parent / "recorded" / "vllm-0.32.0.txt"
"""The /metrics of the demo's server."""

Sample = tuple[str, Mapping[str, str], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """How much there is."""

    jobs: int
    start: int
    end: int
    """In Unix seconds."""
    every: int = 60
    """Seconds between two scrapes."""

    @property
    def scrapes(self) -> range:
        """Their times."""
        return range(self.start, self.end + 1, self.every)


def write(fleet: Fleet, path: Path, scrapes: Iterable[int]) -> int:
    """Write the samples of these scrapes and return how many there are."""
    count = 0
    with path.open("w") as file:
        for time in scrapes:
            share = (time - fleet.start) / (fleet.end - fleet.start)
            for name, labels, value in _samples(fleet, time, share):
                shown = ",".join(f'{key}="{text}"' for key, text in labels.items())
                file.write(f"{name}{{{shown}}} {value:.13g} {time}\n")
                count += 1
        file.write("# EOF\n")
    return count


def job_of(number: int) -> dict[str, str]:
    """Return the labels of a job."""
    return {"namespace": NAMESPACES[number % len(NAMESPACES)], "finetunejob": f"job-{number:04}"}


def _samples(fleet: Fleet, time: int, share: float) -> Iterator[Sample]:
    yield from _operators(time - fleet.start, share)
    yield from _gateways(time - fleet.start)
    conditions: dict[tuple[str, str], int] = {}
    for number in range(fleet.jobs):
        stage, reason = _stage(number, share)
        yield from _job(number, stage, reason, share)
        # Few of many: where there are servers and trainings, each has many series of its own.
        if reason == "Training" and number < _TRAININGS:
            yield from _trainer(number, time, share)
        if reason == "Serving" and number < _SERVERS:
            yield from _server(number, share)
        condition = (
            "Stalled" if reason == "RetriesExhausted" else "Ready" if stage == "done" else "Reconciling"
        )
        key = job_of(number)["namespace"], condition
        conditions[key] = conditions.get(key, 0) + 1
    for (namespace, condition), count in conditions.items():
        yield "kubetune_jobs", _acting({"namespace": namespace, "condition": condition}), count


def _stage(number: int, share: float) -> tuple[str, str]:
    """Return where a job is; some of them go on meanwhile."""
    if number % 5 == 3:
        return ("prepare", "Preparing") if share < 0.3 else ("train", "Training")
    return _STAGES[number % len(_STAGES)]


def _acting(labels: Mapping[str, str]) -> dict[str, str]:
    return {**labels, "pod": _OPERATORS[0], "instance": "10.0.0.1:8080", "job": "kubetune-operator"}


def _job(number: int, stage: str, reason: str, share: float) -> Iterator[Sample]:
    job = job_of(number)

    def one(name: str, value: float, **labels: str) -> Sample:
        return f"kubetune_{name}", _acting(job | labels), value

    gpus = (1, 2, 4, 8)[number % 4]
    hours = 3600.0 * gpus * (1 + number % 7)
    yield one("job_info", 1, model=_MODELS[number % 3], use_case=("triage", "search")[number % 2])
    yield one("job_state", 1, stage=stage, reason=reason)
    yield one("job_attempts", 1 + (number % 9 == 0))
    yield one("job_run_failures", float(number % 9 == 0), stage="train")
    yield one("job_run_interruptions", float(number % 6 == 0), stage="train")
    yield one("job_gpus", gpus * (reason in ("Training", "Serving")), state="used")
    yield one("job_gpus", gpus * (reason == "Unschedulable"), state="waiting")
    for place, ran in enumerate(("prepare", "train", "evaluate")):
        yield one("job_gpu_seconds", hours * (0, 0.8, 0.2)[place] * (0.5 + share / 2), stage=ran)
        yield one("job_pod_seconds", hours * (0.02, 0.8, 0.3)[place] * (0.5 + share / 2), stage=ran)
    yield one("job_cost", hours / 3600 * 2.5 * (0.5 + share / 2), currency="USD")
    yield one(
        "job_progress_ratio", 1 if stage in ("done", "serve", "evaluate") else share * (stage == "train")
    )
    for candidate, score in (("Base", 0.31), ("FewShot", 0.52), ("Tuned", 0.87)):
        yield one("evaluation_score", score - number % 5 / 50, candidate=candidate, metric="ExactMatch")
    # One that is trained anew is served meanwhile.
    if reason in ("Serving", "Deploying") or (reason == "Training" and number % 8 == 2):
        yield one("job_servers", 1, state="wanted")
        yield one("job_servers", float(reason == "Serving"), state="ready")


def _trainer(number: int, time: int, share: float) -> Iterator[Sample]:
    labels = {**job_of(number), "pod": f"job-{number:04}-train-1-0", "instance": f"10.1.0.{number}:9400"}

    def one(name: str, value: float, **others: str) -> Sample:
        return f"kubetune_train_{name}", labels | others, value

    wave = math.sin(time / 97 + number)
    step = 1000 * share
    yield one("loss", 0.4 + 1.6 * math.exp(-3 * share) + 0.04 * wave)
    yield one("validation_loss", 0.5 + 1.5 * math.exp(-3 * share) + 0.1 * share)
    yield one("full_validation_loss", 0.52 + 1.5 * math.exp(-3 * share))
    yield one("mean_token_accuracy", 0.9 - 0.4 * math.exp(-3 * share))
    yield one("learning_rate", 2e-4 * min(1, share * 20) * (1 - share))
    yield one("grad_norm", 0.6 + 0.2 * wave)
    yield one("tokens_per_second", 5200 + 300 * wave)
    yield one("step", step)
    yield one("planned_steps", 1000)
    yield one("best_step", step // 50 * 50)
    yield one("epoch", 3 * share)
    yield one("memory_peak_bytes", 61e9)
    yield one("last_checkpoint_timestamp_seconds", time - time % 900)
    yield one("volume_size_bytes", 200e9)
    yield one("volume_free_bytes", 200e9 - 150e9 * share)
    steps, saves = (f"kubetune_train_{name}_duration_seconds" for name in ("step", "checkpoint"))
    yield from _histogram(steps, labels, step, 1.8, _STEP_BOUNDS)
    yield from _histogram(saves, labels, time // 900, 3, _STEP_BOUNDS)


def _server(number: int, share: float) -> Iterator[Sample]:
    """What vLLM told after two hundred requests, as if they came again and again."""
    pod = f"job-{number:04}-54cf765c5f-{number:05}"
    labels = {**job_of(number), "pod": pod, "instance": f"10.2.0.{number}:8000"}
    for name, own, value, grows in _recorded():
        yield name, {**own, **labels}, value * (1 + 20 * share) if grows else value


@cache
def _recorded() -> list[tuple[str, dict[str, str], float, bool]]:
    """Return each series of a real server, with its value and whether it only ever grows."""
    families = text_string_to_metric_families(RECORDED.read_text())
    return [
        (sample.name, dict(sample.labels), sample.value, family.type in ("counter", "histogram", "summary"))
        for family in families
        for sample in family.samples
    ]


def _histogram(
    name: str, labels: Mapping[str, str], count: float, mean: float, bounds: Iterable[float]
) -> Iterator[Sample]:
    for bound in (*bounds, math.inf):
        share = 1 - math.exp(-((bound / mean) ** 2))
        le = "+Inf" if bound == math.inf else f"{bound:g}"
        yield f"{name}_bucket", {**labels, "le": le}, count * share
    yield f"{name}_sum", labels, count * mean
    yield f"{name}_count", labels, count


def _operators(age: int, share: float) -> Iterator[Sample]:
    for place, pod in enumerate(_OPERATORS):
        where = {"pod": pod, "namespace": "kubetune-system", "instance": f"10.0.0.{place + 1}:8080"}
        acts = place == 0

        def one(name: str, value: float, where: Mapping[str, str] = where, **labels: str) -> Sample:
            return f"kubetune_{name}", {**where, **labels}, value

        wave = 1 + math.sin(age / 600)
        yield one("leader", float(acts))
        yield one("build_info", 1, version="0.1.0")
        yield one("workqueue_depth", acts * 6 * wave)
        yield one("workqueue_oldest_age_seconds", acts * 4 * wave)
        yield one("event_loop_lag_seconds", 0.002 * wave)
        yield one("watch_restarts_total", age // 600 * acts, resource="pods")
        yield one("events_total", age // 900 * acts, type="Warning", reason="Unschedulable")
        yield one("events_total", age // 2400 * acts, type="Warning", reason="PodFailed")
        yield one("events_total", age // 60 * acts, type="Normal", reason="Training")
        yield one("reconcile_total", age * 1.2 * acts, result="ok")
        yield one("reconcile_total", age // 300 * acts, result="retry")
        yield one("kube_requests_total", age * 0.01 * acts, verb="patch", resource="finetunejobs", code="409")
        looks = "kubetune_reconcile_duration_seconds"
        yield from _histogram(looks, where, age * 1.2 * acts, 0.03, _LOOK_BOUNDS)


def _gateways(age: int) -> Iterator[Sample]:
    for place, pod in enumerate(_GATEWAYS):
        wave = 1 + 0.5 * math.sin(age / 900 + place)
        instance = {"pod": pod, "instance": f"10.3.0.{place + 1}:9090", "job": "kubetune-gateway"}
        where = {"namespace": "kubetune-system", **instance}

        def one(name: str, value: float, where: Mapping[str, str] = where, **labels: str) -> Sample:
            return f"kubetune_gateway_{name}", {**where, **labels}, value

        times: dict[tuple[str, str], tuple[float, float]] = {}
        for method, route, code, rate, mean in _ROUTES:
            yield one("requests_total", age * rate, method=method, route=route, code=code)
            counted, _ = times.get((method, route), (0.0, mean))
            times[method, route] = counted + age * rate, mean
        for (method, route), (count, mean) in times.items():
            labels = {**where, "method": method, "route": route}
            yield from _histogram(
                "kubetune_gateway_request_duration_seconds", labels, count, mean, _REQUEST_BOUNDS
            )
        yield one("in_flight_requests", 12 * wave)
        yield one("leading", float(place == 0))
        yield one("event_loop_lag_seconds", 0.002 * wave)
        yield one("uploaded_bytes_total", age * 2e6)
        yield one("refused_requests_total", age // 400, limit="rate")
        yield one("dependency_failures_total", age // 1200, dependency="s3")
        yield one("dependency_failures_total", 0, dependency="api_server")
        yield one("webhook_deliveries_total", age // 500 * (place == 0), outcome="delivered")
        yield one("webhook_deliveries_total", age // 1700 * (place == 0), outcome="failed")
        yield one("process_cpu_seconds_total", age * (0.2 + 0.03 * place))
        yield one("process_resident_memory_bytes", 150e6 + 20e6 * wave)
        for number in (0, 8):
            name = job_of(number)
            told = {**instance, "namespace": name["namespace"], "model": name["finetunejob"]}
            yield from _histogram(
                "kubetune_gateway_time_to_first_token_seconds", told, age * 2.0, 0.4, _REQUEST_BOUNDS
            )
            yield "kubetune_gateway_tokens_total", {**told, "kind": "prompt"}, age * 900.0
            yield "kubetune_gateway_tokens_total", {**told, "kind": "completion"}, age * 400.0
