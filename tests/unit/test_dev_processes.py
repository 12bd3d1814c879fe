"""Background programs of the local cluster: found again, restarted when need be, and stopped for sure."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster import processes
from dev.cluster.ports import free_ports
from dev.cluster.probes import start_until_answers
from dev.cluster.processes import Daemon, NotRunningError
from dev.cluster.waiting import NotReadyError, wait_for


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    processes.kill_marked(tmp_path)


def sleeper(root: Path, seconds: str = "1000", *, reads: tuple[Path, ...] = ()) -> Daemon:
    return Daemon(name="sleeper", root=root, argv=["sleep", seconds], reads=reads)


def test_a_running_program_is_not_started_again(root: Path) -> None:
    assert sleeper(root).ensure()
    pid = sleeper(root).pid()

    assert not sleeper(root).ensure()
    assert sleeper(root).pid() == pid


def test_a_killed_program_is_started_again(root: Path) -> None:
    sleeper(root).ensure()
    pid = sleeper(root).pid()
    sleeper(root).signal(signal.SIGKILL)
    while sleeper(root).pid() is not None:
        pass

    assert sleeper(root).ensure()
    assert sleeper(root).pid() not in (pid, None)


_ENDS_ONCE = """
import http.server, pathlib, sys
met = pathlib.Path(sys.argv[1])
if not met.exists():
    met.touch()
    sys.exit("what it needs is not ready yet")
http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[2]), bind="127.0.0.1")
"""


def test_a_program_that_came_too_early_is_started_again_until_it_answers(root: Path) -> None:
    (port,) = free_ports(1)
    early = Daemon(name="early", root=root, argv=[sys.executable, "-c", _ENDS_ONCE, root / "met", str(port)])
    start_until_answers(early, f"http://127.0.0.1:{port}/", seconds=30)
    assert early.pid() is not None
    assert "not ready yet" in early.log.read_text()


@pytest.mark.slow
def test_a_program_that_never_answers_is_named_with_its_log(root: Path) -> None:
    (port,) = free_ports(1)
    with pytest.raises(NotReadyError, match=r"waited 1 s for sleeper, whose log is .*sleeper\.log"):
        start_until_answers(sleeper(root), f"http://127.0.0.1:{port}/", seconds=1)


_FIRST_THREAD_ENDS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=[1000]).start()
ctypes.CDLL(None).pthread_exit(None)
"""


def test_a_program_has_not_ended_while_one_of_its_threads_runs(root: Path) -> None:
    program = Daemon(name="threads", root=root, argv=[sys.executable, "-c", _FIRST_THREAD_ENDS])
    program.ensure()
    pid = program.pid()
    wait_for("its first thread to end", lambda: _state(pid) == "Z", seconds=30)
    assert program.pid() == pid
    program.stop(seconds=0)
    assert program.pid() is None


def _state(pid: int | None) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_other_arguments_restart_it(root: Path) -> None:
    sleeper(root).ensure()

    assert sleeper(root, "2000").ensure()


def test_a_changed_configuration_file_restarts_it(root: Path) -> None:
    config = root / "config"
    config.write_text("a")
    sleeper(root, reads=(config,)).ensure()
    assert not sleeper(root, reads=(config,)).ensure()

    config.write_text("b")
    assert sleeper(root, reads=(config,)).ensure()


def test_a_pid_that_another_process_has_now_is_not_ours(root: Path) -> None:
    sleeper(root).ensure()
    pid = sleeper(root).pid()
    record = root / "run" / "sleeper.json"
    record.write_text(record.read_text().replace('"started": ', '"started": 1'))

    sleeper(root).stop()

    assert pid in set(processes.marked(root))


def test_a_paused_program_stops_too(root: Path) -> None:
    sleeper(root).ensure()
    sleeper(root).signal(signal.SIGSTOP)

    sleeper(root).stop()

    assert list(processes.marked(root)) == []


def test_a_program_that_ignores_the_request_is_killed(root: Path) -> None:
    Daemon(name="deaf", root=root, argv=["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]).ensure()

    processes.stop(root, "deaf", seconds=0.2)

    assert not (root / "run" / "deaf.json").exists()
    processes.kill_marked(root)
    assert list(processes.marked(root)) == []


def test_children_are_found_without_a_pid_file(root: Path) -> None:
    Daemon(name="parent", root=root, argv=["sh", "-c", "sleep 1000 & wait"]).ensure()
    while len(list(processes.marked(root))) < 2:
        pass

    processes.kill_marked(root)

    assert list(processes.marked(root)) == []


def test_the_error_about_a_dead_program_has_its_last_words(root: Path) -> None:
    daemon = Daemon(name="brief", root=root, argv=["sh", "-c", "echo no such thing; exit 3"])
    daemon.ensure()
    while daemon.pid() is not None:
        pass

    with pytest.raises(NotRunningError, match="no such thing"):
        daemon.check()
