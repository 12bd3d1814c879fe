"""Reads what is in an image: Debian's packages from dpkg's own list, Python's from their metadata."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

_MACHINE_READABLE = "Format:"  # how a copyright file begins whose licences a program can read
_CLASSIFIER = "License :: "


@dataclass(frozen=True, slots=True, kw_only=True)
class DebianPackage:
    """A package that dpkg knows as installed."""

    name: str
    version: str
    architecture: str
    source: str
    """The source package, by which Debian tells of vulnerabilities, with `@version` where that differs."""

    licences: tuple[str, ...]
    """Debian's short names of all licences of its files; empty where its copyright file is prose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonPackage:
    """A distribution in the image's environment."""

    name: str
    version: str
    licence: str
    """An SPDX expression, or whatever words its author wrote; empty where nothing says one."""

    hashes: tuple[str, ...]
    """SHA-256 of the files that the lock allows for this version, one of which was installed."""


def debian_packages(root: Path) -> list[DebianPackage]:
    """Return Debian's packages in the file system at `root`, by name."""
    text = (root / "var/lib/dpkg/status").read_text()
    found = [HeaderParser().parsestr(paragraph) for paragraph in text.split("\n\n") if paragraph.strip()]
    installed = [each for each in found if each["Status"].endswith(" installed")]
    return sorted((_debian(each, root) for each in installed), key=lambda each: each.name)


def python_packages(root: Path, locked: Mapping[tuple[str, str], tuple[str, ...]]) -> list[PythonPackage]:
    """Return the Python distributions in the environment of the file system at `root`, by name."""
    metadata = (root / "opt/venv/lib").glob("python*/site-packages/*.dist-info/METADATA")
    found = [HeaderParser().parsestr(path.read_text()) for path in metadata]
    return sorted((_python(each, locked) for each in found), key=lambda each: each.name)


def locked_hashes(requirements: str) -> Iterator[tuple[tuple[str, str], tuple[str, ...]]]:
    """Yield (name, version) with the hashes of each pin of a file in `requirements/`."""
    for name, version, hashes in re.findall(
        r"^([\w.-]+)==(\S+)[^\\\n]*((?:\\\n\s+--hash=\S+ ?)+)", requirements, re.MULTILINE
    ):
        yield (_normal(name), version), tuple(re.findall(r"sha256:([0-9a-f]{64})", hashes))


def _normal(name: str) -> str:
    """Return the one spelling of a distribution's name, as PEP 503 has it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _debian(paragraph: Message, root: Path) -> DebianPackage:
    name, version = paragraph["Package"], paragraph["Version"]
    # "glibc (2.36-9)" where the version of the source is another one; absent where it is the package itself.
    source, _, source_version = (paragraph["Source"] or name).partition(" ")
    if source_version:
        source = f"{source}@{source_version.strip('()')}"
    return DebianPackage(
        name=name,
        version=version,
        architecture=paragraph["Architecture"],
        source=source,
        licences=_licences(root, name),
    )


def _licences(root: Path, name: str) -> tuple[str, ...]:
    path = (root / "usr/share/doc" / name / "copyright").resolve()
    if not path.is_relative_to(root.resolve()) or not path.is_file():  # a link must not lead to this machine
        return ()
    text = path.read_text(errors="replace")
    if not text.startswith(_MACHINE_READABLE):
        return ()
    return tuple(sorted(set(re.findall(r"^License: *(\S.*?) *$", text, re.MULTILINE))))


def _python(metadata: Message, locked: Mapping[tuple[str, str], tuple[str, ...]]) -> PythonPackage:
    name, version = _normal(metadata["Name"]), metadata["Version"]
    return PythonPackage(
        name=name, version=version, licence=_licence(metadata), hashes=locked.get((name, version), ())
    )


def _licence(metadata: Message) -> str:
    if expression := metadata["License-Expression"]:
        return str(expression)
    words = str(metadata["License"] or "")
    if words and "\n" not in words and words != "UNKNOWN":  # some put all of the licence's text there
        return words
    classifiers = [str(each) for each in metadata.get_all("Classifier") or ()]
    return " / ".join(each.rpartition(" :: ")[2] for each in classifiers if each.startswith(_CLASSIFIER))
