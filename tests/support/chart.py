"""Renders the chart without a cluster."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

import helm_python
import yaml

from dev.chart import CHART

RELEASE = "kubetune"
NAMESPACE = "kubetune-system"
NVIDIA: dict[str, Any] = yaml.safe_load((CHART / "examples" / "nvidia.yaml").read_text())

CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "nvidia": NVIDIA,
    "namespaced": {"settings": {"watchNamespaces": ["team-a", "team-b"]}},
    "monitoring": {
        "monitoring": {
            "podMonitors": {"enabled": True},
            "rules": {
                "enabled": True,
                "runbookUrl": "https://docs.example.com/kubetune",
                "labels": {"team": "ml"},
                "disabled": ["KubeTuneServerSlow", "KubeTuneOperatorBlind"],
                "thresholds": {"jobWaiting": "1h", "workAtRiskSeconds": 3600.5},
            },
            "dashboards": {"enabled": True, "annotations": {"grafana_folder": "KubeTune"}},
            "additionalLabels": {"release": "prometheus"},
            "interval": "15s",
        }
    },
    "namespaced-monitoring": {
        "settings": {"watchNamespaces": ["team-a"]},
        "monitoring": {"podMonitors": {"enabled": True}},
    },
    "relabelled-monitoring": {
        "monitoring": {
            "podMonitors": {
                "enabled": True,
                "relabelings": [{"targetLabel": "cluster", "replacement": "eu-1"}],
                "metricRelabelings": [
                    {"action": "Drop", "sourceLabels": ["__name__"], "regex": "vllm:.+_bucket"}
                ],
            }
        },
    },
    "replicated": {"replicas": 2, "settings": {"leaseName": "tuner", "leaseNamespace": "team-a"}},
    "policies": {
        "settings": {
            "allowedImages": ["registry.example.com/ml/*", "python"],
            "allowedServiceAccounts": ["trainer-*", "nlp"],
            "allowedTokenAudiences": ["sts.example.com"],
            "allowedCsiDrivers": ["secrets-store.csi.k8s.io"],
        },
        "policies": {
            "operator": {"namespaceLabel": "example.com/gpu-team"},
            "labels": {"users": ["system:serviceaccount:backup:backup"]},
            "images": {"enabled": True},
            "serviceAccounts": {"enabled": True, "byNamespace": {"team-b": ["trainer-b"]}},
            "gpus": {"maxPerJob": 8},
            "promote": {"enabled": True, "users": ["jane"], "groups": ["reviewers"]},
        },
    },
    "gateway": {
        "gateway": {
            "enabled": True,
            "models": {"gpt-4o-mini": "hf://Qwen/Qwen3-8B"},
            "storage": {"bucket": "clients"},
        },
    },
    "whole-gateway": {
        "settings": {"watchNamespaces": ["team-a", "team-b"]},
        "monitoring": {"podMonitors": {"enabled": True}},
        "gateway": {
            "enabled": True,
            "models": {
                "gpt-4o-mini": {
                    "uri": "s3://models/base",
                    "url": "http://base.models:8000/v1",
                    "servedName": "base",
                }
            },
            "spec": {"training": {"gpusPerNode": 0}, "serving": None},
            "storage": {
                "bucket": "clients",
                "prefix": "openai/",
                "endpoint": "https://s3.example.com",
                "region": "eu-1",
                "credentialsSecret": "s3",
            },
            "jobCredentialsSecret": "openai-files",
            "namespaces": ["team-b"],
            "audiences": ["https://kubetune.example.com"],
            "apiKeys": {"enabled": False},
            "limits": {"requestsPerMinute": 60, "fileBytes": 5_000_000_000},
            "webhooks": [
                {"namespace": "team-b", "url": "https://b.example.com/hook", "secretName": "hook"},
                {
                    "namespace": "team-b",
                    "url": "https://c.example.com",
                    "secretName": "hook",
                    "secretKey": "other",
                    "events": ["fine_tuning.job.failed"],
                },
            ],
            "drainSeconds": 60,
            "autoscaling": {"enabled": True},
            "service": {
                "type": "LoadBalancer",
                "port": 8080,
                "annotations": {"example.com/internal": "true"},
            },
            "ingress": {
                "enabled": True,
                "className": "nginx",
                "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "0"},
                "hosts": ["openai.example.com"],
                "tls": [{"hosts": ["openai.example.com"], "secretName": "tls"}],
            },
            "networkPolicy": {"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
            "serviceAccount": {"name": "openai", "annotations": {"example.com/role": "bucket"}},
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "edge", "operator": "Exists"}],
            "affinity": {"podAntiAffinity": {}},
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
            ],
            "priorityClassName": "system-cluster-critical",
            "podAnnotations": {"example.com/note": "a note"},
            "podLabels": {"example.com/team": "ml"},
            "extraEnv": [{"name": "AWS_CA_BUNDLE", "value": "/ca/ca.crt"}],
            "extraEnvFrom": [{"configMapRef": {"name": "of-the-platform", "optional": True}}],
            "extraVolumes": [{"name": "ca", "emptyDir": {}}],
            "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
        },
    },
    "openshift": {"settings": {"runAsUser": None, "fsGroup": None}},
    "everything": {
        "settings": {"imagePullSecrets": ["registry-credentials"]},
        "crds": {"keep": False},
        "serviceAccount": {"name": "tuner", "annotations": {"example.com/role": "tuner"}},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]}]
                }
            }
        },
        "priorityClassName": "system-cluster-critical",
        "podAnnotations": {"example.com/note": "a note"},
        "podLabels": {"example.com/team": "ml"},
    },
    "extras": {
        "global": {
            "imageRegistry": "mirror.example.com:5000/all/",
            "imagePullSecrets": [{"name": "mirror"}, "registry-credentials"],
        },
        "replicas": 2,
        "settings": {"imagePullSecrets": ["registry-credentials", {"name": "other"}]},
        "monitoring": {"podMonitors": {"enabled": True}, "additionalLabels": {"release": "prometheus"}},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
        ],
        "terminationGracePeriodSeconds": 0,
        "revisionHistoryLimit": 0,
        "deploymentAnnotations": {"example.com/reload": "true"},
        "extraEnv": [{"name": "TZ", "value": "UTC"}],
        "extraEnvFrom": [{"configMapRef": {"name": "of-the-platform", "optional": True}}],
        "extraVolumes": [{"name": "cache", "emptyDir": {"sizeLimit": "1Gi"}}],
        "extraVolumeMounts": [{"name": "cache", "mountPath": "/var/cache"}],
        "commonLabels": {"example.com/cost-center": "42", "release": "of-everything"},
        "commonAnnotations": {"example.com/owner": "ml-platform"},
        "extraObjects": [
            """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "kubetune.fullname" . }}-extra
  namespace: {{ .Release.Namespace }}
