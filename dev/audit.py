"""Asks a database of vulnerabilities about every locked package, and says what it was not told.

pip-audit ends well when the database knows nothing of a package, and so also where it is not reached at all.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from dev import paths, progress, shell
from dev.errors import DevError
from dev.images.base import age_of_base

_FOLDER = paths.REPOSITORY / "requirements"
_PIN = "--hash=sha256:"
SERVICES = ("pypi", "osv")


class Verdict(IntEnum):
    """What an audit found; its exit status."""

    CLEAN = 0
    """Every package is known to the database, with no vulnerability."""
    VULNERABLE = 1
    """There is something to fix."""
    UNKNOWN = 3
    """Nothing was found, and not every package could be looked up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A vulnerability of a locked package."""

    lock: str
    package: str
    vulnerability: str
    fixed_in: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What the database says about the locks."""

    findings: tuple[Finding, ...]
    asked: int
    """Pins of all locks."""
    unanswered: int
    """Those of them that the database did not know, or that could not be asked about."""


def locks() -> list[Path]:
    """Return the files that pin packages with hashes."""
    return sorted(path for path in _FOLDER.glob("*.txt") if _PIN in path.read_text())


def audit(service: str) -> Verdict:
    """Audit all locks and tell a person."""
    reports = []
    for lock in locks():
        with progress.step(f"requirements/{lock.name}"):
            reports.append((lock.name, _ask(lock, service)))
    found = summary(reports)
    late = age_of_base()
    for line in sentences(found, service, late):
        progress.note(line)
    return verdict(found, late)


def summary(reports: Iterable[tuple[str, Any]]) -> Audit:
    """Return what pip-audit's reports of all locks say together."""
    findings: list[Finding] = []
    asked = unanswered = 0
    for lock, report in reports:
        for package in report["dependencies"]:
            asked += 1
            unanswered += "skip_reason" in package
            findings += _findings(lock, package)
    return Audit(findings=tuple(findings), asked=asked, unanswered=unanswered)


def verdict(found: Audit, late: str | None) -> Verdict:
    """Judge: a base without a month of Debian's fixes is something to fix too."""
    if found.findings or late:
        return Verdict.VULNERABLE
    return Verdict.UNKNOWN if found.unanswered or not found.asked else Verdict.CLEAN


def sentences(found: Audit, service: str, late: str | None) -> Iterator[str]:
    """Say what was found, and how much of it is known."""
    for each in found.findings:
        fix = f"fixed in {', '.join(each.fixed_in)}" if each.fixed_in else "no version fixes it yet"
        yield f"requirements/{each.lock}: {each.package} has {each.vulnerability}; {fix}."
    if found.unanswered == found.asked:
        yield (
            f"Nothing was audited: {service} knows none of the {found.asked} pins, so it is not reached from"
            " here. Run make audit where it is."
        )
    elif found.unanswered:
        yield f"{found.unanswered} of {found.asked} pins are not known to {service}, and were not audited."
    elif not found.findings:
        yield f"{service} knows all {found.asked} pins, and no vulnerability of any."
    if late:
        yield late


def _findings(lock: str, package: Any) -> Iterator[Finding]:
    for each in package.get("vulns", ()):
        yield Finding(
            lock=lock,
            package=f"{package['name']} {package['version']}",
            vulnerability=" = ".join([each["id"], *each.get("aliases", ())]),
            fixed_in=tuple(each.get("fix_versions", ())),
        )


def _ask(lock: Path, service: str) -> Any:
    program = Path(sys.prefix) / "bin" / "pip-audit"
    options = ("--format", "json", "--progress-spinner", "off", "--vulnerability-service", service)
    pinned = ("--disable-pip", "--require-hashes", "--requirement", lock)
    ran = shell.ended([program, *options, *pinned])
    try:
        return json.loads(ran.stdout)  # also where it exits 1, with what it found
    except ValueError:
        last = ran.stderr.strip().splitlines()[-1:] or [f"pip-audit exited {ran.returncode}"]
        raise DevError(f"{service} cannot be asked about {lock.name}: {last[0]}") from None
