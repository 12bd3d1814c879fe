"""Makes the Prometheus Operator's PodMonitor CRD from its Go types, as that project does itself.

The version of the types is locked in go.mod here; the CRD is cached outside the checkout.
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
_FILE = "monitoring.coreos.com_podmonitors.yaml"


def ensure_pod_monitor_crd() -> Path:
    """Return the file of the CRD, made if need be: about a minute when nothing is cached."""
    digest = hashlib.sha256("\0".join([*_GENERATOR, (_HERE / "go.sum").read_text()]).encode()).hexdigest()[
        :16
    ]
    crd = paths.cache() / "crds" / digest / _FILE
    if crd.exists():
        return crd
    generator = ensure_module(*_GENERATOR)
    crd.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=crd.parent) as folder:
        options = "crd:crdVersions=v1,allowDangerousTypes=true"  # as upstream: some limits are floats
        shell.run(
            [generator, options, f"paths={_TYPES}", f"output:crd:dir={folder}"],
            cwd=_HERE,
            env={"GOFLAGS": "-mod=readonly"},
            log=build_log(),
        )
        os.replace(Path(folder) / _FILE, crd)
    return crd
