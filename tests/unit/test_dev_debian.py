"""What is read from apt's simulations, and what is kept of installations one after the other."""

from __future__ import annotations

from dev.cluster.debian import Plan, parse
from dev.cluster.installed import Record

SIMULATION = """\
NOTE: This is only a simulation!
Reading package lists...
The following packages will be REMOVED:
  containerd.io docker-ce
Remv docker-ce [5:27.0.3-1~debian.12~bookworm]
Remv containerd.io [1.7.18-1] [docker-ce:amd64 ]
Purg old-tool [1]
Inst runc (1.1.5+ds1-1+deb12u1 Debian:12.11/stable [amd64])
Inst libgcc-s1:i386 [12.2.0-14] (12.2.0-14+deb12u1 Debian:12.11/stable [i386]) []
Inst passwd [1:4.13+dfsg1-1+deb12u1] (1:4.13+dfsg1-1+deb12u2 Debian-Security:12/stable-security [amd64])
Inst containerd (1.6.20~ds1-1+deb12u3 Debian-Security:12/stable-security [amd64])
Conf runc (1.1.5+ds1-1+deb12u1 Debian:12.11/stable [amd64])
Conf containerd (1.6.20~ds1-1+deb12u3 Debian-Security:12/stable-security [amd64])
"""


def test_what_apt_would_install_upgrade_and_remove() -> None:
    assert parse(SIMULATION) == Plan(
        new=("containerd", "runc"),
        upgraded=("libgcc-s1:i386", "passwd"),
        removed=("containerd.io", "docker-ce", "old-tool"),
    )


def test_nothing_to_do() -> None:
    assert parse("0 upgraded, 0 newly installed, 0 to remove and 139 not upgraded.\n") == Plan()


def test_installations_add_up() -> None:
    images = Record(
        asked_for=("buildah",), dependencies=("uidmap",), upgraded=("passwd",), paths=("/etc/cni",)
    )
    cluster = Record(
        asked_for=("prometheus",),
        dependencies=("libjs-d3",),
        users={"prometheus": 103},
        groups={"prometheus": 106},
    )

    assert images.joined(cluster) == Record(
        asked_for=("buildah", "prometheus"),
        dependencies=("libjs-d3", "uidmap"),
        upgraded=("passwd",),
        users={"prometheus": 103},
        groups={"prometheus": 106},
        paths=("/etc/cni",),
    )
