"""Takes the cluster away, from whatever state it is in, and keeps the caches.

Nothing is asked to end gently except what writes into a cache: the rest is thrown away.
"""

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

from dev import paths, progress, shell
from dev.cluster import binaries, leftovers, network, processes
from dev.cluster.containerd import Containerd
from dev.cluster.lock import locked

_KEEP_CACHES_WHOLE = ("registry", "s3")
_RESTARTS_PODS = ("kubelet", "kube-controller-manager")


def down() -> None:
    """Remove everything of every instance from the machine."""
    with locked("cluster"):
        root = paths.cluster_state()
        with progress.step("Stop the pods"):
            _stop_pods(root)
        with progress.step("Stop the cluster"):
            for name in _KEEP_CACHES_WHOLE:
                processes.stop(root, name)
            for each in leftovers.instance_roots():
                processes.kill_marked(each)
        with progress.step("Remove mounts, control groups, network and state"):
            _unmount(root)
            _remove_cgroups()
            _remove_packet_filter()
            network.remove_network(root)
            for path in leftovers.files():
                path.unlink(missing_ok=True)
            for folder in leftovers.SHARED_FOLDERS:
                with contextlib.suppress(OSError):
                    folder.rmdir()
            for each in leftovers.instance_roots():
                shutil.rmtree(each, ignore_errors=True)


def down_control_plane() -> None:
    """Remove the control plane that runs beside the cluster."""
    with locked("cluster"), progress.step("Stop the control plane"):
        processes.kill_marked(paths.control_plane_state())
        shutil.rmtree(paths.control_plane_state(), ignore_errors=True)


def _stop_pods(root: Path) -> None:
    for name in _RESTARTS_PODS:
        processes.stop(root, name, seconds=0)
    deadline = time.monotonic() + 10
    while (pids := leftovers.cgroup_processes()) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    containerd = Containerd(root, binaries=binaries.locate())
    if containerd.socket.exists():
        with contextlib.suppress(shell.CommandError):  # it is dead: the next `up` forgets its containers
            containerd.remove_containers()
    processes.stop(root, "containerd")


def _unmount(root: Path) -> None:
    while points := leftovers.mounts(
        root
    ):  # none may be left, or its content would be deleted with the state
        for point in points:
            shell.output(["umount", "--lazy", point])


def _remove_cgroups() -> None:
    for group in leftovers.pod_cgroups():
        for folder, _, _ in os.walk(group, topdown=False):
            Path(folder).rmdir()


def _remove_packet_filter() -> None:
    if leftovers.another_kubelet_runs() or not any(network.rules("KUBE-")):
        return
    proxy = binaries.locate().program("kube-proxy")
    if proxy.exists():
        shell.succeeds([proxy, "--cleanup"])
    network.remove_chains("KUBE-")  # the ones that kube-proxy forgets, or all if its program is gone
