"""What an error of the communication means: a rank that is gone, or a fault of this node."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from kubetune_trainer.messages import ExitCode
from kubetune_trainer.peers import explain
from tests.support.training_runs import free_port

pytestmark = pytest.mark.trainer

NCCL = (
    "NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.cpp:94, {what} (run with NCCL_DEBUG=INFO "
    "for details), NCCL version 2.28.9\n{kind}\nLast error:\n{cause}\nException raised from check at x.cpp:94"
)
SYSTEM = (
    "ncclSystemError: System call (e.g. socket, malloc) or external library call failed or device error. "
)


def nccl(what: str, kind: str, cause: str) -> Exception:
    from torch.distributed import DistBackendError

    return DistBackendError(NCCL.format(what=what, kind=kind, cause=cause))


SEGMENT = "Error while creating shared memory segment /dev/shm/nccl-a (size 9637888): No space left on device"
REFUSED = "socketPollConnect: connect to 10.0.0.2 returned Connection refused, exceeded error retry count"
EXITED = "socketProgress: Connection closed by remote peer 10.0.0.2"


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (nccl("unhandled system error", SYSTEM, SEGMENT), 1, ["/dev/shm", SEGMENT, "setting shmSize"]),
        (nccl("unhandled system error", SYSTEM, ""), 1, ["on this node", "setting shmSize"]),
        (nccl("unhandled system error", SYSTEM, REFUSED), ExitCode.PEER_LOST, ["Another rank", REFUSED]),
        (nccl("remote process exited", "ncclRemoteError", EXITED), ExitCode.PEER_LOST, [EXITED]),
        (RuntimeError("[gloo/transport/tcp] Connection closed by peer"), ExitCode.PEER_LOST, ["closed by"]),
    ],
)
def test_errors_of_the_communication_are_told_with_their_cause(
    error: Exception, code: int, says: list[str]
) -> None:
    found = explain(error)
    assert found is not None
    assert found.code == code
    assert all(part in found.message for part in says), found.message


@pytest.mark.parametrize("error", [RuntimeError("shapes do not fit"), ValueError("gloo")])
def test_other_errors_are_not_of_the_communication(error: Exception) -> None:
    assert explain(error) is None


SLOW = """
import os, time
from kubetune_trainer import peers
from tests.support.training_runs import training_config

joined = peers.join(training_config(collective_timeout_seconds=3).training)
joined.gather(None)
if joined.rank == 0:
    time.sleep(6)  # as while a large model is written
print(joined.broadcast("published" if joined.rank == 0 else None, patient=True), flush=True)
if joined.rank == 0:
    os.kill(os.getpid(), 9)
started = time.monotonic()
try:
    joined.broadcast(None, patient=True)
except RuntimeError as error:
    print(type(peers.explain(error)).__name__, time.monotonic() - started < 3, flush=True)
os._exit(0)
"""


def test_the_others_wait_for_a_slow_rank_0_but_not_for_a_lost_one() -> None:
    environment = {
        **os.environ,
        "DS_ACCELERATOR": "cpu",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", SLOW],
            env={**environment, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [rank.communicate(timeout=300)[0].splitlines() for rank in ranks]
    assert [rank.returncode for rank in ranks] == [-signal.SIGKILL, 0]
    assert said[0][-1:] == ["published"]
    assert said[1][-2:] == ["published", "PeerLost True"]
