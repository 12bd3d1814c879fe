"""How NCCL moves gradients, from what it logs at level INFO: one short word for people. Pure.

The lines are those of NCCL 2.18 to 2.32 (``transport/*.cc``, ``init.cc``), for example::

    host:1:257 [0] NCCL INFO NET/IB : Using [0]mlx5_0:1/RoCE [RO]; OOB eth0:10.0.0.7<0>
    host:1:257 [0] NCCL INFO Using network IB
    host:1:257 [0] NCCL INFO comm 0x55 rank 0 nRanks 16 nNodes 2 localRanks 8 localRank 0 MNNVL 0
    host:1:257 [0] NCCL INFO Channel 00/0 : 0[0] -> 1[1] via P2P/CUMEM
    host:1:257 [0] NCCL INFO Channel 00/0 : 8[0] -> 0[0] [receive] via NET/IB/0/GDRDMA
"""

from __future__ import annotations

import re

from ..contract.messages import SOCKETS

_NODES = re.compile(r"nNodes (\d+)")
_CHANNEL = re.compile(r"NCCL INFO Channel \S+ : .* via (P2P|SHM|NET/(.+?)/\d)(\S*)")
_NETWORK = re.compile(r"NCCL INFO Using network (.+?)\s*$", re.MULTILINE)
_ROCE = re.compile(r"NET/IB : Using \[\d+\]\S+/RoCE")
_GPU_DIRECT = re.compile(r"GPU Direct RDMA (?:\(.+?\) )?Enabled")
_NVLS = re.compile(r"[1-9]\d* nvls channels")
_EFA = "Selected provider is efa"


def transport_of(log: str) -> str | None:
    """Between nodes first, then within this one: "InfiniBand (GPUDirect); NVLink within a node".

    P2P is NVLink or PCIe, which the log only tells apart where the links reduce by themselves (NVLS). None
    where the log says nothing: one rank has nobody to talk to.
    """
    channels = list(_CHANNEL.finditer(log))
    within = _within(log, {match[1] for match in channels})
    network = _between(log, channels)
    if network is None:
        return within
    return f"{network}; {within} within a node" if within else network


def _within(log: str, kinds: set[str]) -> str | None:
    peer = ("NVLink" if _NVLS.search(log) else "P2P") if "P2P" in kinds else None
    shared = "SHM" if "SHM" in kinds else None
    return " and ".join(filter(None, (peer, shared))) or None


def _between(log: str, channels: list[re.Match[str]]) -> str | None:
    """The network; None with one node, where NCCL chooses one too, but has no use for it."""
    used = [match for match in channels if match[2]]
    several = any(int(count) > 1 for count in _NODES.findall(log))
    chosen = _NETWORK.findall(log)
    if used:
        name, direct = used[-1][2], any("GDRDMA" in match[3] for match in used)
    elif several and chosen:  # the channels of other ranks of this node lead out of it
        name, direct = chosen[-1], _GPU_DIRECT.search(log) is not None
    else:
        return None
    return _named(name, log) + (" (GPUDirect)" if direct else "")


def _named(name: str, log: str) -> str:
    if name == "Socket":
        return SOCKETS
    if name.startswith("IB"):  # IBext_v8 and the like: the same, from a plugin
        return "RoCE" if _ROCE.search(log) else "InfiniBand"
    if "Libfabric" in name and _EFA in log:
        return "EFA"
    return name
