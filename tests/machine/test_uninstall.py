"""What is installed removes nothing, and is taken back: with real apt and dpkg, in copies of this machine."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

import pytest

from tests.support.machine_copy import CACHE, MachineCopy, machine_copy

pytestmark = pytest.mark.cluster

PACKAGES = ("buildah", "docker-registry", "prometheus")
"""Of those that the cluster needs, the ones with services, users, or files that dpkg does not know of."""
SMALL = ("conntrack",)
DIARIES = {
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/passwd-",
    "/etc/shadow-",
    "/var/log/alternatives.log",
    "/var/log/apt/eipp.log.xz",
    "/var/log/apt/history.log",
    "/var/log/apt/term.log",
    "/var/log/dpkg.log",
}
"""What stays: logs of apt and dpkg, copies of the tables of users from before the last change, and caches."""
CACHES = ("/var/cache/", "/var/lib/apt/lists/")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MachineCopy]:
    """A machine that has none of the packages, as it is before somebody tries the project."""
    with machine_copy(tmp_path_factory.mktemp("machine")) as copy:
        copy.must("apt-get", "-qq", "update", network=True)
        copy.must(
            "apt-get",
            "-qq",
            "-y",
            "--autoremove",
            "purge",
            *PACKAGES,
            *SMALL,
            "containerd",
            "iptables",
            "runc",
        )
        # What an earlier cluster may have left; the first forbids services to start, which ours has to.
        copy.must(
            "rm", "-rf", "/usr/sbin/policy-rc.d", "/etc/cni", "/var/lib/containers", "/var/lib/kubetune"
        )
        copy.run("userdel", "prometheus")
        copy.run("userdel", "docker-registry")
        copy.must("rm", "-f", "/var/lib/man-db/auto-update")  # slow, and not what is tested
        yield copy


@pytest.fixture(scope="module")
def offline(machine: MachineCopy) -> MachineCopy:
    """The machine with a small archive of its own, where apt is quick."""
    copy = machine.fresh("offline")
    copy.must("bash", "-c", "rm -rf /etc/apt/sources.list* /var/lib/apt/lists/*; mkdir -p /srv/archive")
    needs = {"conntrack": "libmine", "libmine": "dpkg", "containerd": "runc", "runc": "dpkg"}
    for name, needed in needs.items():
        build(copy, "/srv/archive", name, f"Depends: {needed}")
    script = """
cd /srv/archive
for file in *.deb; do
  dpkg-deb -f $file
  echo "Filename: ./$file"
  echo "Size: $(stat -c %s $file)"
  echo "SHA256: $(sha256sum < $file | cut -d' ' -f1)"
  echo
done > Packages
echo 'deb [trusted=yes] file:/srv/archive ./' > /etc/apt/sources.list
apt-get update
"""
    copy.must("bash", "-c", script)
    return copy


def ensure(copy: MachineCopy, packages: tuple[str, ...]) -> str:
    """Install as `make demo` does; returns what it says."""
    code = f"from dev.cluster.packages import ensure_packages; ensure_packages({packages})"
    result = copy.python(code, network=True)
    assert result.returncode == 0, result.stderr
    return result.stderr


def differences(copy: MachineCopy) -> dict[str, str]:
    """What is not as it was, but for logs and caches."""
    return {
        path: what
        for path, what in copy.differences().items()
        if path not in DIARIES and not path.startswith(CACHES)
    }


def build(copy: MachineCopy, folder: str, name: str, *fields: str, conffile: str = "") -> None:
    """Make a package that is empty, but for one file of configuration perhaps."""
    fields = (f"Package: {name}", "Version: 1", "Architecture: all", *fields, "Description: x")
    control = " ".join(map(shlex.quote, [*fields, "Maintainer: x <x@example.com>"]))
    script = f"""
set -e
cd {folder}
mkdir -p {name}/DEBIAN
printf '%s\n' {control} > {name}/DEBIAN/control
for file in {conffile}; do
  mkdir -p {name}$(dirname $file); echo theirs > {name}$file; echo $file >> {name}/DEBIAN/conffiles
