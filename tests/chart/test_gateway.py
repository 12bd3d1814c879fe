"""The gateway as the chart deploys it: what it runs with, who reaches it, and who is let in by it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import Any

import pytest

from kubetune.process.settings import load as operator_settings
from kubetune.vocabulary import names
from kubetune_gateway.limits.kinds import Limits
from kubetune_gateway.process.settings import PREFIX, Settings, load
from tests.support import chart

WHOLE: dict[str, Any] = chart.CASES["whole-gateway"]["gateway"]

SELECTOR = {
    "app.kubernetes.io/name": "kubetune",
    "app.kubernetes.io/instance": "kubetune",
    "app.kubernetes.io/component": "gateway",
}


def objects(case: str = "gateway", **values: Any) -> list[dict[str, Any]]:
    given = chart.CASES[case]
    return chart.render({**given, **values, "gateway": {**given["gateway"], **values.get("gateway", {})}})


def settings(case: str = "gateway", **values: Any) -> Settings:
    return load(chart.find(objects(case, **values), "ConfigMap", "kubetune-gateway-settings")["data"])


def pod(case: str = "gateway", **values: Any) -> dict[str, Any]:
    deployment = chart.find(objects(case, **values), "Deployment", "kubetune-gateway")
    return dict(deployment["spec"]["template"]["spec"])


def test_there_is_none_unless_asked_for() -> None:
    assert [item for item in chart.render() if "gateway" in item["metadata"]["name"]] == []
    assert operator_settings(chart.variables()).network_policies.gateway is None


def test_the_environment_has_every_setting_in_its_order() -> None:
    text = chart.render_files(chart.CASES["gateway"])["templates/gateway/settings.yaml"]
    found = re.findall(r"^  (KUBETUNE_\w+):", text, flags=re.MULTILINE)
    ports = {"api_port", "metrics_port"}  # of the container: nobody would see another
    assert found == [PREFIX + field.upper() for field in Settings.model_fields if field not in ports]


def test_the_least_values_are_the_gateways_defaults() -> None:
    given = {"models", "lease_namespace"}
    defaults = Settings(storage={"bucket": "clients"})
    assert settings().model_dump(exclude=given) == defaults.model_dump(exclude=given)
    assert settings().lease_namespace == chart.NAMESPACE


def test_every_value_reaches_the_gateway() -> None:
    platform = {
        "settings": {**chart.CASES["whole-gateway"]["settings"], "logFormat": "plain", "logLevel": "DEBUG"}
    }
    assert json.loads(settings("whole-gateway", **platform).model_dump_json(by_alias=True)) == {
        "models": WHOLE["models"],
        "spec": {"training": {"gpusPerNode": 0}},
        "storage": {key: value for key, value in WHOLE["storage"].items() if key != "credentialsSecret"},
        "job_credentials_secret": "openai-files",
        "namespaces": ["team-b"],
        "audiences": ["https://kubetune.example.com"],
        "api_keys": {"enabled": False},
        "limits": asdict(Limits(requests_per_minute=60, file_bytes=5_000_000_000)),
        "webhooks": [
            {
                "namespace": "team-b",
                "url": "https://b.example.com/hook",
                "secretFile": "/etc/kubetune/webhooks/0",
                "events": [
                    "fine_tuning.job.succeeded",
                    "fine_tuning.job.failed",
                    "fine_tuning.job.cancelled",
                ],
            },
            {
                "namespace": "team-b",
                "url": "https://c.example.com",
                "secretFile": "/etc/kubetune/webhooks/1",
                "events": ["fine_tuning.job.failed"],
            },
        ],
        "drain_seconds": 60,
        "lease_name": "kubetune-gateway",
        "lease_namespace": chart.NAMESPACE,
        "api_port": 8080,
        "metrics_port": 9090,
        "log_format": "plain",
        "log_level": "DEBUG",
    }


def test_it_serves_the_namespaces_that_the_operator_watches_unless_told_otherwise() -> None:
    assert settings().namespaces == ()
    watched = {"settings": {"watchNamespaces": ["team-a", "team-b"]}}
    assert settings(**watched).namespaces == ("team-a", "team-b")
    assert settings(**watched, gateway={"namespaces": ["team-a"]}).namespaces == ("team-a",)


def test_keys_of_the_bucket_come_from_a_secret_or_are_the_pods_own() -> None:
    assert "env" not in pod()["containers"][0]
    env = pod("whole-gateway")["containers"][0]["env"]
    assert {item["name"]: item["valueFrom"]["secretKeyRef"] for item in env if "valueFrom" in item} == {
        key: {"name": "s3", "key": key, "optional": key not in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        for key in (
            "AWS_ACCESS_KEY_ID",
            "AWS_ENDPOINT_URL",
            "AWS_REGION",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
        )
    }
    assert [item for item in env if "value" in item] == WHOLE["extraEnv"]


def test_secrets_of_webhooks_are_files_where_the_settings_say() -> None:
    found = pod("whole-gateway")
    [volume] = [volume for volume in found["volumes"] if volume["name"] == "webhooks"]
    assert volume["projected"]["sources"] == [
        {"secret": {"name": "hook", "items": [{"key": "secret", "path": "0"}]}},
        {"secret": {"name": "hook", "items": [{"key": "other", "path": "1"}]}},
    ]
    [mount] = [mount for mount in found["containers"][0]["volumeMounts"] if mount["name"] == "webhooks"]
    assert {mount["mountPath"]} == {
        str(hook.secret_file.parent) for hook in settings("whole-gateway").webhooks
    }


def test_a_pod_ends_after_its_answers_and_before_it_is_killed() -> None:
    found = pod(gateway={"drainSeconds": 100})
    sleep = found["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert found["terminationGracePeriodSeconds"] > 100 + sleep > 100
    assert settings(gateway={"drainSeconds": 100}).drain_seconds == 100


def test_no_service_of_the_namespace_becomes_a_setting() -> None:
    """Kubernetes' variables of a Service kubetune-gateway would begin as the gateway's do."""
    assert pod()["enableServiceLinks"] is False


def test_replicas_are_two_or_as_many_as_the_autoscaler_says() -> None:
    assert chart.find(objects(), "Deployment", "kubetune-gateway")["spec"]["replicas"] == 2
    assert chart.of_kind(objects(), "HorizontalPodAutoscaler") == []
    scaled = objects("whole-gateway")
    assert "replicas" not in chart.find(scaled, "Deployment", "kubetune-gateway")["spec"]
    [scaler] = chart.of_kind(scaled, "HorizontalPodAutoscaler")
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "kubetune-gateway"}
    assert scaler["spec"]["scaleTargetRef"] == target
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 10)


def test_whatever_selects_the_gateway_selects_its_pods_and_no_others() -> None:
    found = objects("whole-gateway")
    deployment = chart.find(found, "Deployment", "kubetune-gateway")["spec"]
    policy = chart.find(found, "NetworkPolicy", "kubetune-gateway")["spec"]
    selectors = [
        deployment["selector"]["matchLabels"],
        deployment["template"]["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
        chart.find(found, "Service", "kubetune-gateway")["spec"]["selector"],
        chart.find(found, "PodDisruptionBudget", "kubetune-gateway")["spec"]["selector"]["matchLabels"],
        policy["podSelector"]["matchLabels"],
        chart.find(found, "PodMonitor", "kubetune-gateway")["spec"]["selector"]["matchLabels"],
    ]
    assert selectors == [SELECTOR] * len(selectors)
    assert deployment["template"]["metadata"]["labels"].items() >= SELECTOR.items()
    for others in (chart.find(found, "Deployment", "kubetune"), chart.find(found, "Pod", "kubetune-test")):
        labels = others.get("spec", {}).get("template", others)["metadata"]["labels"]
        assert not labels.items() >= SELECTOR.items()


def test_clients_reach_the_api_and_prometheus_the_metrics() -> None:
    prometheus = {
        "namespaceSelector": {},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
    }
    policy = chart.find(objects(), "NetworkPolicy", "kubetune-gateway")["spec"]
    assert policy["policyTypes"] == ["Ingress"]
    assert policy["ingress"] == [
        {"from": [{"namespaceSelector": {}}], "ports": [{"protocol": "TCP", "port": "http"}]},
        {"from": [prometheus], "ports": [{"protocol": "TCP", "port": "metrics"}]},
    ]
    ports = {port["name"]: port["containerPort"] for port in pod()["containers"][0]["ports"]}
    assert ports == {"http": settings().api_port, "metrics": settings().metrics_port}


def test_without_readers_of_metrics_nobody_reaches_them() -> None:
    found = objects(settings={"networkPolicies": {"metricsFrom": []}})
    policy = chart.find(found, "NetworkPolicy", "kubetune-gateway")["spec"]
    assert [rule["ports"][0]["port"] for rule in policy["ingress"]] == ["http"]


def test_the_policies_of_jobs_let_the_gateways_pods_in() -> None:
    peer = operator_settings(chart.variables(chart.CASES["gateway"])).network_policies.gateway
    assert peer is not None
    assert peer.manifest() == {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": chart.NAMESPACE}},
        "podSelector": {"matchLabels": SELECTOR},
    }


def test_a_changed_setting_restarts_it_and_nobody_else() -> None:
    def checksums(**gateway: Any) -> list[str]:
        found = chart.of_kind(objects(gateway=gateway), "Deployment")
        return [item["spec"]["template"]["metadata"]["annotations"]["checksum/config"] for item in found]

    before, after = checksums(), checksums(drainSeconds=1)
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, True]


def test_an_ingress_leads_to_the_service() -> None:
    found = objects("whole-gateway")
    [ingress] = chart.of_kind(found, "Ingress")
    service = chart.find(found, "Service", "kubetune-gateway")
    assert (service["spec"]["type"], service["spec"]["ports"]) == (
        "LoadBalancer",
        [{"name": "http", "port": 8080, "targetPort": "http"}],
    )
    [rule] = ingress["spec"]["rules"]
    backend = {"service": {"name": "kubetune-gateway", "port": {"name": "http"}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    assert rule == {"host": "openai.example.com", "http": {"paths": [path]}}
    assert chart.of_kind(objects(), "Ingress") == []


def test_notes_tell_the_base_url() -> None:
    assert "http://kubetune-gateway.kubetune-system/v1" in chart.notes(chart.CASES["gateway"])
    assert "http://kubetune-gateway.kubetune-system:8080/v1" in chart.notes(chart.CASES["whole-gateway"])


@pytest.mark.parametrize("case", ["gateway", "whole-gateway"])
def test_the_gateways_metrics_keep_the_namespace_of_the_job_that_answered(case: str) -> None:
    values = {**chart.CASES[case], "monitoring": {"podMonitors": {"enabled": True}}}
    [endpoint] = chart.find(chart.render(values), "PodMonitor", "kubetune-gateway")["spec"][
        "podMetricsEndpoints"
    ]
    assert endpoint == {"port": names.PORT_METRICS, "honorLabels": True, "path": "/metrics"}
