"""``train``: the container's process. Starts this pod's ranks, watches them, and says how the attempt ended.

There is no torchrun: the operator has already fixed rank and world size, and torchrun's exit code is
always 1. This process never imports torch, so that it can always tell what became of the ranks."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..contract import termination
from ..contract.config import RENDEZVOUS_PORT, TrainerConfig
from ..contract.errors import Preempted
from ..contract.messages import TerminationMessage
from ..store import lock
from ..store.lock import DirectoryLock
from . import cgroup, outcome
from .outcome import RankExit
from .rank_log import RankLog

PEER_GRACE_SECONDS = 10.0
"""After the first failure, the other ranks get this long to say what they saw, then they are killed."""

_ON_GPU = {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}
"""Passes differ in size: without it the allocator keeps pieces that fit none of the next."""

_LOST = signal.SIGUSR1
"""From this process to itself: the lock is lost, and no rank may write any more."""

_SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, _LOST}


@dataclass(slots=True, frozen=True, kw_only=True)
class Placement:
    """Which ranks this pod runs, and where they meet; from the variables that the operator sets."""

    nodes: int
    node: int
    ranks: int
    """Ranks of this pod."""
    address: str
    port: int

    @classmethod
    def of(cls, environment: Mapping[str, str], config: TrainerConfig) -> Placement:
        """Read the placement; without any variable it is one node that meets itself."""
        nodes = int(environment.get("NNODES", "1"))
        port = environment.get("MASTER_PORT") or (RENDEZVOUS_PORT if nodes > 1 else _free_port())
        return cls(
            nodes=nodes,
            node=int(environment.get("JOB_COMPLETION_INDEX", "0")),
            ranks=int(environment.get("NPROC_PER_NODE", config.training.processes_per_node)),
            address=environment.get("MASTER_ADDR", "127.0.0.1"),
            port=int(port),
        )

    def variables(self, local_rank: int) -> dict[str, str]:
        """What torch.distributed, accelerate and DeepSpeed read."""
        return {
            "RANK": str(self.node * self.ranks + local_rank),
            "LOCAL_RANK": str(local_rank),
            "WORLD_SIZE": str(self.nodes * self.ranks),
            "LOCAL_WORLD_SIZE": str(self.ranks),
            "MASTER_ADDR": self.address,
            "MASTER_PORT": str(self.port),
        }


def main(config: TrainerConfig) -> int:
    """Run this pod's ranks to their end, write the termination message, and return the exit code."""
    # Blocked and waited for, instead of handled: nothing is missed, and PID 1 has no default handlers.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    placement = Placement.of(os.environ, config)
    if placement.node:  # only rank 0 commits anything, and the lock is held where it runs
        message, code = _attempt(config, placement, None)
        termination.write(message)
    else:
        own = lock.of(config, "train", os.environ)
        with own.held(lost=lambda _: os.kill(os.getpid(), _LOST), sleep=_sleep):
            message, code = _attempt(config, placement, own)
            termination.write(message)
    return code


def _sleep(seconds: float) -> None:
    if signal.sigtimedwait({signal.SIGTERM, signal.SIGINT}, seconds) is not None:
        raise Preempted("SIGTERM: the pod was stopped while it watched another pod's lock, before training.")


def _attempt(
    config: TrainerConfig, placement: Placement, own: DirectoryLock | None
) -> tuple[TerminationMessage, int]:
    kills_before = cgroup.oom_kills()
    with tempfile.TemporaryDirectory(prefix="kubetune-") as name:
        directory = Path(name)
        outcome.write_config(directory, config)
        variables = {lock.LOCK_VARIABLE: str(own.hold.file)} if own else {}
        logs = [RankLog() for _ in range(placement.ranks)]
        ranks = {
            _start(directory, placement, config, local, logs[local], variables): local
            for local in range(len(logs))
        }
        exits = _supervise(ranks, logs)
        if own and any(end.status for end in exits) and (problem := own.problem()) is not None:
            raise problem
        oom_killed = cgroup.oom_kills() > kills_before
        return outcome.conclude(exits, directory, oom_killed=oom_killed)


def _start(
    directory: Path,
    placement: Placement,
    config: TrainerConfig,
    local_rank: int,
    log: RankLog,
    variables: Mapping[str, str],
) -> int:
    """Start one rank and return its process id."""
    environment = {
        "OMP_NUM_THREADS": str(max(1, cgroup.usable_cores() // placement.ranks)),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",  # deprecations between libraries, which a user can do nothing about
        **(_ON_GPU if config.training.gpus_per_node else {"DS_ACCELERATOR": "cpu"}),
        **os.environ,
        "HF_HUB_OFFLINE": "1",  # prepare has fetched everything; training needs no network but its peers
        **placement.variables(local_rank),
        **variables,
    }
    command = [sys.executable, "-m", "kubetune_trainer.process.rank", str(directory)]
    # posix_spawn and not subprocess: it can set the signal mask. SIGTERM stays blocked, so that one that
    # comes while the rank is starting waits until the rank listens.
    stderr = (os.POSIX_SPAWN_DUP2, log.writer, 2)
    process = os.posix_spawn(
        command[0], command, environment, file_actions=[stderr], setsigmask=[signal.SIGTERM]
    )
    log.started()
    return process


def _supervise(ranks: dict[int, int], logs: Sequence[RankLog]) -> list[RankExit]:
    """Wait for every rank, in the order in which they end; after a failure the others get a grace period."""
    running = dict(ranks)
    exits: list[RankExit] = []
    deadline: float | None = None
    killed = False
    while running:
        if deadline is None or killed:
            arrived = signal.sigwaitinfo(_SIGNALS).si_signo
        else:
            info = signal.sigtimedwait(_SIGNALS, max(0.0, deadline - time.monotonic()))
            arrived = info.si_signo if info else 0
        if arrived in (signal.SIGTERM, signal.SIGINT):
            _signal_all(running, signal.SIGTERM)
        if arrived == _LOST:
            killed = True
            _signal_all(running, signal.SIGKILL)
        for process, status in _reap():
            if process in running:
                local_rank = running.pop(process)
                said = logs[local_rank].end() if status else ""
                exits.append(RankExit(local_rank=local_rank, status=status, said=said, killed_by_us=killed))
        if deadline is None and any(end.status for end in exits):
            deadline = time.monotonic() + PEER_GRACE_SECONDS
        if deadline is not None and not killed and time.monotonic() >= deadline:
            killed = True
            _signal_all(running, signal.SIGKILL)
    return exits


def _signal_all(processes: Mapping[int, int], number: signal.Signals) -> None:
    for process in processes:  # not reaped yet, so the id is still ours
        os.kill(process, number)


def _reap() -> list[tuple[int, int]]:
    """Every child that has ended, orphans of the pod too: PID 1 inherits them."""
    ended: list[tuple[int, int]] = []
    while True:
        try:
            process, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if process == 0:
            return ended
        ended.append((process, os.waitstatus_to_exitcode(status)))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
