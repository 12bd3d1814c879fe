"""Runs Prometheus over the cluster's pods, selected as the chart's PodMonitors select them.

Debian's Prometheus knows no PodMonitor, so their selectors are repeated here: change both together. Nor has
it the discovery of pods, so a program of ours stands in for that, with the same labels.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from dev.cluster import ports
from dev.cluster.control_plane import ControlPlane
from dev.cluster.files import ensure_file
from dev.cluster.probes import answers
from dev.cluster.processes import Daemon
from dev.cluster.waiting import wait_for

_STANDARD_PORT = 9090
_DISCOVERY_PORT = 9091
_RETENTION = "2d"
# job name: the pods' labels, and the name of the port to scrape
_SCRAPES: Mapping[str, tuple[Mapping[str, str], str]] = {
    "kubetune-operator": (
        {"app.kubernetes.io/name": "kubetune", "app.kubernetes.io/component": "operator"},
        "metrics",
    ),
    "kubetune-trainer": (
        {
            "app.kubernetes.io/managed-by": "kubetune",
            "kubetune.dev/stage": "train",
            "batch.kubernetes.io/job-completion-index": "0",  # the other ranks' numbers are the same
        },
        "metrics",
    ),
    "kubetune-serving": (
        {"app.kubernetes.io/managed-by": "kubetune", "kubetune.dev/stage": "serve"},
        "http",
    ),
}


def prometheus_url(root: Path) -> str:
    """Return where Prometheus answers, on this machine."""
    return f"http://127.0.0.1:{_port(root, 'prometheus', _STANDARD_PORT)}"


def ensure_prometheus(control_plane: ControlPlane) -> str:
    """Start Prometheus unless it runs, and return its URL when it answers."""
    root = control_plane.instance.root
    discovery = _ensure_discovery(control_plane)
    config = {
        "global": {"scrape_interval": "5s"},
        "scrape_configs": [
            _scrape(job, labels, port, discovery=discovery) for job, (labels, port) in _SCRAPES.items()
        ],
    }
    path = ensure_file(root / "prometheus.yaml", json.dumps(config, indent=2))  # JSON is YAML
    url = prometheus_url(root)
    daemon = Daemon(
        name="prometheus",
        root=root,
        argv=[
            "prometheus",
            f"--config.file={path}",
            f"--storage.tsdb.path={root / 'prometheus'}",
            f"--storage.tsdb.retention.time={_RETENTION}",
            f"--web.listen-address={url.removeprefix('http://')}",
            "--log.level=warn",
        ],
        reads=[path],
    )
    daemon.ensure()
    wait_for("Prometheus", lambda: answers(daemon, f"{url}/-/ready"), seconds=30)
    return url


def _ensure_discovery(control_plane: ControlPlane) -> str:
    """Start the program that tells Prometheus what to scrape, and return its URL."""
    instance = control_plane.instance
    address = f"127.0.0.1:{_port(instance.root, 'pod-targets', _DISCOVERY_PORT)}"
    arguments = [f"--kubeconfig={control_plane.kubeconfig}", f"--address={address}"]
    instance.daemon("pod-targets", arguments).ensure()
    return f"http://{address}/"


def _port(root: Path, name: str, usual: int) -> int:
    """Return the usual port, or another if that was taken when it was first asked for."""
    record = root / f"{name}.port"
    if not record.exists():
        port = ports.free_ports(1)[0] if ports.listeners(usual) else usual
        ensure_file(record, str(port))
    return int(record.read_text())


def _scrape(job: str, labels: Mapping[str, str], port: str, *, discovery: str) -> dict[str, object]:
    wanted = {f"pod_label_{_meta(name)}": value for name, value in labels.items()}
    wanted["pod_container_port_name"] = port
    rules: list[dict[str, object]] = [
        {"action": "keep", "source_labels": [f"__meta_kubernetes_{name}"], "regex": value}
        for name, value in wanted.items()
    ]
    rules.append(
        {"action": "drop", "source_labels": ["__meta_kubernetes_pod_phase"], "regex": "Succeeded|Failed"}
    )
    targets = {
        "namespace": "namespace",
        "pod": "pod_name",
        "container": "pod_container_name",
        "finetunejob": f"pod_label_{_meta('kubetune.dev/finetunejob')}",
    }
    rules += [
        {"source_labels": [f"__meta_kubernetes_{source}"], "target_label": target}
        for target, source in targets.items()
    ]
    source = {"url": discovery, "refresh_interval": "5s"}
    return {"job_name": job, "http_sd_configs": [source], "relabel_configs": rules}


def _meta(label: str) -> str:
    """Return a label's name in the form in which Prometheus' discovery has it."""
    return "".join(letter if letter.isalnum() else "_" for letter in label)
