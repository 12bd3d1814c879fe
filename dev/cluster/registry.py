"""Runs the image registry that builds push to and the node pulls from. It needs no cluster."""

from dev import paths
from dev.cluster import ports
from dev.cluster.files import ensure_file
from dev.cluster.lock import locked
from dev.cluster.packages import ensure_packages
from dev.cluster.probes import answers
from dev.cluster.processes import Daemon
from dev.cluster.waiting import wait_for

ADDRESS = f"127.0.0.1:{ports.REGISTRY}"

_CONFIG = """\
version: 0.1
storage:
  filesystem: {{rootdirectory: {data}}}
  delete: {{enabled: true}}
http: {{addr: "{address}"}}
"""


def ensure_registry() -> str:
    """Start the registry unless it runs, and return its address when it answers."""
    ensure_packages(("docker-registry",))
    root = paths.cluster_state()
    config = ensure_file(root / "registry.yaml", _CONFIG.format(data=paths.registry_data(), address=ADDRESS))
    daemon = Daemon(name="registry", root=root, argv=["docker-registry", "serve", config], reads=[config])
    with locked("registry"):
        daemon.ensure()

    wait_for("the image registry", lambda: answers(daemon, f"http://{ADDRESS}/v2/"), seconds=30)
    return ADDRESS
