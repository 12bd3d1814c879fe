"""written.json of a run: the digest of every checkpoint and artifact that the run itself has published.

A manifest says that a directory is whole, not where it comes from: one that was copied from another run, or
edited together with its manifest, verifies too. Only what is in the ledger is believed. Whoever can write to
the volume can write the ledger as well: it finds mistakes and careless tampering, and is no signature.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from .manifest import Manifest, ManifestError, naming, write_json

LEDGER_NAME = "written.json"


class Ledger:
    """What a run has published, by name; written by rank 0 alone, which holds the run's lock."""

    def __init__(self, root: Path) -> None:
        """``root`` is the run's directory."""
        self._path = root / LEDGER_NAME

    def record(self, name: str, manifest: Manifest) -> None:
        """Remember what is about to get its final name."""
        self._write({**(self._read() or {}), name: manifest.digest})

    def keep(self, kind: str, names: Collection[str]) -> None:
        """Forget entries that begin with ``kind`` and are none of ``names``."""
        held = self._read() or {}
        left = {name: digest for name, digest in held.items() if not name.startswith(kind) or name in names}
        if left != held:
            self._write(left)

    def require(self, name: str, manifest: Manifest) -> None:
        """Compare a published directory with what the run has written.

        Raises:
            ManifestError: it is another one. A run of an earlier version has no ledger, and all is believed.
            OSError: the volume did not let the ledger be read.
        """
        held = self._read()
        if held is not None and held.get(name) != manifest.digest:
            raise ManifestError(f"{name} was not written by this run, or was edited since")

    def _read(self) -> dict[str, str] | None:
        try:
            with naming(self._path):
                held = json.loads(self._path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError:
            return {}
        return held if isinstance(held, dict) else {}

    def _write(self, held: dict[str, str]) -> None:
        write_json(self._path, dict(sorted(held.items())))
