"""Runs a containerd of the cluster's own, beside one that the system may have, and gives it its images.

Root, state, socket, runtime state and CNI configuration are all in our folders: nothing under /etc is read.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from dev import paths, shell
from dev.cluster.binaries import Binaries
from dev.cluster.files import ensure_file
from dev.cluster.image_archive import write_archive
from dev.cluster.network import BRIDGE, NODE_ADDRESS, POD_CIDR
from dev.cluster.processes import Daemon
from dev.cluster.registry import ADDRESS as REGISTRY
from dev.cluster.waiting import wait_for

NETWORK = "kubetune"  # the CNI network's name, which its results' file names begin with
_CNI_PROGRAMS = "/usr/lib/cni"
_IPV6 = Path("/proc/sys/net/ipv6")

_CONFIG = """\
version = 2
root = "{store}"
state = "{root}/containerd"
# Not needed here, and the last one would make /opt/containerd.
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.opt",
]
[grpc]
address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
# Where CAP_SYS_RESOURCE is missing, no process may be made less likely to be killed, and without this every
# sandbox fails with "can't get final child's PID from pipe: EOF".
restrict_oom_score_adj = true
# Not in /run/netns, where other runtimes keep theirs under names that look the same.
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{cni_programs}"
conf_dir = "{root}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "{root}/runc"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{root}/registries"
"""


def started(container: str) -> float | None:
    """Return when a container of the local cluster started, in seconds since the epoch; None for any other.

    The API tells whole seconds only, rounded down.
    """
    status = paths.image_store() / "io.containerd.grpc.v1.cri" / "containers" / container / "status"
    try:
        return float(json.loads(status.read_bytes())["StartedAt"]) / 1e9
    except (OSError, ValueError, KeyError):
        return None


class Containerd:
    """The container runtime of the instance whose state is in `root`."""

    def __init__(self, root: Path, *, binaries: Binaries) -> None:
        self.socket = root / "containerd.sock"
        self._root = root
        self._binaries = binaries
        # The version is the folder's name: a new one makes new images.
        self.pause_image = f"kubetune.local/pause:{binaries.folder.name}"
        self.coredns_image = f"kubetune.local/coredns:{binaries.folder.name}"

    def ensure(self) -> None:
        """Start it unless it runs, and return when it answers and has the cluster's own images."""
        self.start()
        self._ensure_image(self.pause_image, "pause")
        self._ensure_image(self.coredns_image, "coredns")

    def start(self) -> None:
        """Start it unless it runs, and return when it answers. It needs no program of ours for that."""
        daemon = self._describe()
        daemon.ensure()

        def answers() -> bool:
            daemon.check()
            return shell.succeeds([*self._ctr(), "version"])

        wait_for("containerd", answers, seconds=30)

    def pull(self, image: str) -> None:
        """Fetch an image and unpack it, unless that is done."""
        if not self._has(image):
            hosts = ("--hosts-dir", self._root / "registries")
            shell.run([*self._ctr(), "images", "pull", *hosts, image], log=self._root / "logs" / "pulls.log")

    def import_archive(self, archive: Path) -> None:
        """Take an image from a file, under the names that the file says."""
        shell.run([*self._ctr(), "images", "import", archive], log=self._root / "logs" / "pulls.log")

    def image_names(self) -> list[str]:
        """Return the names of all images that the node has."""
        return self._list("images")

    def remove_images(self, names: Sequence[str]) -> None:
        """Forget images by their names; what no image has any more is collected later."""
        if names:
            shell.output([*self._ctr(), "images", "rm", *names])

    def remove_containers(self) -> bool:
        """Forget all containers, whose processes have ended. Tell whether there were any."""
        for task in self._list("tasks"):
            shell.succeeds([*self._ctr(), "tasks", "rm", "--force", task])
        containers = self._list("containers")
        if containers:
            shell.succeeds([*self._ctr(), "containers", "rm", *containers])
        return bool(containers)

    def _list(self, kind: str) -> list[str]:
        return shell.output([*self._ctr(), kind, "ls", "-q"]).split()

    def _describe(self) -> Daemon:
        root = self._root
        config = _CONFIG.format(
            store=paths.image_store(),
            root=root,
            socket=self.socket,
            pause=self.pause_image,
            cni_programs=_CNI_PROGRAMS,
        )
        # Read at each pull, so containerd need not start again for it.
        hosts = f'server = "http://{REGISTRY}"\n[host."http://{REGISTRY}"]\n'
        ensure_file(root / "registries" / REGISTRY / "hosts.toml", hosts)
        ensure_file(root / "cni" / f"{NETWORK}.conflist", json.dumps(_cni(root), indent=2))
        path = ensure_file(root / "containerd.toml", config)
        return Daemon(name="containerd", root=root, argv=["containerd", "--config", path], reads=[path])

    def _ensure_image(self, image: str, program: str) -> None:
        if self._has(image):
            return
        archive = self._root / f"{program}.tar"
        write_archive(archive, image=image, program=self._binaries.program(program))
        shell.output([*self._ctr(), "images", "import", archive])
        archive.unlink()

    def _has(self, image: str) -> bool:
        return bool(shell.output([*self._ctr(), "images", "ls", "-q", f"name=={image}"]).strip())

    def _ctr(self) -> list[str | Path]:
        return ["ctr", "--address", self.socket, "--namespace", "k8s.io"]


def _cni(root: Path) -> dict[str, object]:
    """Describe the pods' network: the bridge that we made, and addresses counted in a folder of ours."""
    addresses = {
        "type": "host-local",
        "dataDir": str(root / "addresses"),
        "ranges": [[{"subnet": POD_CIDR, "gateway": NODE_ADDRESS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "ipMasq": False,  # it would add a chain per pod; one rule of ours does it for all
        "hairpinMode": True,  # a pod reaches itself through its Service
        "ipam": addresses,
    }
    # The kernel gives each pod an address of IPv6 too: neighbours reach it there, and no policy protects it.
    only_ipv4 = {"type": "tuning", "sysctl": {"net.ipv6.conf.IFNAME.disable_ipv6": "1"}}
    plugins = [bridge, only_ipv4] if _IPV6.exists() else [bridge]
    return {"cniVersion": "1.0.0", "name": NETWORK, "plugins": plugins}
