"""Writes the dashboards as Grafana reads them: charts/kubetune/files/dashboards/."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dev import paths
from dev.dashboards.fleet import fleet
from dev.dashboards.job import job
from dev.dashboards.serving import serving

FOLDER = paths.REPOSITORY / "charts" / "kubetune" / "files" / "dashboards"
_BUILDERS = {"fleet": fleet, "job": job, "serving": serving}


def generated() -> dict[Path, str]:
    """Return every file with its content."""
    return {FOLDER / f"{name}.json": _text(name) for name in _BUILDERS}


def out_of_date() -> list[Path]:
    """Return the files that are missing or differ, and those of dashboards that are gone."""
    files = generated()
    stale = {path for path in FOLDER.glob("*") if path not in files}
    return sorted(
        stale | {path for path, text in files.items() if not path.exists() or path.read_text() != text}
    )


def main() -> int:
    """Write, or check; the exit status is 1 when files were out of date and were only checked."""
    files, stale = generated(), out_of_date()
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"out of date: {path.relative_to(paths.REPOSITORY)} (run `make generate`)", file=sys.stderr)
        return 1 if stale else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in stale:
        if path in files:
            path.write_text(files[path])
        else:
            path.unlink()
    return 0


def _text(name: str) -> str:
    made = _BUILDERS[name]().build()
    for place, panel in enumerate(made.panels or (), start=1):
        panel.id_val = place
    return json.dumps(made, cls=JSONEncoder, indent=2) + "\n"


if __name__ == "__main__":
    sys.exit(main())
