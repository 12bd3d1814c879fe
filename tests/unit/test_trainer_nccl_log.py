"""NCCL's transport in a word, from lines as NCCL writes them (versions 2.20 to 2.31, abridged)."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubetune_trainer.gang.nccl_debug import NcclDebug
from kubetune_trainer.gang.nccl_log import transport_of

INFINIBAND = """\
node-a:985:985 [0] NCCL INFO NCCL version 2.29.7+cuda13.0
node-a:985:1263 [0] NCCL INFO NET/Plugin: Could not find: libnccl-net.so
node-a:985:1263 [0] NCCL INFO NET/IB : Using [0]mlx5_0:1/IB [1]mlx5_1:1/IB [RO]; OOB eth0:10.0.4.19<0>
node-a:985:1263 [0] NCCL INFO Initialized NET plugin IB
node-a:985:1263 [0] NCCL INFO Using network IB
node-a:985:1263 [0] NCCL INFO comm 0x276ecff0 rank 0 nRanks 16 nNodes 2 localRanks 8 localRank 0 MNNVL 0
node-a:985:1263 [0] NCCL INFO NET/IB : GPU Direct RDMA Enabled for HCA 0 'mlx5_0'
node-a:985:1263 [0] NCCL INFO 16 coll channels, 16 collnet channels, 16 nvls channels, 16 p2p channels
node-a:985:1263 [0] NCCL INFO Channel 07/0 : 0[0] -> 8[0] [receive] via NET/IB/3/GDRDMA
node-a:985:1263 [0] NCCL INFO Channel 00/0 : 8[0] -> 0[0] [send] via NET/IB/2(1)/GDRDMA/Shared
node-a:985:1263 [0] NCCL INFO Channel 00/0 : 0[0] -> 1[1] via P2P/CUMEM
"""
RING_ENDS_ELSEWHERE = """\
node-a:985:1263 [0] NCCL INFO NET/IB : Using [0]mlx5_0:1/RoCE [RO]; OOB eth0:10.0.4.7<0>
node-a:985:1263 [0] NCCL INFO Using network IB
node-a:985:1263 [0] NCCL INFO comm 0x276ecff0 rank 0 nRanks 16 nNodes 2 localRanks 8 localRank 0 MNNVL 0
node-a:985:1263 [0] NCCL INFO 2 coll channels, 0 collnet channels, 0 nvls channels, 2 p2p channels
node-a:985:1263 [0] NCCL INFO Channel 00/0 : 0[0] -> 7[7] via P2P/IPC/read
"""
SOCKETS = """\
lsp-ws1:7650:7708 [0] NCCL INFO NET/IB : No device found.
lsp-ws1:7650:7708 [0] NCCL INFO NET/IB : Using [RO]; OOB eth0:10.168.3.28<0>
lsp-ws1:7650:7708 [0] NCCL INFO Failed to initialize NET plugin IB
lsp-ws1:7650:7708 [0] NCCL INFO NET/Socket : Using [0]eth0:10.168.3.28<0> [1]eth1:10.168.3.28<0>
lsp-ws1:7650:7708 [0] NCCL INFO Using network Socket
lsp-ws1:7650:7708 [0] NCCL INFO Channel 00/02 :    0   7   6   5   4   3   2   1   8  15  14  13  12
lsp-ws1:7650:7708 [0] NCCL INFO Channel 00/0 : 9[51000] -> 0[4b000] [receive] via NET/Socket/0
lsp-ws1:7650:7708 [0] NCCL INFO Channel 00/0 : 0[4b000] -> 7[cf000] via P2P/IPC/read
"""
EFA = """\
worker-0:53:323 [0] NCCL INFO NET/OFI Selected provider is efa, fabric is efa-direct (found 16 nics)
worker-0:53:323 [0] NCCL INFO Using network Libfabric
worker-0:53:323 [0] NCCL INFO comm 0x276ecff0 rank 0 nRanks 2 nNodes 2 localRanks 1 localRank 0 MNNVL 0
worker-0:53:323 [0] NCCL INFO Channel 00/0 : 1[0] -> 0[0] [receive] via NET/AWS Libfabric/0/GDRDMA
"""
PLUGIN = """\
kolyoz1:27255:27906 [0] NCCL INFO Channel 00/0 : 4[0] -> 0[0] [receive] via NET/IBext_v8/0/GDRDMA
kolyoz1:27224:27909 [2] NCCL INFO Channel 02/0 : 2[2] -> 0[0] via P2P/CUMEM
"""
ONE_NODE = """\
lab:1425048:1425048 [0] NCCL INFO NET/Socket : Using [0]enp129s0:128.114.59.195<0>
lab:1425048:1425048 [0] NCCL INFO Using network Socket
lab:1425:1425 [0] NCCL INFO comm 0x5967f7993f30 rank 0 nRanks 8 nNodes 1 localRanks 8 localRank 0 MNNVL 0
lab:1425048:1425048 [0] NCCL INFO Channel 00/0 : 0[0] -> 1[1] via P2P/CUMEM/read
"""
SHARED_MEMORY = """\
node-0-0:192:1188 [0] NCCL INFO Channel 00 : 3[3] -> 2[2] via SHM/direct/direct
node-0-0:192:1188 [0] NCCL INFO Channel 01 : 2[2] -> 1[1] via SHM/direct/direct
"""
ONE_RANK = """\
bench:1:1 [0] NCCL INFO NET/Socket : Using [0]eth0:10.56.0.6<0>
bench:1:1 [0] NCCL INFO Using network Socket
bench:1:1 [0] NCCL INFO comm 0x59e6b47a3b40 rank 0 nRanks 1 nNodes 1 localRanks 1 localRank 0 MNNVL 0
"""


@pytest.mark.parametrize(
    ("log", "transport"),
    [
        (INFINIBAND, "InfiniBand (GPUDirect); NVLink within a node"),
        (INFINIBAND.replace("/GDRDMA", ""), "InfiniBand; NVLink within a node"),
        (RING_ENDS_ELSEWHERE, "RoCE; P2P within a node"),
        (
            RING_ENDS_ELSEWHERE
            + "a:1:2 [0] NCCL INFO NET/IB : GPU Direct RDMA (DMA-BUF) Enabled for HCA 0 'x'\n",
            "RoCE (GPUDirect); P2P within a node",
        ),
        (SOCKETS, "Sockets; P2P within a node"),
        (EFA, "EFA (GPUDirect)"),
        (PLUGIN, "InfiniBand (GPUDirect); P2P within a node"),
        (ONE_NODE, "P2P"),
        (SHARED_MEMORY, "SHM"),
        (SHARED_MEMORY + ONE_NODE, "P2P and SHM"),
        (ONE_RANK, None),
        ("", None),
    ],
    ids=[
        "ib",
        "ib-staged",
        "roce",
        "roce-dmabuf",
        "tcp",
        "efa",
        "plugin",
        "p2p",
        "shm",
        "both",
        "one",
        "empty",
    ],
)
def test_the_transport_in_a_word(log: str, transport: str | None) -> None:
    assert transport_of(log) == transport


def test_the_log_is_asked_for_read_once_and_removed() -> None:
    environment: dict[str, str] = {}
    debug = NcclDebug(environment)
    file = Path(environment.pop("NCCL_DEBUG_FILE"))
    assert environment == {"NCCL_DEBUG": "INFO", "NCCL_DEBUG_SUBSYS": "INIT,NET,ENV"}
    file.write_text(SOCKETS)
    assert debug.transport() == "Sockets; P2P within a node"
    assert not file.parent.exists()
    assert debug.transport() is None


def test_a_log_that_was_never_written_is_no_error() -> None:
    assert NcclDebug({}).transport() is None


def test_who_wants_the_log_keeps_it() -> None:
    environment = {"NCCL_DEBUG": "WARN"}
    assert NcclDebug(environment).transport() is None
    assert environment == {"NCCL_DEBUG": "WARN"}
