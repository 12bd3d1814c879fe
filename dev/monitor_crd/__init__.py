"""Makes the Prometheus Operator's CRDs that the chart needs from its Go types, as that project does itself.

The version of the types is locked in go.mod here; the CRDs are cached outside the checkout.
"""

import hashlib
import os
import tempfile
from pathlib import Path

from dev import paths, shell
from dev.cluster.binaries import build_log, ensure_module

_HERE = Path(__file__).parent
_TYPES = "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
_GENERATOR = ("sigs.k8s.io/controller-tools/cmd/controller-gen", "v0.23.0")
PLURALS = ("podmonitors", "prometheusrules")
"""Of the kinds that the chart makes objects of."""


def ensure_monitor_crds() -> list[Path]:
    """Return the files of the CRDs, made if need be: about a minute when nothing is cached."""
    digest = hashlib.sha256("\0".join([*_GENERATOR, (_HERE / "go.sum").read_text()]).encode()).hexdigest()[
        :16
    ]
    made = paths.cache() / "crds" / digest
    crds = [made / f"monitoring.coreos.com_{plural}.yaml" for plural in PLURALS]
    if all(crd.exists() for crd in crds):
        return crds
    generator = ensure_module(*_GENERATOR)
    made.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=made) as folder:
        options = "crd:crdVersions=v1,allowDangerousTypes=true"  # as upstream: some limits are floats
        shell.run(
            [generator, options, f"paths={_TYPES}", f"output:crd:dir={folder}"],
            cwd=_HERE,
            env={"GOFLAGS": "-mod=readonly"},
            log=build_log(),
        )
        for crd in crds:
            os.replace(Path(folder) / crd.name, crd)
    return crds
