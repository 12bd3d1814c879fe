"""Following a job: each change is said once, the end is told, and no minute is silent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from dev.demo.follow import NotReachedError, StalledError, follow
from dev.errors import DevError
from dev.kubectl import Kubectl


class Hour:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass(frozen=True, kw_only=True)
class Cluster(Kubectl):
    """Answers what is asked about the one job that it has, or has not."""

    job: Callable[[], dict[str, Any]]

    @override
    def find(self, *args: str) -> Any | None:
        return self.job() or None


def cluster(job: Callable[[], dict[str, Any]]) -> Cluster:
    return Cluster(program=Path("kubectl"), helm=Path("helm"), kubeconfig=Path("config"), job=job)


def job_with(reason: str, message: str = "m", **conditions: str) -> dict[str, Any]:
    """A job whose conditions, Ready being False unless given, have this reason and message."""
    return {
        "status": {
            "conditions": [
                {"type": type_, "status": status, "reason": reason, "message": message}
                for type_, status in ({"Ready": "False"} | conditions).items()
            ]
        }
    }


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


def served_after(hour: Hour, seconds: float, *, starts_at: float = 0.0) -> Cluster:
    """A cluster with a job that is Pending, then Training, then Ready."""

    def job() -> dict[str, Any]:
        if hour.now < starts_at:
            return {}
        return job_with("Serving", Ready="True") if hour.now >= seconds else job_with("Training")

    return cluster(job)


def wait_for_ready(kubectl: Kubectl, hour: Hour, *, deadline: float = 600) -> None:
    follow(
        kubectl,
        namespace="demo",
        name="triage-1",
        until="Ready",
        deadline=deadline,
        clock=hour.clock,
        sleep=hour.sleep,
    )


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The printed lines, without the time of day that a change has."""
    lines = capsys.readouterr().err.splitlines()
    return [line if line.startswith("..") else line.split(maxsplit=1)[1] for line in lines]


def test_without_a_terminal_a_line_every_twenty_seconds_says_that_it_still_waits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    hour = Hour()
    wait_for_ready(served_after(hour, 70), hour)
    assert said(capsys) == [
        "Training: m",
        ".. waiting for Ready: 20 s so far",
        ".. waiting for Ready: 40 s so far",
        ".. waiting for Ready: 60 s so far",
        "Serving: m",
    ]


def test_a_change_is_a_sign_of_life_too(capsys: pytest.CaptureFixture[str]) -> None:
    hour = Hour()
    wait_for_ready(served_after(hour, 40, starts_at=15), hour)
    assert said(capsys) == [
        "Pending: the operator has not seen it yet",
        "Training: m",
        ".. waiting for Ready: 35 s so far",
        "Serving: m",
    ]


def test_on_a_terminal_the_spinner_is_enough(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    hour = Hour()
    wait_for_ready(served_after(hour, 70), hour)
    assert "so far" not in capsys.readouterr().err


def test_a_job_that_takes_too_long_is_told_without_a_traceback() -> None:
    assert issubclass(NotReachedError, DevError)
    with pytest.raises(NotReachedError, match="Ready was not reached within 5 s; last: Pending"):
        wait_for_ready(cluster(dict), Hour(), deadline=5)


def test_brackets_in_a_message_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    message = "Pod x failed: [Errno -2] no such file [/output]"
    with pytest.raises(StalledError):
        wait_for_ready(cluster(lambda: job_with("Failed", message, Stalled="True")), Hour())
    assert message in capsys.readouterr().err
