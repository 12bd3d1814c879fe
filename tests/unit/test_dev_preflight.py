"""What the preflight says about machines, none of which is this one."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from dev.cluster.preflight import Machine, look, problems

GIB = 1 << 30
FIT = Machine(
    system="Linux",
    user_id=0,
    controllers=frozenset({"cpu", "cpuset", "memory", "pids", "io"}),
    missing_modules=frozenset(),
    has_apt=True,
    go_release="go1.26.1 linux/amd64",
    has_venv=True,
    memory=24 * GIB,
    free_disk=100 * GIB,
    has_cache=False,
    cache=Path("/root/.cache/kubetune"),
    state=Path("/root/.cache/kubetune/cluster"),
    foreign_listeners={},
)


def test_a_fit_machine_lacks_nothing() -> None:
    assert list(problems(FIT)) == []


@pytest.mark.parametrize(
    ("change", "what", "remedy"),
    [
        ({"system": "Darwin"}, "runs Darwin", "virtual machine"),
        ({"user_id": 1000}, "not root", "sudo"),
        ({"controllers": frozenset({"cpu", "memory"})}, "cpuset, pids are missing", "enable them"),
        ({"missing_modules": frozenset({"overlay"})}, "no overlay", "modules package"),
        ({"has_apt": False}, "no apt-get", "Debian"),
        ({"go_release": None}, "found none", "install it"),
        ({"go_release": "go1.25.9 linux/amd64"}, "Go 1.26 or later", "install it"),
        ({"has_venv": False}, "virtual environments", "python3-venv"),
        ({"memory": 7 * GIB}, "7.0 GiB of memory", "8 GiB are needed"),
        ({"free_disk": 39 * GIB}, "39 GiB are free", "40 GiB are needed"),
        ({"free_disk": 9 * GIB, "has_cache": True}, "9 GiB are free", "10 GiB are needed"),
        ({"state": Path("/" + "x" * 80)}, "too long a path", "XDG_CACHE_HOME"),
        ({"foreign_listeners": {5000: "nginx"}}, "Port 5000 is used by nginx", "stop it"),
    ],
)
def test_each_lack_is_one_line_with_its_remedy(change: dict[str, Any], what: str, remedy: str) -> None:
    [problem] = problems(dataclasses.replace(FIT, **change))

    assert what in problem
    assert remedy in problem


@pytest.mark.parametrize(
    "change",
    [
        {"go_release": "go1.27rc1 linux/amd64"},
        {"go_release": "go2.0 linux/amd64"},
        {"memory": 8 * GIB - 300 * (1 << 20)},  # a machine of 8 GiB, less what its kernel keeps
        {"free_disk": 12 * GIB, "has_cache": True},
    ],
)
def test_just_enough_is_enough(change: dict[str, Any]) -> None:
    assert list(problems(dataclasses.replace(FIT, **change))) == []


def test_all_lacks_are_named_at_once() -> None:
    machine = dataclasses.replace(FIT, user_id=1, go_release=None, memory=GIB)

    assert len(list(problems(machine))) == 3


def test_looking_at_this_machine_raises_nothing() -> None:
    assert look().memory > 0
