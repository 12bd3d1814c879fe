"""One pod, several ranks, one cause; and what the kernel's counters add to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kubetune_trainer.contract.messages import ExitCode, Reason, TerminationMessage
from kubetune_trainer.process import cgroup
from kubetune_trainer.process.launch import Placement
from kubetune_trainer.process.outcome import RankExit, conclude, write_outcome
from kubetune_trainer.process.rank_log import RankLog
from tests.support.training_runs import training_config

LEFT = {
    0: TerminationMessage(reason=Reason.COMPLETED, message="Training completed at step 9.", step=9),
    42: TerminationMessage(reason=Reason.INVALID_INPUT, message="Wrong.", step=0),
    44: TerminationMessage(reason=Reason.PREEMPTED, message="SIGTERM.", step=7),
    45: TerminationMessage(reason=Reason.NUMERICAL_FAILURE, message="NaN.", step=7),
    46: TerminationMessage(reason=Reason.PEER_LOST, message="Lost.", step=7),
}


def end(
    directory: Path, *statuses: tuple[int, int], oom: bool = False, ours: int | None = None
) -> tuple[int, Reason]:
    """Conclude from (local rank, status) in the order in which they ended."""
    exits = []
    for local_rank, status in statuses:
        if status in LEFT:
            write_outcome(directory, local_rank, LEFT[status])
        exits.append(RankExit(local_rank=local_rank, status=status, killed_by_us=local_rank == ours))
    message, code = conclude(exits, directory, oom_killed=oom)
    return int(code), message.reason


def test_all_ranks_completed(tmp_path: Path) -> None:
    assert end(tmp_path, (1, 0), (0, 0)) == (0, Reason.COMPLETED)


@pytest.mark.parametrize("code", [42, 44, 45, 46])
def test_the_first_failure_is_the_cause(tmp_path: Path, code: int) -> None:
    assert end(tmp_path, (1, code), (0, code)) == (code, LEFT[code].reason)


def test_a_lost_peer_is_an_echo_even_when_it_is_seen_first(tmp_path: Path) -> None:
    assert end(tmp_path, (0, 46), (1, 45)) == (45, Reason.NUMERICAL_FAILURE)


def test_a_lost_peer_is_an_echo_of_a_kill(tmp_path: Path) -> None:
    assert end(tmp_path, (0, 46), (1, -9)) == (137, Reason.UNKNOWN)


def test_a_rank_that_this_process_killed_is_no_cause(tmp_path: Path) -> None:
    assert end(tmp_path, (0, 46), (1, -9), ours=1) == (46, Reason.PEER_LOST)


def test_a_kill_is_out_of_memory_only_when_the_kernel_counted_it(tmp_path: Path) -> None:
    assert end(tmp_path, (1, -9), (0, 46), oom=True) == (ExitCode.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY)
    assert end(tmp_path, (1, 45), (0, 46), oom=True) == (45, Reason.NUMERICAL_FAILURE)


def test_a_rank_without_an_outcome_is_unknown_at_the_step_of_the_others(tmp_path: Path) -> None:
    write_outcome(tmp_path, 0, LEFT[46])
    exits = [RankExit(local_rank=1, status=-11), RankExit(local_rank=0, status=46)]
    message, code = conclude(exits, tmp_path, oom_killed=False)
    assert (code, message.reason, message.step) == (139, Reason.UNKNOWN, 7)
    assert message.message.startswith("Local rank 1 was killed by signal 11 (SIGSEGV)")


WATCHDOG = """[rank1]:[E1124 ProcessGroupNCCL.cpp:700] [Rank 1] Watchdog caught collective operation \
timeout: WorkNCCL(SeqNum=7, OpType=ALLREDUCE, Timeout(ms)=1800000) ran for 1800021 milliseconds.
terminate called after throwing an instance of 'c10::DistBackendError'
"""


def test_an_abort_by_the_watchdog_is_a_lost_peer(tmp_path: Path) -> None:
    aborted = RankExit(local_rank=1, status=-6, said=WATCHDOG)
    message, code = conclude([aborted], tmp_path, oom_killed=False)
    assert (code, message.reason) == (ExitCode.PEER_LOST, Reason.PEER_LOST)
    assert "did not answer local rank 1 in time: Watchdog caught" in message.message
    assert "OpType=ALLREDUCE" in message.message

    write_outcome(tmp_path, 0, LEFT[45])
    message, code = conclude([aborted, RankExit(local_rank=0, status=45)], tmp_path, oom_killed=False)
    assert (code, message.reason) == (45, Reason.NUMERICAL_FAILURE)


def test_what_a_rank_prints_is_passed_on_and_its_end_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    log = RankLog()
    printed = "".join(f"line {number}\n" for number in range(10_000))
    command = [sys.executable, "-c", "import sys; sys.stderr.write(sys.stdin.read())"]
    subprocess.run(command, input=printed, stderr=log.writer, text=True, check=True)
    log.started()
    kept = log.end()
    assert capfd.readouterr().err == printed
    assert len(kept) > 10_000
    assert printed.endswith(kept)


def test_any_other_abort_is_told_with_the_last_line_of_the_log(tmp_path: Path) -> None:
    aborted = RankExit(local_rank=0, status=-6, said="loading\nterminate called: bad_alloc\n\n")
    message, code = conclude([aborted], tmp_path, oom_killed=False)
    assert (code, message.reason) == (134, Reason.UNKNOWN)
    assert message.message.endswith("its log ends with: terminate called: bad_alloc")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"memory.events": "low 0\nmax 12\noom 2\noom_kill 3\noom_group_kill 1\n"}, 3),
        ({"memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"}, 2),
        ({}, 0),
    ],
)
def test_kills_are_read_from_both_versions(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    write(tmp_path, files)
    assert cgroup.oom_kills(tmp_path) == expected


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "max 100000\n"}, 1000),
        ({"cpu.max": "1000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1000),
        ({}, 1000),
    ],
)
def test_a_cpu_limit_is_read_from_both_versions(tmp_path: Path, files: dict[str, str], limit: int) -> None:
    write(tmp_path, files)
    unlimited = cgroup.usable_cores(tmp_path / "nothing")
    assert cgroup.usable_cores(tmp_path) == min(limit, unlimited)


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_ranks_are_numbered_over_the_nodes() -> None:
    environment = {
        "NNODES": "3",
        "JOB_COMPLETION_INDEX": "2",
        "NPROC_PER_NODE": "4",
        "MASTER_ADDR": "colours-train-0.colours",
    }
    placement = Placement.of(environment, training_config())
    assert placement.variables(1) == {
        "RANK": "9",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "12",
        "LOCAL_WORLD_SIZE": "4",
        "MASTER_ADDR": "colours-train-0.colours",
        "MASTER_PORT": "29500",
    }


def test_without_variables_it_is_one_node_that_meets_itself() -> None:
    placement = Placement.of({}, training_config())
    assert (placement.nodes, placement.node, placement.ranks, placement.address) == (1, 0, 1, "127.0.0.1")
    assert placement.port > 1023
