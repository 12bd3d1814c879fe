"""The local Prometheus scrapes what the chart's PodMonitors say."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from dev.cluster.pod_monitors import scrape_jobs
from tests.support import chart

DISCOVERY = {"http_sd_configs": [{"url": "http://127.0.0.1:9091/"}]}
PHASE = "__meta_kubernetes_pod_phase"


def monitors(case: str = "monitoring") -> dict[str, dict[str, Any]]:
    found = chart.of_kind(chart.render(chart.CASES[case]), "PodMonitor")
    return {monitor["metadata"]["name"]: monitor for monitor in found}


def scrape(monitor: dict[str, Any]) -> dict[str, Any]:
    [job] = scrape_jobs(monitor, discovery=DISCOVERY)
    return job


def kept(job: dict[str, Any]) -> dict[str, str]:
    return {
        rule["source_labels"][0].removeprefix("__meta_kubernetes_"): rule["regex"]
        for rule in job["relabel_configs"]
        if rule.get("action") == "keep"
    }


def test_a_monitor_becomes_a_scrape_job() -> None:
    assert scrape(monitors()["kubetune-trainer"]) == {
        "job_name": "podMonitor/kubetune-system/kubetune-trainer/0",
        "honor_labels": False,
        "follow_redirects": False,
        "metrics_path": "/metrics",
        "sample_limit": 5000,
        "label_limit": 100,
        "label_name_length_limit": 256,
        "label_value_length_limit": 2048,
        "body_size_limit": "8MB",
        "scrape_interval": "15s",
        **DISCOVERY,
        "relabel_configs": [
            *(
                {"action": "keep", "source_labels": [f"__meta_kubernetes_pod_{label}"], "regex": f"({value})"}
                for label, value in {
                    "label_app_kubernetes_io_managed_by": "kubetune",
                    "label_kubetune_dev_stage": "train",
                    "label_batch_kubernetes_io_job_completion_index": "0",
                    "container_port_name": "metrics",
                }.items()
            ),
            {"action": "drop", "source_labels": [PHASE], "regex": "(Failed|Succeeded)"},
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {"source_labels": ["__meta_kubernetes_pod_container_name"], "target_label": "container"},
            {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
            {"target_label": "job", "replacement": "kubetune-system/kubetune-trainer"},
            {"target_label": "endpoint", "replacement": "metrics"},
            {
                "source_labels": ["__meta_kubernetes_pod_label_kubetune_dev_finetunejob"],
                "target_label": "finetunejob",
            },
        ],
    }


def test_the_operator_is_looked_for_in_its_own_namespace_and_its_labels_are_kept() -> None:
    job = scrape(monitors()["kubetune-operator"])
    assert job["honor_labels"] is True
    assert job["follow_redirects"] is True
    assert "sample_limit" not in job
    assert kept(job)["namespace"] == "(kubetune-system)"


def test_namespaces_that_are_named_are_the_only_ones() -> None:
    job = scrape(monitors("namespaced-monitoring")["kubetune-serving"])
    assert kept(job)["namespace"] == "(team-a)"
    assert "scrape_interval" not in job


def test_relabelings_of_a_platform_are_translated() -> None:
    job = scrape(monitors("relabelled-monitoring")["kubetune-serving"])
    assert job["relabel_configs"][-2:] == [
        {
            "source_labels": ["__meta_kubernetes_pod_label_kubetune_dev_finetunejob"],
            "target_label": "finetunejob",
        },
        {"target_label": "cluster", "replacement": "eu-1"},
    ]
    assert job["metric_relabel_configs"] == [
        {"action": "drop", "source_labels": ["__name__"], "regex": "vllm:.+_bucket"}
    ]


@pytest.mark.parametrize("where", ["endpoint", "relabeling"])
def test_what_is_not_translated_is_an_error(where: str) -> None:
    monitor = copy.deepcopy(monitors()["kubetune-serving"])
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    (endpoint if where == "endpoint" else endpoint["relabelings"][0])["scheme"] = "https"
    with pytest.raises(NotImplementedError, match="scheme"):
        scrape(monitor)