data:
  workers: {{ .Values.settings.workers | quote }}
""",
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "legends", "namespace": NAMESPACE},
                "data": {"legend": "{{ finetunejob }}"},
            },
        ],
    },
}
"""Values that together reach every branch of the templates."""


def render(
    values: dict[str, Any] | None = None, *, name: str = RELEASE, namespace: str = NAMESPACE
) -> list[dict[str, Any]]:
    """Return all objects of a release, hooks included."""
    return copy.deepcopy(_objects(json.dumps(values or {}), name, namespace))


def render_files(values: dict[str, Any] | None = None, *, name: str = RELEASE) -> dict[str, str]:
    """Return the rendered manifests by the path of their template below the chart; NOTES.txt is left out."""
    rendered = dict(_rendered(json.dumps(values or {}), name, NAMESPACE))
    del rendered["templates/NOTES.txt"]
    return rendered


def notes(values: dict[str, Any] | None = None) -> str:
    """Return what `helm install` prints."""
    return _rendered(json.dumps(values or {}), RELEASE, NAMESPACE)["templates/NOTES.txt"]


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Return the objects of one kind."""
    return [item for item in objects if item["kind"] == kind]


def find(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """Return the object of that kind and name."""
    return next(item for item in of_kind(objects, kind) if item["metadata"]["name"] == name)


def variables(values: dict[str, Any] | None = None) -> dict[str, str]:
    """Return the operator's KUBETUNE_* variables."""
    return dict(find(render(values), "ConfigMap", "kubetune-settings")["data"])


@cache  # many tests look at the same release
def _rendered(values: str, name: str, namespace: str) -> dict[str, str]:
    with helm_python.Chart.load(CHART) as chart:
        rendered = chart.render(json.loads(values), name=name, namespace=namespace)
    return {path.removeprefix("kubetune/"): text for path, text in rendered.items()}


@cache
def _objects(values: str, name: str, namespace: str) -> list[dict[str, Any]]:
    rendered = _rendered(values, name, namespace)
    texts = [text for path, text in rendered.items() if not path.endswith("NOTES.txt")]
    return [item for text in texts for item in _parse(text)]


@cache  # the CRD is most of a release, and the same in all
def _parse(text: str) -> list[dict[str, Any]]:
    return [item for item in yaml.load_all(text, yaml.CSafeLoader) if item]
