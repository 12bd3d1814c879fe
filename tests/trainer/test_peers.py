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

joined = peers.join(training_config(collective_timeout_seconds=3).training, lambda: [b"token"])
joined.gather(None)

def publish():
    time.sleep(6)  # as while a large model is written
    return "published"

print(joined.told_by_first(publish), flush=True)
if joined.rank == 0:
    os.kill(os.getpid(), 9)
started = time.monotonic()
try:
    joined.told_by_first(publish)
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


TELLING = """
import os
from kubetune_trainer.contract.errors import InvalidInput, TrainerError, VolumeUnusable
from kubetune_trainer.gang import exchange, peers
from tests.support.training_runs import training_config

exchange._PATIENCE = 2.0
rank = int(os.environ["RANK"])
token = b"token"

def tell():
    raise VolumeUnusable("The volume is full.")

try:
    {script}
except TrainerError as error:
    print(type(error).__name__, error, flush=True)
os._exit(0)
"""
_JOIN = "joined = peers.join(training_config(collective_timeout_seconds=60).training, lambda: [{token}])"
_FALSE = _JOIN.format(token="token if rank == 0 else b'guess'")
_UNSIGNED = """
    Sealed = exchange.Exchange._sealed
    exchange.Exchange._sealed = lambda self, value: bytes(32) + Sealed(self, value)[32:] if rank else (
        Sealed(self, value))"""


def told(script: str) -> list[str]:
    """The last line that each of two ranks prints."""
    shared = environment(world_size=2)
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", TELLING.format(script=script)],
            env={**shared, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    return [rank.communicate(timeout=300)[0].splitlines()[-1] for rank in ranks]


def test_ranks_tell_each_other_values_in_order() -> None:
    honest = "lambda: [token] if rank == 0 else [b'another', token]"  # as where a lock was just taken over
    join = f"joined = peers.join(training_config().training, {honest})"
    value = "[rank, 'Zürich', 0.1, None] + ['long'] * rank"
    script = f"{join}; print(joined.gather({value}), joined.broadcast({value}), joined.gather(None))"
    said = (
        "[[0, 'Zürich', 0.1, None], [1, 'Zürich', 0.1, None, 'long']] [0, 'Zürich', 0.1, None] [None, None]"
    )
    assert told(script) == [said, said]


def test_what_rank_0_failed_at_is_the_error_of_all() -> None:
    script = _JOIN.format(token="token") + "; joined.told_by_first(tell)"
    assert told(script) == ["VolumeUnusable The volume is full."] * 2


def test_a_rank_without_the_token_is_not_believed() -> None:
    """One that does not find it gives up; one that pretends to have it is refused before its JSON is read."""
    assert told(f"{_FALSE}; print('joined')") == ["joined", f"TrainerError {REFUSED_RANK}"]
    said = told(f"{_UNSIGNED}\n    {_JOIN.format(token='token')}; print(joined.gather('x'))")
    assert said == [f"TrainerError {REFUSED_RANK}"] * 2


REFUSED_RANK = (
    "A rank sent what does not carry the token of this attempt: another process has taken part under its "
    "number, or the pods do not have the same output volume. Let a NetworkPolicy keep other pods from this "
    "job's, and give it a volume that all its nodes share (ReadWriteMany)."
)

JOIN = """
from kubetune_trainer.gang import peers
from tests.support.training_runs import training_config

print(peers.join(training_config().training, lambda: [b"token"]).world_size)
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
