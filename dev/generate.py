"""All generated files by one command. Each generator writes its own, or says that they are out of date."""

from __future__ import annotations

import subprocess
import sys

_GENERATORS = (
    ("kubetune.api.crdgen",),  # crds/ and docs/reference/finetunejob.md
    ("kubetune.metrics",),  # docs/reference/metrics.md
    ("dev.chart",),  # the chart's copy of the CRD and its table of values
)


def generate(*, check: bool) -> int:
    """Run every generator, in the order in which they read each other's files; return the first failure."""
    codes = []
    for generator in _GENERATORS:
        argv = [sys.executable, "-m", *generator, *(["--check"] if check else [])]
        codes.append(subprocess.run(argv, check=False).returncode)
    return next((code for code in codes if code), 0)
