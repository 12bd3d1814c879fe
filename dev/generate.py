"""All generated files by one command. Each generator writes its own, or says that they are out of date."""

from __future__ import annotations

import subprocess
import sys

from dev import paths

_GENERATORS = (
    "kubetune.api.crdgen",  # crds/ and docs/reference/finetunejob.md
    "dev.chart",  # the chart's copy of the CRD and its table of values
)
_METRICS = paths.REPOSITORY / "docs" / "reference" / "metrics.md"
_METRICS_HEAD = """<!-- DO NOT EDIT; run make generate -->
# Metrics of the operator

Served on `/metrics` of the operator's pod. [monitor.md](../how-to/monitor.md) has the trainer's and vLLM's.

"""


def generate(*, check: bool) -> int:
    """Run every generator, in the order in which they read each other's files; return the first failure."""
    codes = [_metrics(check=check)]
    for generator in _GENERATORS:
        argv = [sys.executable, "-m", generator, *(["--check"] if check else [])]
        codes.append(subprocess.run(argv, check=False).returncode)
    return next((code for code in codes if code), 0)


def _metrics(*, check: bool) -> int:
    from kubetune.metrics import table

    text = _METRICS_HEAD + table()
    if _METRICS.exists() and _METRICS.read_text() == text:
        return 0
    if check:
        print(f"out of date: {_METRICS.relative_to(paths.REPOSITORY)} (run `make generate`)")
        return 1
    _METRICS.write_text(text)
    return 0
