"""Makes the base image from Debian packages, since not every machine reaches an image registry."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from dev import paths, shell
from dev.errors import DevError
from dev.images import buildah

_SUITE = "bookworm"  # as the public image that the Dockerfiles name: Python 3.11
_PACKAGES = (
    "ca-certificates",
    "curl",  # probes
    "ibverbs-providers",  # RDMA, for NCCL between nodes
    "libgomp1",  # OpenMP, for torch
    "libibverbs1",
    "libnuma1",  # vLLM on CPU
    "librdmacm1",
    "python3",
    "python3-venv",
    "usr-is-merged",  # else usrmerge, and with it all of Perl
)
_OPTIONS = (
    "--variant=minbase",
    "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    # This machine's, which would otherwise be in the image.
    '--customize-hook=rm -f "$1/etc/resolv.conf" "$1/etc/hostname"',
)
_DOCKERFILE = 'FROM scratch\nADD root.tar /\nCMD ["python3"]\n'


def base_image() -> str:
    """Return the base image's name, whether it is there or not."""
    digest = hashlib.sha256(repr((_SUITE, _PACKAGES, _OPTIONS, _DOCKERFILE)).encode())
    return f"localhost/kubetune/base:{digest.hexdigest()[:12]}"


def ensure_base() -> str:
    """Return the base image's name, made if need be."""
    image = base_image()
    if not buildah.exists(image):
        with tempfile.TemporaryDirectory(dir=paths.cache()) as folder:
            context = Path(folder)
            include = f"--include={','.join(_PACKAGES)}"
            shell.run(
                ["mmdebstrap", *_OPTIONS, include, _SUITE, context / "root.tar", *_mirrors()],
                log=buildah.log(),
            )
            (context / "Dockerfile").write_text(_DOCKERFILE)
            buildah.build(image, dockerfile="Dockerfile", context=context)
    return image


def _mirrors() -> list[str]:
    """Return the Debian mirrors that this machine uses, as lines of a sources.list for the base's suite."""
    listed = shell.output(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(REPO_URI)|$(RELEASE)", "Identifier: Packages"]
    )
    lines = mirror_lines(listed)
    if not lines:
        raise DevError("apt knows no Debian mirror: run apt-get update, and look into /etc/apt/sources.list*")
    return lines


def mirror_lines(listed: str) -> list[str]:
    """Return lines for what apt lists as origin|address|release, of Debian's own and no other origin."""
    lines: dict[str, None] = {}  # a set with an order
    for origin, uri, release in (line.split("|") for line in listed.splitlines()):
        pocket = release.partition("-")[2]
        if origin == "Debian" and pocket in ("", "updates", "security"):
            lines[f"deb {uri} {_SUITE}{'-' if pocket else ''}{pocket} main"] = None
    return list(lines)
