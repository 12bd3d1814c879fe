"""Runs the agent that enforces NetworkPolicies: the packet filter asks it about new connections (network.py).

While it does not run nobody answers, and pods make no new connection (decision 0122).
"""

from pathlib import Path

from dev.cluster.control_plane import ControlPlane
from dev.cluster.network import NODE_ADDRESS, POD_CIDR, POLICY_QUEUE
from dev.cluster.waiting import wait_for

_QUEUES = Path("/proc/net/netfilter/nfnetlink_queue")


def ensure_policies(control_plane: ControlPlane) -> None:
    """Start the agent unless it runs, and return when it answers."""
    arguments = [
        f"--kubeconfig={control_plane.kubeconfig}",
        f"--pod-cidr={POD_CIDR}",
        f"--node-address={NODE_ADDRESS}",
        f"--queue={POLICY_QUEUE}",
    ]
    daemon = control_plane.instance.daemon("policy-agent", arguments)
    daemon.ensure()

    def answers() -> bool:
        daemon.check()
        return _has_reader(POLICY_QUEUE)

    wait_for(f"the policy agent, whose log is {daemon.log}", answers, seconds=60)


def _has_reader(queue: int) -> bool:
    """Tell whether a program reads a queue of the packet filter; the kernel lists only those."""
    return any(int(line.split()[0]) == queue for line in _QUEUES.read_text().splitlines())
