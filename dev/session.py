"""The steps of `make cluster`, `make demo` and the cluster tests: a cluster with this checkout's chart."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dev import deploy, target
from dev.cluster import binaries, s3
from dev.cluster.kubeconfig import admin_kubeconfig
from dev.cluster.packages import ensure_packages
from dev.cluster.preflight import require
from dev.cluster.up import up
from dev.demo import data
from dev.demo.run import TRIAGE
from dev.images.build import ImageRefs, ensure_images
from dev.images.model import ensure_demo_model
from dev.kubectl import Kubectl
from dev.progress import note, step


def ensure_cluster() -> Kubectl:
    """Return kubectl for a cluster that runs this checkout's operator; what is there already is reused."""
    foreign = target.foreign()
    if foreign is None:
        images = _local_cluster()
    else:
        target.confirm(foreign, action="Installing KubeTune")
        images = ensure_images()
    kubectl = target.kubectl_of(foreign.kubeconfig if foreign else admin_kubeconfig())
    with step("Install the chart"):
        deploy.install(kubectl, images)
    return kubectl


def _local_cluster() -> ImageRefs:
    """The local cluster, with the demo's model and rows in its S3 endpoint."""
    require()
    ensure_packages()
    with ThreadPoolExecutor(max_workers=2) as pool:
        # They work while images wait for the network and the disk.
        programs, model = pool.submit(_build_programs), pool.submit(ensure_demo_model)
        images = ensure_images()
        if not (programs.done() and model.done()):
            with step("Build Kubernetes and make the model (they began beside the images)"):
                model.result()
                programs.result()
    programs.result()
    up()
    _upload(model.result())
    return images


def _build_programs() -> None:
    if not binaries.are_built():
        note("   Kubernetes is built beside the images (about 6 minutes, once)")
    binaries.ensure_binaries()
    s3.build_gateway()


def _upload(model: Path) -> None:
    with step("Put the demo's model and rows into S3"):
        data.upload(s3.S3Endpoint(), model, data.MODEL_PREFIX)
        data.upload(s3.S3Endpoint(), TRIAGE, data.DATA_PREFIX)
