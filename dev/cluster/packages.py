"""Owns the Debian packages that the cluster and the image builds use, and that their services never start."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dev import paths, progress, shell

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
_POLICY = Path("/usr/sbin/policy-rc.d")
_SYSTEMD = Path("/run/systemd/system")
_SERVICES = ("containerd", "docker-registry", "prometheus")


def missing_packages(wanted: Sequence[str] = PACKAGES) -> list[str]:
    """Return those of the packages that are not installed yet."""
    report = shell.output(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"])
    installed = {line.split()[0] for line in report.splitlines() if line.endswith(" installed")}
    return [name for name in wanted if name not in installed]


def ensure_packages(wanted: Sequence[str] = PACKAGES) -> None:
    """Install what is missing."""
    missing = missing_packages(wanted)
    if missing:
        with progress.step(f"Install the Debian packages {', '.join(missing)}"):
            _install(missing, log=paths.cache() / "packages.log")


def _install(names: Sequence[str], *, log: Path) -> None:
    """Install packages without starting or enabling the services that some of them bring."""
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    # Another apt may be at work on the machine: wait for its lock rather than fail.
    apt = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "-qq"]
    shell.run([*apt, "update"], log=log, env=env)
    with _no_service_starts():
        shell.run([*apt, "install", "-y", "--no-install-recommends", *names], log=log, env=env)
    if _SYSTEMD.is_dir() and shutil.which("systemctl"):
        # They would start at the next boot, on the ports that the cluster uses.
        for service in _SERVICES:
            if service in names:
                shell.run(["systemctl", "disable", service], log=log)


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Forbid packages to start services, in the way Debian asks administrators to do it."""
    if _POLICY.exists():  # the administrator's own; container images ship one that forbids the same
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()
