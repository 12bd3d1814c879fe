"""What the preflight says about machines, none of which is this one."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dev import paths
from dev.cluster import installing, ports
from dev.cluster.machine import Machine, look
from dev.cluster.preflight import Purpose, announcement, problems

GIB = 1 << 30
FIT = Machine(
    system="Linux",
    architecture="x86_64",
    user_id=0,
    controllers=frozenset({"cpu", "cpuset", "memory", "pids", "io"}),
    missing_modules=frozenset(),
    has_apt=True,
    go_release="go1.26.1 linux/amd64",
    has_clients=False,
    memory=24 * GIB,
    free_disk=100 * GIB,
    has_cache=False,
    has_cluster=False,
    checkout=Path("/src/kubetune"),
    free_checkout=None,
    cache=Path("/root/.cache/kubetune"),
    state=Path("/root/.cache/kubetune/cluster"),
    foreign_listeners={},
    runtimes=frozenset(),
    missing_packages=(),
    removals=(),
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
        ({"architecture": "aarch64"}, "is aarch64", "x86-64"),
        ({"memory": 11 * GIB}, "11.0 GiB of memory", "12 GiB are needed"),
        ({"free_disk": 39 * GIB}, "39 GiB are free", "40 GiB are needed"),
        ({"free_disk": 9 * GIB, "has_cache": True}, "9 GiB are free", "10 GiB are needed"),
        ({"free_checkout": 5 * GIB}, "5 GiB are free on the disk of /src/kubetune", "6 GiB"),
        ({"state": Path("/" + "x" * 80)}, "too long a path", "XDG_CACHE_HOME"),
        ({"foreign_listeners": {5000: "nginx"}}, "Port 5000 is used by nginx", "stop it"),
        ({"runtimes": frozenset({"docker.io", "dockerd"})}, "has docker.io, dockerd", "another machine"),
        (
            {"missing_packages": ("runc",), "removals": ("containerd.io", "docker-ce")},
            "To install runc, apt would have to remove containerd.io, docker-ce",
            "another machine",
        ),
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
        {"memory": 12 * GIB - 300 * (1 << 20)},  # a machine of 12 GiB, less what its kernel keeps
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


@pytest.mark.parametrize("purpose", [Purpose.FOREIGN, Purpose.IMAGES])
def test_a_cluster_elsewhere_needs_nothing_of_the_local_one(purpose: Purpose) -> None:
    machine = dataclasses.replace(
        FIT,
        controllers=frozenset(),
        missing_modules=frozenset({"overlay"}),
        has_clients=True,
        go_release=None,
        memory=2 * GIB,
        free_disk=25 * GIB,
        foreign_listeners={5000: "nginx"},
        runtimes=frozenset({"docker.io", "dockerd"}),
    )

    assert list(problems(machine, purpose)) == []


def test_a_cluster_elsewhere_needs_kubectl_and_helm_or_go_to_build_them() -> None:
    [problem] = problems(dataclasses.replace(FIT, go_release=None), Purpose.FOREIGN)

    assert problem.startswith("kubectl and helm are not both on PATH")
    assert "Go 1.26" in problem


@pytest.mark.parametrize("purpose", [Purpose.FOREIGN, Purpose.IMAGES])
def test_images_are_built_by_root_with_room(purpose: Purpose) -> None:
    machine = dataclasses.replace(FIT, user_id=1000, free_disk=23 * GIB)

    assert len(list(problems(machine, purpose))) == 2


def test_nothing_is_removed_to_build_images() -> None:
    machine = dataclasses.replace(FIT, missing_packages=("buildah",), removals=("their-buildah",))

    [problem] = problems(machine, Purpose.IMAGES)

    assert problem.startswith(
        "To install buildah, apt would have to remove their-buildah: nothing was changed."
    )


def test_what_is_done_to_a_machine_is_said_before() -> None:
    machine = dataclasses.replace(FIT, missing_packages=("buildah", "runc"))

    head, *lines = announcement(machine, Purpose.CLUSTER).splitlines()
    assert head.endswith(f"(make uninstall takes it back, {installing.PAGE}):")
    assert lines == [
        "- Installs Debian packages, and what they need: buildah, runc.",
        "- Makes the network kt0, chains of the packet filter and folders of containers; sets kernel"
        " settings, IPv4 forwarding among them, until make clean-cluster.",
        "- Fills /root/.cache/kubetune with up to 40 GiB, until make clean-caches.",
    ]
    assert announcement(machine, Purpose.IMAGES).splitlines() == [
        head,
        lines[0],
        "- Fills /root/.cache/kubetune with up to 24 GiB, until make clean-caches.",
    ]
    done = dataclasses.replace(FIT, has_cache=True, has_cluster=True)
    assert announcement(done, Purpose.CLUSTER) == "This machine lacks nothing."


def test_the_page_that_is_named_exists() -> None:
    assert (paths.REPOSITORY / installing.PAGE).is_file()


def test_it_runs_before_anything_is_installed() -> None:
    """With -S and -I no package of this environment can be imported."""
    code = f"import sys; sys.path.insert(0, {str(paths.REPOSITORY)!r}); import dev.cluster.preflight"
    result = subprocess.run([sys.executable, "-S", "-I", "-c", code], capture_output=True, text=True)

    assert (result.returncode, result.stderr) == (0, "")


def test_readme_names_the_memory_and_the_disk_that_are_needed() -> None:
    readme = (paths.REPOSITORY / "README.md").read_text()

    for lack in ({"memory": GIB}, {"free_disk": GIB}):
        [problem] = problems(dataclasses.replace(FIT, **lack))  # type: ignore[arg-type]
        [amount] = re.findall(r"(\d+ GiB) are needed", problem)
        assert amount in readme


def test_the_ports_of_the_cluster_are_all_different() -> None:
    assert len(set(ports.of_cluster())) == len(ports.of_cluster()) == 11
