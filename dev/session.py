"""The steps of `make cluster`, `make demo` and the cluster tests: a cluster with this checkout's chart."""

from __future__ import annotations

from dev import deploy, target
from dev.cluster.kubeconfig import admin_kubeconfig
from dev.cluster.preflight import require
from dev.cluster.s3 import S3Endpoint
from dev.cluster.up import up
from dev.demo import data
from dev.demo.run import TRIAGE
from dev.images.build import ensure_images
from dev.images.model import ensure_demo_model
from dev.kubectl import Kubectl
from dev.progress import step


def ensure_cluster() -> Kubectl:
    """Return kubectl for a cluster that runs this checkout's operator; what is there already is reused.

    The local cluster also gets the demo's model and rows into its S3 endpoint.
    """
    foreign = target.foreign()
    if foreign is None:
        require()
        up()
    else:
        target.confirm(foreign, action="Installing KubeTune")
    images = ensure_images()
    kubectl = target.kubectl_of(foreign.kubeconfig if foreign else admin_kubeconfig())
    if foreign is None:
        model = ensure_demo_model()
        with step("Put the demo's model and rows into S3"):
            data.upload(S3Endpoint(), model, data.MODEL_PREFIX)
            data.upload(S3Endpoint(), TRIAGE, data.DATA_PREFIX)
    with step("Install the chart"):
        deploy.install(kubectl, images)
    return kubectl
