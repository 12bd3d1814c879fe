"""Finds what the cluster has put on the machine: `down` removes it, `check-clean` lists it."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from dev import paths
from dev.cluster import network, ports, processes, temporary
from dev.cluster.containerd import NETWORK

_CGROUPS = Path("/sys/fs/cgroup")
_CONTAINER_LOGS = Path("/var/log/containers")
_CNI_RESULTS = Path("/var/lib/cni/results")
_PLUGINS_SOCKET = Path("/var/lib/kubelet/device-plugins/kubelet.sock")  # whatever kubelet's own folder is
_SHIM_SOCKETS = Path("/run/containerd/s")  # whatever containerd's own folders are
# Each is removed only when it is empty: a system's own runtime or kubelet may use it too.
SHARED_FOLDERS = (
    _CNI_RESULTS,
    _CNI_RESULTS.parent,
    _CONTAINER_LOGS,
    _SHIM_SOCKETS,
    _SHIM_SOCKETS.parent,
    _PLUGINS_SOCKET.parent,
    _PLUGINS_SOCKET.parent.parent,
)


def instance_roots() -> list[Path]:
    """Return the state folders of all instances, except of temporary ones that are in use."""
    return [paths.cluster_state(), paths.control_plane_state(), *temporary.abandoned_folders()]


def another_kubelet_runs() -> bool:
    """Tell whether the machine is another cluster's node: what all kubelets name alike is then not ours."""
    return not ports.listeners(ports.KUBELET) <= set(processes.marked(paths.cluster_state()))


def mounts(root: Path) -> list[Path]:
    """Return the mount points under a folder, the innermost first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        # A space, among others, is written as its octal number.
        point = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), line.split()[4]))
        if point.is_relative_to(root):
            found.append(point)
    return found[::-1]


def pod_cgroups() -> list[Path]:
    """Return the control groups that kubelet made for pods, one per hierarchy."""
    if another_kubelet_runs():
        return []
    candidates = [_CGROUPS / "kubepods", *(entry / "kubepods" for entry in _CGROUPS.iterdir())]
    return [path for path in candidates if path.is_dir() and not path.parent.is_symlink()]


def cgroup_processes() -> set[int]:
    """Return the processes in pods."""
    found: set[int] = set()
    for group in pod_cgroups():
        for folder, _, _ in os.walk(group):
            found.update(int(pid) for pid in _lines(Path(folder) / "cgroup.procs"))
    return found


def files() -> list[Path]:
    """Return files in folders that are not ours, which nobody else will remove."""
    state = paths.cluster_state()
    logs = [
        link
        for link in _children(_CONTAINER_LOGS)
        if link.is_symlink() and link.readlink().is_relative_to(state)
    ]
    sockets = [_PLUGINS_SOCKET, *_children(_SHIM_SOCKETS)]
    return [*logs, *_cni_results(state), *_unserved(sockets)]


def _cni_results(state: Path) -> list[Path]:
    """Return what CNI has noted about our pods. Only one of a pod's two files names our network."""
    ours = [path for path in _children(_CNI_RESULTS) if path.name.startswith(f"{NETWORK}-")]
    pods = {path.name.split("-")[1] for path in ours}
    pods |= {path.name for path in state.glob("containerd/io.containerd.grpc.v1.cri/sandboxes/*")}
    loopback = [_CNI_RESULTS / f"cni-loopback-{pod}-lo" for pod in sorted(pods)]
    return ours + [path for path in loopback if path.exists()]


def _unserved(sockets: list[Path]) -> list[Path]:
    """Return the sockets that nobody listens on: whoever made them was killed."""
    served = {line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()}
    return [path for path in sockets if path.is_socket() and str(path) not in served]


def report() -> Iterator[str]:
    """Say what is left on the machine, one line for each thing."""
    for root in instance_roots():
        for pid in processes.marked(root):
            yield f"process {pid} of {root}"
        for point in mounts(root):
            yield f"mount {point}"
        if root.exists():
            yield f"folder {root}"
    for group in pod_cgroups():
        yield f"control group {group}"
    if network.bridge_exists():
        yield f"network interface {network.BRIDGE}"
    for rule in network.rules("KUBETUNE-", *([] if another_kubelet_runs() else ["KUBE-"])):
        yield f"packet filter: {rule}"
    for path in files():
        yield f"file {path}"


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:  # the group has just gone, or is threaded
        return []
