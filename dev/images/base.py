"""Makes the base image from Debian packages, since not every machine reaches an image registry.

It has Debian's fixes of the date in `requirements/debian-date.txt` at least, which is part of its name:
another date makes it anew, and with it all images. KUBETUNE_BASE_IMAGE names a base of one's own instead.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path

from dev import paths, shell
from dev.errors import DevError
from dev.images import buildah

DATE_FILE = paths.REPOSITORY / "requirements" / "debian-date.txt"
_OLD = 30  # days
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


def own_base() -> str | None:
    """Return the image that somebody wants instead of ours; the build pulls it."""
    return os.environ.get("KUBETUNE_BASE_IMAGE") or None


def base_image() -> str:
    """Return the base image's name, whether it is there or not."""
    return own_base() or f"localhost/kubetune/base:{base_key(debian_date())}"


def base_key(fixes: date) -> str:
    """Return what the tag of a base with the fixes of a date is: the same date and packages, the same key."""
    made_of = (_SUITE, _PACKAGES, _OPTIONS, _DOCKERFILE, fixes.isoformat())
    return hashlib.sha256(repr(made_of).encode()).hexdigest()[:12]


def debian_date() -> date:
    """Return the date whose fixes the base has: that of KUBETUNE_BASE_DATE, else that of the checkout."""
    named = os.environ.get("KUBETUNE_BASE_DATE")
    text = named or DATE_FILE.read_text().strip()
    try:
        return date.fromisoformat(text)
    except ValueError:
        where = "KUBETUNE_BASE_DATE" if named else DATE_FILE.relative_to(paths.REPOSITORY)
        raise DevError(f"{where} is {text!r}: write a date such as 2026-11-30") from None


def today() -> date:
    """Return the date that `refresh` writes and ages are counted to, the same in all time zones."""
    return datetime.now(UTC).date()


def refresh() -> date:
    """Write today's date: the next build has all fixes that Debian has published until now."""
    DATE_FILE.write_text(f"{today().isoformat()}\n")
    return today()


def overdue(fixes: date, now: date) -> str | None:
    """Say that a base is older than a month, and what to do; None when it is not."""
    age = (now - fixes).days
    if age <= _OLD:
        return None
    return (
        f"The base image has Debian's fixes of {fixes}, {age} days ago: run make refresh-base, and commit it."
    )


def age_of_base() -> str | None:
    """Say what `overdue` says about the base that is used now; None for one's own, whose age is unknown."""
    return None if own_base() else overdue(debian_date(), today())


def ensure_base() -> str:
    """Return the base image's name, made if need be."""
    image = base_image()
    if not own_base() and not buildah.exists(image):
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
