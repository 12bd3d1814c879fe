"""Turns the chart's PodMonitors into scrape jobs, as the Prometheus Operator does: what ships is tested.

Only what the chart's PodMonitors say is known here; anything else in one is an error, not left out silently.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dev.cluster import rendered

Rule = dict[str, object]
_LIMITS = {
    "sampleLimit": "sample_limit",
    "labelLimit": "label_limit",
    "labelNameLengthLimit": "label_name_length_limit",
    "labelValueLengthLimit": "label_value_length_limit",
    "bodySizeLimit": "body_size_limit",
}
"""Limits of a monitor, and as Prometheus calls them."""

_SPEC = {"namespaceSelector", "selector", "podMetricsEndpoints", *_LIMITS}
_ENDPOINT = {
    *("port", "path", "interval", "honorLabels", "followRedirects"),
    *("relabelings", "metricRelabelings"),
}
_RULE = {
    "sourceLabels": "source_labels",
    "separator": "separator",
    "targetLabel": "target_label",
    "regex": "regex",
    "modulus": "modulus",
    "replacement": "replacement",
    "action": "action",
}
"""Fields of a relabeling, likewise."""

_POD = "__meta_kubernetes_pod"


def of_chart(helm: Path) -> list[dict[str, Any]]:
    """Return the PodMonitors that this checkout's chart makes, with a gateway."""
    gateway = ("gateway.enabled=true", "gateway.storage.bucket=any")
    return rendered.objects(
        helm, "monitoring/podmonitors.yaml", "monitoring.podMonitors.enabled=true", *gateway
    )


def scrape_jobs(
    monitor: Mapping[str, Any], *, discovery: Mapping[str, object]
) -> Iterator[dict[str, object]]:
    """Return a scrape job for each endpoint of a PodMonitor; ``discovery`` is how its pods are found."""
    meta, spec = monitor["metadata"], monitor["spec"]
    _refuse_unknown(spec, _SPEC)
    for number, endpoint in enumerate(spec["podMetricsEndpoints"]):
        _refuse_unknown(endpoint, _ENDPOINT)
        job: dict[str, object] = {
            "job_name": f"podMonitor/{meta['namespace']}/{meta['name']}/{number}",
            "honor_labels": endpoint.get("honorLabels", False),
            "follow_redirects": endpoint.get("followRedirects", True),
            "metrics_path": endpoint["path"],
            **{theirs: spec[limit] for limit, theirs in _LIMITS.items() if limit in spec},
            **discovery,
            "relabel_configs": [
                *_selection(spec, endpoint, namespace=meta["namespace"]),
                *_labels(endpoint, job=f"{meta['namespace']}/{meta['name']}"),
                *map(_rule, endpoint.get("relabelings", [])),
            ],
        }
        if rules := endpoint.get("metricRelabelings"):
            job["metric_relabel_configs"] = [*map(_rule, rules)]
        if "interval" in endpoint:
            job["scrape_interval"] = endpoint["interval"]
        yield job


def _selection(spec: Mapping[str, Any], endpoint: Mapping[str, Any], *, namespace: str) -> Iterator[Rule]:
    selector = spec.get("namespaceSelector", {})
    if not selector.get("any"):
        yield _keep("__meta_kubernetes_namespace", "|".join(selector.get("matchNames", [namespace])))
    _refuse_unknown(spec["selector"], {"matchLabels"})
    for name, value in spec["selector"]["matchLabels"].items():
        yield _keep(f"{_POD}_label_{_sanitized(name)}", value)
    yield _keep(f"{_POD}_container_port_name", endpoint["port"])
    yield {"action": "drop", "source_labels": [f"{_POD}_phase"], "regex": "(Failed|Succeeded)"}


def _labels(endpoint: Mapping[str, Any], *, job: str) -> Iterator[Rule]:
    yield _copy("__meta_kubernetes_namespace", "namespace")
    yield _copy(f"{_POD}_container_name", "container")
    yield _copy(f"{_POD}_name", "pod")
    yield {"target_label": "job", "replacement": job}
    yield {"target_label": "endpoint", "replacement": endpoint["port"]}


def _rule(relabeling: Mapping[str, Any]) -> Rule:
    _refuse_unknown(relabeling, set(_RULE))
    rule: Rule = {_RULE[name]: value for name, value in relabeling.items()}
    return rule | ({"action": str(rule["action"]).lower()} if "action" in rule else {})


def _keep(label: str, value: str) -> Rule:
    return {"action": "keep", "source_labels": [label], "regex": f"({value})"}


def _copy(source: str, target: str) -> Rule:
    return {"source_labels": [source], "target_label": target}


def _sanitized(label: str) -> str:
    """Return a label's name in the form in which Prometheus has it."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in label)


def _refuse_unknown(given: Mapping[str, Any], known: Sequence[str] | set[str]) -> None:
    if unknown := sorted(set(given) - set(known)):
        raise NotImplementedError(f"PodMonitors have {', '.join(unknown)} now: translate it here")
