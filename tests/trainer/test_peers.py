"""What an error of the communication means: a rank that is gone, or a fault of this node."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kubetune_trainer.contract.messages import ExitCode
from kubetune_trainer.gang.peers import explain
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
from kubetune_trainer.gang import peers
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


def environment(*, world_size: int) -> dict[str, str]:
    return {
        **os.environ,
        "DS_ACCELERATOR": "cpu",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }


def test_the_others_wait_for_a_slow_rank_0_but_not_for_a_lost_one() -> None:
    shared = environment(world_size=2)
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", SLOW],
            env={**shared, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [rank.communicate(timeout=300)[0].splitlines() for rank in ranks]
    assert [rank.returncode for rank in ranks] == [-signal.SIGKILL, 0]
    assert said[0][-1:] == ["published"]
    assert said[1][-2:] == ["published", "PeerLost True"]


JOIN = """
from kubetune_trainer.gang import peers
from tests.support.training_runs import training_config

print(peers.join(training_config().training).world_size)
"""


def test_joining_needs_no_compiler(tmp_path: Path) -> None:
    joined = subprocess.run(
        [sys.executable, "-c", JOIN],
        env={
            **environment(world_size=1),
            "RANK": "0",
            "PATH": "/nowhere",
            "TORCH_EXTENSIONS_DIR": str(tmp_path / "compiled"),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert joined.returncode == 0, joined.stderr
    assert joined.stdout.split()[-1:] == ["1"]
    assert not (tmp_path / "compiled").exists()
