"""Two gangs, or a prepare and a gang, on one run directory: one writes, whatever becomes of the other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kubetune_trainer.artifact.publish import verified_artifact
from kubetune_trainer.contract import termination
from kubetune_trainer.contract.layout import OUTPUT_VARIABLE
from kubetune_trainer.contract.messages import ExitCode, Reason, TerminationMessage, TrainSummary
from tests.support.lock_holders import PATIENT, SOON
from tests.support.tiny_model import make_tiny_model
from tests.support.training_runs import (
    Pod,
    Volume,
    fault,
    make_rows,
    pods,
    train,
    training_config,
    wait_until,
)

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the libraries that make the tiny model
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base model."""
    return make_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def made(tmp_path: Path, model: Path) -> Volume:
    """A prepared run of eight steps, whose rank 0 stops itself after the fifth."""
    volume = Volume(tmp_path / "output", training_config())
    volume.prepare(model, make_rows(30), [])
    volume.environment = PATIENT | fault(rank=0, function="step", call=6, signal="SIGSTOP")
    return volume


def stopped_after_five_steps(pod: Pod) -> None:
    def stopped() -> bool:
        try:
            return state_of(pod.rank_process(0)) == "T"
        except LookupError:  # it does not run yet
            return False

    wait_until(stopped, pod)


def state_of(process: int) -> str:
    """As the kernel has it: T is stopped, Z has ended."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


def lock_of(made: Volume) -> list[Path]:
    return list(made.run.root.parent.glob(".lock*"))


def prepare(made: Volume, scratch: Path) -> tuple[int, TerminationMessage]:
    config, log = scratch / "prepare.json", scratch / "prepare.log"
    config.write_text(made.config.model_dump_json())
    environment = {
        **os.environ,
        OUTPUT_VARIABLE: str(made.root),
        termination.LOG_VARIABLE: str(log),
        "KUBETUNE_CONFIG": str(config),
    }
    command = [sys.executable, "-m", "kubetune_trainer", "prepare"]
    code = subprocess.run(command, env=environment, check=False).returncode
    return code, TerminationMessage.model_validate_json(log.read_text())


def test_a_second_gang_and_a_prepare_end_while_the_first_goes_on(made: Volume, tmp_path: Path) -> None:
    with pods(made, tmp_path / "first", nodes=2) as (first, peer):
        stopped_after_five_steps(first)
        before = sorted(path for path in made.root.rglob("*") if ".lock" not in path.parts)
        (second,) = train(made, tmp_path / "second")
        for code, message in (
            (second.process.returncode, second.message),
            prepare(made, tmp_path),
        ):
            assert (code, message.reason) == (ExitCode.DIRECTORY_IN_USE, Reason.DIRECTORY_IN_USE)
            assert message.message.startswith(
                f"Pod {os.uname().nodename} (train) writes to {made.root}/colours"
            )
        assert sorted(path for path in made.root.rglob("*") if ".lock" not in path.parts) == before
        os.kill(first.rank_process(0), signal.SIGCONT)
        assert [first.wait(), peer.wait()] == [0, 0], first.log
    assert verified_artifact(made.run.root) is not None
    assert lock_of(made) == []


def test_a_container_that_was_killed_is_followed_after_the_grace_time(made: Volume, tmp_path: Path) -> None:
    with pods(made, tmp_path / "first") as (first,):
        stopped_after_five_steps(first)
        os.killpg(first.process.pid, signal.SIGKILL)
        first.wait()
    assert len(lock_of(made)) == 1
    made.environment = SOON
    (second,) = train(made, tmp_path / "second")
    assert second.process.returncode == 0, second.log
    assert "this pod watches for up to 0.3 seconds whether it is gone" in second.log
    assert TrainSummary.model_validate(second.message.summary).from_step == 4
    assert lock_of(made) == []


@pytest.mark.parametrize("first_to_wake", ["all", "rank"])
def test_a_gang_that_was_frozen_ends_without_writing(
    made: Volume, tmp_path: Path, first_to_wake: str
) -> None:
    with pods(made, tmp_path / "first") as (first,):
        stopped_after_five_steps(first)
        rank = first.rank_process(0)
        first.process.send_signal(signal.SIGSTOP)
        made.environment = SOON
        (second,) = train(made, tmp_path / "second")
        assert second.process.returncode == 0, second.log
        before = contents(made)

        os.kill(rank, signal.SIGCONT)
        if first_to_wake == "rank":  # it finds out by itself, when it is about to save
            wait_until(lambda: state_of(rank) == "Z", first)
        first.process.send_signal(signal.SIGCONT)
        assert first.wait() == ExitCode.DIRECTORY_IN_USE, first.log
    assert first.message.reason == Reason.DIRECTORY_IN_USE
    assert f"The lock {made.root}/colours/.lock is no longer this pod's" in first.message.message
    assert contents(made) == before
    summary = TrainSummary.model_validate(second.message.summary)
    assert verified_artifact(made.run.root) == summary.artifact
    assert lock_of(made) == []


def contents(made: Volume) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in made.root.rglob("*") if path.is_file()}


def test_a_pod_that_is_stopped_while_it_watches_a_lock_ends_as_preempted(
    made: Volume, tmp_path: Path
) -> None:
    left = made.run.root.parent / ".lock" / "gone"
    left.parent.mkdir()
    left.write_text("0\nPod gone (train)\n")
    with pods(made, tmp_path / "first") as (first,):
        wait_until(lambda: "Pod gone (train) has the lock" in first.log, first)
        first.process.terminate()
        assert first.wait() == ExitCode.PREEMPTED, first.log
    assert first.message.reason == Reason.PREEMPTED
    assert lock_of(made) == [left.parent]
