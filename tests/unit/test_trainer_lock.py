"""The lock of a job's directory, with real processes on a real file system."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import queue
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from kubetune_trainer.contract.config import TrainerConfig
from kubetune_trainer.contract.errors import DirectoryInUse, TrainerError, Transient
from kubetune_trainer.contract.layout import OUTPUT_VARIABLE
from kubetune_trainer.contract.messages import ExitCode
from kubetune_trainer.store import lock, volumes
from kubetune_trainer.store.lock import DirectoryLock, Hold, Pace
from tests.support.lock_holders import DEADLINE_SECONDS, PATIENT, SOON, holder
from tests.support.small_volume import fill, small_volume
from tests.support.trainer_configs import trainer_config

LOST = "lost DirectoryInUse Pod b on node node-of-b (test) has taken over {directory} while this pod, which "


def config() -> TrainerConfig:
    return trainer_config(model="pvc://m/x", train="pvc://d/train.jsonl")


def own(directory: Path, *, beat: float = 0.05, grace: float = 0.3, patience: float = 5) -> DirectoryLock:
    pace = Pace(beat=beat, grace=grace, patience=patience)
    return DirectoryLock(directory, owner="Pod here (test)", pace=pace)


def ignore(_: TrainerError) -> None:
    pass


def never(_: float) -> None:
    raise AssertionError("nothing is waited for")


def test_who_ends_well_leaves_nothing_and_the_next_does_not_wait(tmp_path: Path) -> None:
    directory = tmp_path / "job"
    for _ in range(3):
        with own(directory).held(lost=ignore, sleep=never):
            assert [path.name for path in directory.iterdir()] == [".lock"]
        assert [*directory.iterdir()] == []


@pytest.mark.slow
def test_who_fails_or_is_refused_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), own(tmp_path).held(lost=ignore):
        raise ZeroDivisionError
    assert [*tmp_path.iterdir()] == []
    with holder(tmp_path, "a", PATIENT) as a:
        a.ask()
        assert a.said() == "held"
        with pytest.raises(DirectoryInUse), own(tmp_path, grace=30).held(lost=ignore):
            pass
        assert a.end() == 0
    assert [*tmp_path.iterdir()] == []


@pytest.mark.slow
def test_a_second_process_ends_and_says_who_is_there(tmp_path: Path) -> None:
    with holder(tmp_path, "a", PATIENT) as a, holder(tmp_path, "b", PATIENT) as b:
        a.ask()
        assert a.said() == "held"
        b.ask()
        refused = b.said()
        assert refused.startswith(
            f"refused DirectoryInUse Pod a on node node-of-a (test) writes to {tmp_path}: it renewed its "
        )
        assert refused.endswith(
            "This pod ends, so that they do not write at the same time. It is tried again; if it lasts, "
            "delete that pod or the Job that it belongs to."
        )
        assert b.process.wait(DEADLINE_SECONDS) == ExitCode.DIRECTORY_IN_USE
        a.ask()
        assert a.said() == "confirmed"
        assert a.end() == 0


def test_the_next_goes_on_as_soon_as_the_holder_it_watches_ends(tmp_path: Path) -> None:
    silent = own(tmp_path, beat=1000)
    with contextlib.ExitStack() as held:
        held.enter_context(silent.held(lost=ignore))
        looks = iter([None, None, held.close])

        def look(_: float) -> None:
            if end := next(looks):
                end()

        with own(tmp_path).held(lost=ignore, sleep=look):
            assert not silent.hold.file.exists()


def test_a_holder_that_was_killed_is_followed_after_the_grace_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with holder(tmp_path, "a", PATIENT) as a:
        a.ask()
        assert a.said() == "held"
        a.signal(signal.SIGKILL)
    slept: list[float] = []
    with own(tmp_path, grace=30).held(lost=ignore, sleep=slept.append):
        assert len(list((tmp_path / ".lock").iterdir())) == 1
    assert sum(slept) == pytest.approx(30)
    name = "Pod a on node node-of-a (test)"
    assert caplog.messages == [
        f"{name} has the lock of {tmp_path}: this pod watches for up to 30 seconds whether it is gone",
        f"{name} is gone: its lock of {tmp_path} is taken over",
    ]
    assert [*tmp_path.iterdir()] == []


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(3))
def test_of_two_that_find_a_stale_lock_at_once_one_wins(tmp_path: Path, attempt: int) -> None:
    with holder(tmp_path, "gone", PATIENT) as gone:
        gone.ask()
        assert gone.said() == "held"
        gone.signal(signal.SIGKILL)
    pace = {
        **PATIENT,
        lock.GRACE_VARIABLE: "1.5",
    }  # the loser must find the winner's beat, however slow it is
    with holder(tmp_path, "a", pace) as a, holder(tmp_path, "b", pace) as b:
        a.ask()
        b.ask()
        said = [a.said(), b.said()]
        assert sorted(line.split()[0] for line in said) == ["held", "refused"]
        winner = a if said[0] == "held" else b
        winner.ask()
        assert winner.said() == "confirmed"
        assert winner.end() == 0
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("attempt", range(20))
def test_of_many_that_install_at_once_one_wins(tmp_path: Path, attempt: int) -> None:
    locks = [own(tmp_path) for _ in range(8)]
    barrier = threading.Barrier(len(locks))
    won: list[DirectoryLock] = []

    def install(each: DirectoryLock) -> None:
        barrier.wait()
        if each._install():
            won.append(each)

    threads = [threading.Thread(target=install, args=(each,)) for each in locks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = won
    for each in locks:
        if each is not winner:
            each.release()
    assert [path.name for path in (tmp_path / ".lock").iterdir()] == [winner.hold.file.name]
    winner.hold.confirm()


@pytest.mark.slow
def test_one_that_is_late_to_take_over_removes_nobody(tmp_path: Path) -> None:
    """It is frozen after it has decided, while another one takes over."""
    gone = tmp_path / ".lock" / "gone"
    gone.parent.mkdir()
    gone.write_text("0\nPod gone (test)\n")
    first, late = own(tmp_path), own(tmp_path, grace=30)

    class Frozen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("Pod gone (test) is gone"):
                lock.logger.removeHandler(self)
                held.enter_context(first.held(lost=ignore, sleep=lambda _: None))

    with contextlib.ExitStack() as held:
        lock.logger.addHandler(Frozen())
        lock.logger.setLevel(logging.INFO)
        held.callback(lock.logger.setLevel, logging.NOTSET)
        with (
            pytest.raises(DirectoryInUse, match=r"Pod here \(test\) writes to"),
            late.held(lost=ignore, sleep=Passing(looks=30)),
        ):
            pass
        first.hold.confirm()


class Passing:
    """Looks without waiting, until a live holder has to be given time for a beat."""

    def __init__(self, *, looks: int) -> None:
        self._left = looks

    def __call__(self, seconds: float) -> None:
        self._left -= 1
        if self._left < 0:
            time.sleep(seconds)


@pytest.mark.slow
def test_a_holder_that_was_frozen_ends_and_leaves_the_lock_of_the_next(tmp_path: Path) -> None:
    with holder(tmp_path, "a", PATIENT) as a, holder(tmp_path, "b", SOON) as b:
        a.ask()
        assert a.said() == "held"
        a.signal(signal.SIGSTOP)
        b.ask()
        assert b.said() == "held"
        a.signal(signal.SIGCONT)
        assert a.said().startswith(LOST.format(directory=tmp_path))
        assert a.process.wait(DEADLINE_SECONDS) == ExitCode.DIRECTORY_IN_USE
        b.ask()
        assert b.said() == "confirmed"
        assert b.end() == 0
    assert [*tmp_path.iterdir()] == []


def test_who_lost_the_lock_cannot_commit_and_does_not_release_it(tmp_path: Path) -> None:
    silent = own(tmp_path, beat=1000)

    def work() -> None:
        with silent.held(lost=ignore), own(tmp_path).held(lost=ignore, sleep=lambda _: None):
            with pytest.raises(DirectoryInUse, match="has taken over"):
                silent.hold.confirm()
            assert isinstance(silent.problem(), DirectoryInUse)
            silent.release()
            assert len(list((tmp_path / ".lock").iterdir())) == 1
            raise FileNotFoundError(errno.ENOENT, "as when the other one has removed what is read")

    with pytest.raises(DirectoryInUse, match=r"^Pod here \(test\) has taken over "):
        work()


def test_a_lock_that_a_person_removes_is_lost(tmp_path: Path) -> None:
    told = queue.Queue[TrainerError]()
    held = own(tmp_path)
    with held.held(lost=told.put):
        held.hold.file.unlink()
        error = told.get(timeout=DEADLINE_SECONDS)
    assert error.message.startswith(
        f"The lock {tmp_path}/.lock is no longer this pod's: another one has taken it over"
    )


def test_a_beat_on_a_full_volume_needs_no_room(tmp_path: Path) -> None:
    with small_volume(tmp_path / "output", megabytes=1) as root:
        held = own(root)
        with held.held(lost=ignore):
            filler = fill(root)
            held.hold.confirm()
            assert held.problem() is None
        assert [*root.iterdir()] == [filler]


def test_a_full_volume_is_told_as_one_by_who_finds_no_room_for_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_volume(tmp_path / "output", megabytes=1) as root:
        monkeypatch.setenv(OUTPUT_VARIABLE, str(root))
        fill(root)
        with pytest.raises(OSError, match="No space") as caught, own(root / "job").held(lost=ignore):
            pass
        told = volumes.explained(caught.value, config())
        assert told is not None
        assert told.message.startswith("The output volume is full: ")
        assert [*(root / "job").iterdir()] == []


def test_beats_that_fail_for_longer_than_the_grace_time_end_the_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = queue.Queue[TrainerError]()

    def work(held: DirectoryLock, root: Path) -> None:
        with held.held(lost=told.put):
            remount(root, "ro")
            error = told.get(timeout=DEADLINE_SECONDS)
            remount(root, "rw")
            raise error

    with small_volume(tmp_path / "output", megabytes=1) as root:
        monkeypatch.setenv(OUTPUT_VARIABLE, str(root))
        held = own(root / "job")
        with pytest.raises(Transient) as caught:
            work(held, root)
        assert [*(root / "job").iterdir()] == []
        assert str(caught.value) == (
            f"The lock {held.hold.file} could not be renewed for 0.3 seconds, so that another pod may have "
            "taken it: Read-only file system."
        )
        told_of_it = volumes.explained(caught.value, config())
        assert told_of_it is not None
        assert told_of_it.message.startswith("The output volume is mounted read-only: ")


def remount(root: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(root)], check=True)


def test_a_volume_that_does_not_answer_keeps_nobody_from_failing(tmp_path: Path) -> None:
    held = own(tmp_path, beat=1000, patience=0.1)

    def fail() -> None:
        held.hold.file.unlink()
        os.mkfifo(held.hold.file)  # whoever writes to it waits for a reader
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), held.held(lost=ignore):
        fail()


def test_what_a_network_file_system_leaves_in_the_lock_goes_after_the_grace_time(tmp_path: Path) -> None:
    """NFS renames a file that is deleted while it is open; it stays when its client is gone."""
    left = tmp_path / ".lock" / ".nfs0001"
    left.parent.mkdir()
    left.write_text("0123\nPod gone (test)\n")
    with own(tmp_path).held(lost=ignore, sleep=lambda _: None):
        assert not left.exists()


def test_an_empty_lock_is_free(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with own(tmp_path).held(lost=ignore, sleep=never):
        pass


def test_only_rank_0_needs_the_lock() -> None:
    lock.confirmation({"RANK": "1"})()
    with pytest.raises(KeyError):
        lock.confirmation({"RANK": "0"})
    with pytest.raises(DirectoryInUse):
        lock.confirmation({"RANK": "0", lock.LOCK_VARIABLE: "/no/such/job/.lock/token"})()


def test_a_confirmation_makes_no_file(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(DirectoryInUse):
        Hold(tmp_path / ".lock" / "token").confirm()
    assert os.listdir(tmp_path / ".lock") == []
