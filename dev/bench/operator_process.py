"""The operator as ``kubetune operator`` runs it, but that pods are asked on this machine: no DNS knows them.

``python -m dev.bench.operator_process`` with KUBETUNE_BENCH_PODS_PORT, and KUBETUNE_BENCH_PROFILE to name a
file for a profile.
"""

from __future__ import annotations

import cProfile
import os
import sys
from typing import Final

from typing_extensions import override
from yarl import URL

import kubetune.process.main
from kubetune.cli.operator import run_operator
from kubetune.pods_http.client import HttpWeb

PODS_PORT: Final = "KUBETUNE_BENCH_PODS_PORT"
PROFILE: Final = "KUBETUNE_BENCH_PROFILE"


class _LocalWeb(HttpWeb):
    @override
    async def _read(self, url: str) -> bytes:
        local = URL(url).with_host("127.0.0.1").with_port(int(os.environ[PODS_PORT]))
        return await super()._read(str(local))


def main() -> int:
    """Run until SIGTERM."""
    setattr(kubetune.process.main, HttpWeb.__name__, _LocalWeb)  # what ``main`` builds its probes with
    path = os.environ.get(PROFILE)
    if path is None:
        return run_operator()
    profile = cProfile.Profile()
    try:
        return profile.runcall(run_operator)
    finally:
        profile.dump_stats(path)


if __name__ == "__main__":
    sys.exit(main())
