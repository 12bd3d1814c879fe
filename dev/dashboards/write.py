"""Writes the dashboards as Grafana reads them: charts/kubetune/files/dashboards/."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dev import generated_files, paths
from dev.dashboards.fleet import fleet
from dev.dashboards.gateway import gateway
from dev.dashboards.job import job
from dev.dashboards.serving import serving

FOLDER = paths.REPOSITORY / "charts" / "kubetune" / "files" / "dashboards"
_BUILDERS = {"fleet": fleet, "gateway": gateway, "job": job, "serving": serving}


def generated() -> dict[Path, str]:
    """Return every file with its content."""
    return {FOLDER / f"{name}.json": _text(name) for name in _BUILDERS}


def main() -> int:
    """Write, or check; the exit status is 1 when files were out of date and were only checked."""
    files = generated()
    return generated_files.write_or_check(files, generated_files.out_of_date(files, FOLDER.glob("*")))


def _text(name: str) -> str:
    made = _BUILDERS[name]().build()
    for place, panel in enumerate(made.panels or (), start=1):
        panel.id_val = place
    return json.dumps(made, cls=JSONEncoder, indent=2) + "\n"


if __name__ == "__main__":
    sys.exit(main())
