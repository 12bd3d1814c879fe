"""Runs Prometheus over the cluster's pods, as the chart's PodMonitors and PrometheusRule say.

There is no Prometheus Operator here, so scrape jobs and the file of rules are made by us; nor has Debian's
Prometheus the discovery of pods: a program of ours stands in for that, with the same labels (decision 0026).
"""

import json
from pathlib import Path

from dev.cluster import pod_monitors, ports, rendered
from dev.cluster.control_plane import ControlPlane
from dev.cluster.files import ensure_file
from dev.cluster.probes import answers
from dev.cluster.processes import Daemon
from dev.cluster.waiting import wait_for

_STANDARD_PORT = 9090
_DISCOVERY_PORT = 9091
_RETENTION = "2d"


def prometheus_url(root: Path) -> str:
    """Return where Prometheus answers, on this machine."""
    return f"http://127.0.0.1:{_port(root, 'prometheus', _STANDARD_PORT)}"


def ensure_prometheus(control_plane: ControlPlane) -> str:
    """Start Prometheus unless it runs, and return its URL when it answers."""
    root = control_plane.instance.root
    source = {"url": _ensure_discovery(control_plane), "refresh_interval": "5s"}
    discovery = {"http_sd_configs": [source]}
    helm = control_plane.instance.binaries.program("helm")
    rules = ensure_file(root / "prometheus-rules.yaml", json.dumps(_rules(helm), indent=2))  # JSON is YAML
    config = {
        "global": {"scrape_interval": "5s", "evaluation_interval": "15s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            job
            for monitor in pod_monitors.of_chart(helm)
            for job in pod_monitors.scrape_jobs(monitor, discovery=discovery)
        ],
    }
    path = ensure_file(root / "prometheus.yaml", json.dumps(config, indent=2))
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
        reads=[path, rules],
    )
    daemon.ensure()
    wait_for("Prometheus", lambda: answers(daemon, f"{url}/-/ready"), seconds=30)
    return url


def _rules(helm: Path) -> dict[str, object]:
    """Return the PrometheusRule of this checkout's chart in the format of Prometheus' own files."""
    made = rendered.objects(helm, "monitoring/rules.yaml", "monitoring.rules.enabled=true")
    return {"groups": [group for rule in made for group in rule["spec"]["groups"]]}


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
