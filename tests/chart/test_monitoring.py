"""PodMonitors select the pods that serve metrics, by labels and port names."""

from __future__ import annotations

import re
from typing import Any

from kubetune.vocabulary import names
from tests.support import chart

META = "__meta_kubernetes_pod_label_"
LIMITS = {
    "sampleLimit": 5000,
    "labelLimit": 100,
    "labelNameLengthLimit": 256,
    "labelValueLengthLimit": 2048,
    "bodySizeLimit": "8MB",
}
"""What one scrape of a pod may bring whose image a job's owner chose."""

JOB = {"sourceLabels": [META + re.sub(r"[^a-z]", "_", names.LABEL_JOB)], "targetLabel": "finetunejob"}
"""The job's name under the label by which the operator's own series have it."""


def test_there_are_none_unless_asked_for() -> None:
    assert chart.of_kind(chart.render(), "PodMonitor") == []


def test_the_operators_monitor_selects_its_pod_and_port() -> None:
    objects = chart.render(chart.CASES["monitoring"])
    template = chart.find(objects, "Deployment", "kubetune")["spec"]["template"]
    spec = monitors("monitoring")["kubetune-operator"]["spec"]
    assert spec["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    ports = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
    assert {endpoint["port"] for endpoint in spec["podMetricsEndpoints"]} <= ports


def test_the_operators_series_keep_the_namespace_of_the_jobs_that_they_count() -> None:
    [endpoint] = monitors("monitoring")["kubetune-operator"]["spec"]["podMetricsEndpoints"]
    assert endpoint == {
        "port": names.PORT_METRICS,
        "honorLabels": True,
        "path": "/metrics",
        "interval": "15s",
    }


def test_the_trainers_monitor_selects_rank_0_of_every_namespace() -> None:
    assert monitors("monitoring")["kubetune-trainer"]["spec"] == {
        "namespaceSelector": {"any": True},
        "selector": {
            "matchLabels": {
                names.LABEL_MANAGED_BY: names.MANAGED_BY,
                names.LABEL_STAGE: "train",
                "batch.kubernetes.io/job-completion-index": "0",
            }
        },
        "podMetricsEndpoints": [
            {
                "port": names.PORT_METRICS,
                "honorLabels": False,
                "followRedirects": False,
                "path": "/metrics",
                "interval": "15s",
                "relabelings": [JOB],
            }
        ],
        **LIMITS,
    }


def test_the_servers_monitor_selects_vllm() -> None:
    assert monitors("monitoring")["kubetune-serving"]["spec"] == {
        "namespaceSelector": {"any": True},
        "selector": {"matchLabels": {names.LABEL_MANAGED_BY: names.MANAGED_BY, names.LABEL_STAGE: "serve"}},
        "podMetricsEndpoints": [
            {
                "port": names.PORT_HTTP,
                "honorLabels": False,
                "followRedirects": False,
                "path": "/metrics",
                "interval": "15s",
                "relabelings": [JOB],
            }
        ],
        **LIMITS,
    }


def test_no_pod_of_a_job_brings_unbounded_series_or_names_them_itself_or_leads_elsewhere() -> None:
    found = monitors("monitoring")
    del found["kubetune-operator"]
    for monitor in found.values():
        spec = monitor["spec"]
        assert {limit: spec.get(limit) for limit in LIMITS} == LIMITS
        for endpoint in spec["podMetricsEndpoints"]:
            assert (endpoint["honorLabels"], endpoint["followRedirects"]) == (False, False)


def test_a_platform_chooses_the_limits() -> None:
    given = {"sampleLimit": 1_000_000, "labelLimit": 0, "bodySizeLimit": "0"}
    values = {"monitoring": {"podMonitors": {"enabled": True, "limits": given}}}
    spec = chart.find(chart.render(values), "PodMonitor", "kubetune-serving")["spec"]
    assert {limit: spec[limit] for limit in LIMITS if limit in spec} == {
        "sampleLimit": 1_000_000,
        "labelNameLengthLimit": 256,
        "labelValueLengthLimit": 2048,
    }


def test_a_platform_relabels_what_every_monitor_brings() -> None:
    cluster = {"targetLabel": "cluster", "replacement": "eu-1"}
    found = {
        name: [(end["relabelings"], end["metricRelabelings"]) for end in m["spec"]["podMetricsEndpoints"]]
        for name, m in monitors("relabelled-monitoring").items()
    }
    dropped = [{"action": "Drop", "sourceLabels": ["__name__"], "regex": "vllm:.+_bucket"}]
    assert found == {
        "kubetune-operator": [([cluster], dropped)],
        "kubetune-trainer": [([JOB, cluster], dropped)],
        "kubetune-serving": [([JOB, cluster], dropped)],
    }


def test_namespaced_mode_monitors_only_the_watched_namespaces() -> None:
    found = monitors("namespaced-monitoring")
    for name in ("kubetune-trainer", "kubetune-serving"):
        assert found[name]["spec"]["namespaceSelector"] == {"matchNames": ["team-a"]}


def test_prometheus_finds_the_monitors_by_additional_labels() -> None:
    found = monitors("monitoring").values()
    assert [monitor["metadata"]["labels"]["release"] for monitor in found] == ["prometheus"] * 3


def monitors(case: str) -> dict[str, dict[str, Any]]:
    found = chart.of_kind(chart.render(chart.CASES[case]), "PodMonitor")
    return {monitor["metadata"]["name"]: monitor for monitor in found}