done
dpkg-deb -b {name}
rm -r {name}
"""
    copy.must("bash", "-c", script)


def package(copy: MachineCopy, name: str, *fields: str, conffile: str = "") -> None:
    """Install a package that somebody else made."""
    build(copy, "/run", name, *fields, conffile=conffile)
    copy.must("dpkg", "-i", f"/run/{name}.deb")


def test_what_is_installed_is_taken_back(machine: MachineCopy) -> None:
    copy = machine.fresh("whole")

    said = ensure(copy, PACKAGES)
    buildah = ("buildah", "--root", f"{CACHE}/store", "--runroot", "/run/kubetune-buildah/x")
    container = copy.run(*buildah, "from", "scratch").stdout.strip()
    copy.must(*buildah, "commit", container, "made")
    copy.must(*buildah, "push", "made", f"oci:{CACHE}/pushed")
    made = copy.differences()
    taken = copy.dev("uninstall")

    assert "Debian packages: buildah, " in said
    assert "docs/reference/local-cluster.md" in said
    assert made["/var/lib/containers/cache/blob-info-cache-v1.boltdb"] == "added"
    assert made["/etc/cni/net.d/cni.lock"] == made["/var/lib/dpkg/info/prometheus.list"] == "added"
    assert not [path for path in made if path.startswith("/etc/systemd/") or "policy-rc.d" in path]
    assert differences(copy) == {}
    assert copy.run("ls", "/run/kubetune-buildah").returncode != 0
    assert "stays" not in taken


def test_what_somebody_else_needs_stays(offline: MachineCopy) -> None:
    copy = offline.fresh("needed")
    ensure(copy, SMALL)
    package(copy, "their-tool", "Depends: libmine")
    before = copy.must("dpkg-query", "-W")

    said = copy.dev("uninstall")

    assert "libmine: stays, since another package needs it" in said
    after = copy.must("dpkg-query", "-W")
    assert {line.split("\t")[0] for line in set(before.splitlines()) - set(after.splitlines())} == {
        "conntrack"
    }


def test_what_somebody_wants_stays(offline: MachineCopy) -> None:
    copy = offline.fresh("wanted")
    ensure(copy, SMALL)
    copy.must("apt-get", "install", "libmine")

    said = copy.dev("uninstall")

    assert "libmine: stays, since somebody has asked apt for it" in said
    assert copy.must("dpkg-query", "-W", "libmine").split() == ["libmine", "1"]


def test_configuration_that_was_there_before_stays(offline: MachineCopy) -> None:
    copy = offline.fresh("configured")
    package(copy, "conntrack", conffile="/etc/conntrack.conf")
    copy.must("dpkg", "-r", "conntrack")
    ensure(copy, SMALL)

    copy.dev("uninstall")

    assert copy.must("cat", "/etc/conntrack.conf") == "theirs\n"


def test_what_a_killed_installation_left_is_taken_back(offline: MachineCopy) -> None:
    copy = offline.fresh("killed")
    code = f"""
import os, signal, threading, time
from dev.cluster.packages import ensure_packages
def kill():
    while not os.path.exists("/usr/sbin/policy-rc.d"):
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)
threading.Thread(target=kill).start()
ensure_packages({SMALL})
"""
    assert copy.python(code, network=True).returncode != 0
    copy.must(
        "timeout", "300", "bash", "-c", "while grep -qsx apt-get /proc/[0-9]*/comm; do sleep 0.1; done"
    )  # it outlives us
    assert copy.differences()["/usr/sbin/policy-rc.d"] == "added"

    copy.dev("uninstall")

    assert differences(copy) == {}


def test_without_a_record_nothing_is_removed(offline: MachineCopy) -> None:
    copy = offline.fresh("unrecorded")

    said = copy.dev("uninstall")

    assert "no record of having installed anything" in said
    assert differences(copy) == {}


def test_a_cluster_is_taken_away_where_its_packages_are_gone_already(machine: MachineCopy) -> None:
    copy = machine.fresh("bare")
    assert copy.run("which", "iptables").returncode != 0

    copy.dev("down")

    assert copy.dev("check-clean") == ""
    assert differences(copy) == {}


def test_what_is_held_stays(offline: MachineCopy) -> None:
    copy = offline.fresh("held")
    ensure(copy, SMALL)
    copy.must("apt-mark", "hold", *SMALL)

    said = copy.dev("uninstall")

    assert "conntrack: stays, since somebody has asked apt for it" in said
    assert "libmine: stays, since another package needs it" in said
    assert differences(copy)["/var/lib/dpkg/info/conntrack.list"] == "added"


def test_caches_go_and_the_record_stays(offline: MachineCopy) -> None:
    copy = offline.fresh("caches")
    ensure(copy, SMALL)
    copy.must("bash", "-c", f"head -c 60000000 /dev/urandom > {CACHE}/kubetune/blob")

    said = copy.dev("clean-caches")

    assert "0.1 GB are free again" in said
    assert copy.run("ls", f"{CACHE}/kubetune").returncode != 0
    assert json.loads(copy.must("cat", "/var/lib/kubetune/installed.json"))["asked_for"] == [*SMALL]
    assert "no caches" in copy.dev("clean-caches")


@pytest.mark.parametrize("name", ["docker.io", "kubelet"])
def test_a_machine_with_docker_or_a_kubelet_is_refused(offline: MachineCopy, name: str) -> None:
    copy = offline.fresh(name)
    package(copy, name)

    result = copy.run("/usr/bin/python3", "-m", "dev.cluster.preflight")

    assert result.returncode == 1
    assert f"It has {name}, which the cluster would get in the way of: use another machine" in result.stderr


def test_apt_removes_nothing_to_install_what_is_needed(offline: MachineCopy) -> None:
    copy = offline.fresh("conflict")
    package(copy, "containerd.io", "Conflicts: containerd, runc", "Provides: containerd, runc")
    before = copy.must("dpkg-query", "-W")

    refused = copy.python("from dev.cluster.preflight import *; require(Purpose.CLUSTER)")
    failed = copy.python("from dev.cluster.packages import *; ensure_packages(('containerd',))")

    sentence = "apt would have to remove containerd.io"
    assert "It has containerd.io" in refused.stderr
    assert f"{sentence}: nothing was changed." in failed.stderr
    assert copy.must("dpkg-query", "-W") == before
    assert copy.run("ls", "/var/lib/kubetune").returncode != 0
    raw = copy.run("apt-get", "install", "-y", *("--no-install-recommends", "--no-remove"), "containerd")
    assert "remove is disabled" in raw.stderr
