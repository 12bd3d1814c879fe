"""Asks dpkg and apt about packages, and knows which ones KubeTune needs. Nothing is changed here.

Standard library only: the preflight reads it before anything is installed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dev import shell

PACKAGES = (
    "buildah",  # image builds
    "conntrack",  # kube-proxy forgets the connections of Services that are gone
    "containerd",
    "containernetworking-plugins",
    "curl",  # the command that the demo ends with
    "docker-registry",
    "ethtool",  # kubelet
    "iproute2",
    "iptables",
    "mmdebstrap",  # base images where no image registry can be reached
    "prometheus",
    "runc",  # not crun: 1.8 refuses machines with both cgroup versions
    "socat",  # kubectl port-forward
)
IMAGE_PACKAGES = ("buildah", "mmdebstrap")  # all that building for another cluster takes
RELEASE_PACKAGES = (*IMAGE_PACKAGES, "skopeo")  # which copies images without changing their digests

INSTALL_OPTIONS = (
    "--no-install-recommends",
    "--no-remove",  # whatever is there stays
)
# Debian keeps packages for less than a need: a recommendation was not met before either.
_NEEDS_ALONE = (
    "-o",
    "APT::AutoRemove::RecommendsImportant=false",
    "-o",
    "APT::AutoRemove::SuggestsImportant=false",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What apt would do."""

    new: tuple[str, ...] = ()
    upgraded: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def installed() -> set[str]:
    """Return the names of all packages that are installed."""
    return {name for name, state in _states() if state == "installed"}


def present() -> set[str]:
    """Return the names of all packages of which programs may be there, also where dpkg was interrupted."""
    return {name for name, state in _states() if state not in ("not-installed", "config-files")}


def configured() -> set[str]:
    """Return the names of packages that were removed, and whose configuration is still there."""
    return {name for name, state in _states() if state == "config-files"}


def _states() -> list[tuple[str, str]]:
    """Return what dpkg knows of each package, of each architecture."""
    report = shell.output(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"])
    return [(name, state) for name, state in map(str.split, report.splitlines())]


def missing(wanted: Iterable[str]) -> list[str]:
    """Return those of the packages that are not installed."""
    present = installed()
    return [name for name in wanted if name not in present]


def plan_install(names: Sequence[str]) -> Plan:
    """Ask apt what installing would change, removals included. Raises where apt knows no way at all."""
    options = [each for each in INSTALL_OPTIONS if each != "--no-remove"]
    return parse(shell.output(["apt-get", "-s", "install", *options, *names], env=_ENGLISH))


def unneeded() -> tuple[str, ...]:
    """Ask apt for the packages that are marked as automatic and that no other package needs."""
    report = shell.output(["apt-get", "-s", *_NEEDS_ALONE, "autoremove"], env=_ENGLISH)
    return parse(report).removed


def plan_removal(names: Sequence[str]) -> Plan:
    """Ask apt what removing would change."""
    return parse(shell.output(["apt-get", "-s", "remove", *names], env=_ENGLISH))


def parse(report: str) -> Plan:
    """Read what `apt-get -s` prints.

    >>> parse("Inst a (1 Debian [amd64])\\nInst b [1] (2 Debian [amd64])\\nRemv c [1]\\nConf a (1 Debian)")
    Plan(new=('a',), upgraded=('b',), removed=('c',))
    """
    new, upgraded, removed = [], [], []
    for line in report.splitlines():
        match line.split():
            case ["Inst", name, what, *_] if what.startswith("["):
                upgraded.append(name)
            case ["Inst", name, *_]:
                new.append(name)
            case ["Remv" | "Purg", name, *_]:
                removed.append(name)
            case _:
                pass
    return Plan(new=tuple(sorted(new)), upgraded=tuple(sorted(upgraded)), removed=tuple(sorted(removed)))


_ENGLISH = {"LC_ALL": "C"}
