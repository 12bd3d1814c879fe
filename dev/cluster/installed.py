"""Owns the record of what KubeTune has installed on this machine: all that `make uninstall` takes back.

It belongs to the machine, not to a cache: it stays when the caches are deleted, and is one for all clones.
Standard library only, since the first package may be installed before there is a .venv.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dev.cluster.files import ensure_file
from dev.errors import DevError

RECORD = Path("/var/lib/kubetune/installed.json")
# What programs of these packages make, beside what dpkg knows of. The inner ones come first.
_PATHS = tuple(
    map(
        Path,
        (
            "/etc/cni/net.d/cni.lock",  # buildah
            "/etc/cni/net.d",
            "/etc/cni",
            "/var/lib/containers/cache/blob-info-cache-v1.boltdb",  # buildah: which layers a registry has
            "/var/lib/containers/cache",
            "/var/lib/containers",
        ),
    )
)


class RecordError(DevError):
    """A record that this version cannot read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What was installed or made, none of which was there before."""

    asked_for: tuple[str, ...] = ()
    """Packages, by name."""
    dependencies: tuple[str, ...] = ()
    """Packages that these brought."""
    configured: tuple[str, ...] = ()
    """Those of both whose configuration was there already, from an installation that somebody removed."""
    upgraded: tuple[str, ...] = ()
    """Packages that were there in an older version."""
    users: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)
    paths: tuple[str, ...] = ()
    """Files and folders that were not there; the inner ones come first."""

    @property
    def packages(self) -> set[str]:
        """All packages that were installed."""
        return {*self.asked_for, *self.dependencies}

    def joined(self, later: "Record") -> "Record":
        """Return this record with what was installed later."""
        return Record(
            asked_for=_union(self.asked_for, later.asked_for),
            dependencies=_union(self.dependencies, later.dependencies),
            configured=_union(self.configured, later.configured),
            upgraded=_union(self.upgraded, later.upgraded),
            users={**self.users, **later.users},
            groups={**self.groups, **later.groups},
            paths=tuple(path for path in map(str, _PATHS) if path in {*self.paths, *later.paths}),
        )


def _union(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*first, *second}))


def absent_paths() -> tuple[str, ...]:
    """Return what the packages' programs will make and is not there yet."""
    return tuple(str(path) for path in _PATHS if not path.exists())


def load() -> Record | None:
    """Return the record, or None where nothing was ever installed by this project or all is taken back."""
    try:
        content = json.loads(RECORD.read_text())
        return Record(
            asked_for=tuple(content["asked_for"]),
            dependencies=tuple(content["dependencies"]),
            configured=tuple(content["configured"]),
            upgraded=tuple(content["upgraded"]),
            users=dict(content["users"]),
            groups=dict(content["groups"]),
            paths=tuple(content["paths"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise RecordError(f"{RECORD} is no record of this version: {error}") from None


def save(record: Record) -> None:
    """Write the record."""
    ensure_file(RECORD, json.dumps(dataclasses.asdict(record), indent=2) + "\n")


def forget() -> None:
    """Delete the record, when all is taken back."""
    RECORD.unlink(missing_ok=True)
    RECORD.parent.rmdir()


def ids(table: str) -> dict[str, int]:
    """Return the names of `passwd` or `group` in /etc with their numbers."""
    lines = (line.split(":") for line in Path("/etc", table).read_text().splitlines())
    return {fields[0]: int(fields[2]) for fields in lines if len(fields) > 2 and fields[2].isdigit()}
