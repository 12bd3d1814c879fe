"""The steps of `make cluster`, `make demo` and the cluster tests: a cluster with this checkout's chart."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dev import deploy, gateway, paths, target
from dev.cluster import binaries, machine, s3
from dev.cluster.containerd import Containerd
from dev.cluster.kubeconfig import local_kubeconfig
from dev.cluster.lock import locked
from dev.cluster.packages import ensure_packages
from dev.cluster.preflight import Purpose, require
from dev.cluster.registry import ensure_registry
from dev.cluster.up import up
from dev.demo import data
from dev.demo.run import TRIAGE
from dev.images.build import ImageRefs, ensure_images
from dev.images.inputs import NAMES
from dev.images.model import ensure_demo_model
from dev.kubectl import Kubectl
from dev.progress import note, step
from dev.target import Foreign, TargetError

_LOW_PRIORITY = 10


def ensure_local_cluster() -> Kubectl:
    """Return kubectl for the local cluster, running this checkout's operator; what is there is reused."""
    images = _local_cluster()
    kubectl = target.kubectl_of(local_kubeconfig())
    install_locally(kubectl, images)
    return kubectl


def install_locally(kubectl: Kubectl, images: ImageRefs) -> None:
    """Install the chart into the local cluster, with the gateway."""
    with step("Install the chart"):
        kubectl.apply(*gateway.surroundings(deploy.NAMESPACE))
        deploy.install(kubectl, images, gateway=gateway.values())


def ensure_cluster_elsewhere(cluster: Foreign, *, further: Sequence[str] = ()) -> Kubectl:
    """Install this checkout's operator into a cluster that is not ours, after asking.

    ``further`` are the changes that the caller will make, which are asked about too.
    """
    require(Purpose.FOREIGN)
    kubectl = target.kubectl_elsewhere(cluster.kubeconfig)
    target.confirm(kubectl, [*changes(kubectl, cluster), *further])
    images = ensure_images(registry=cluster.registry)
    with step("Install the chart"):
        deploy.install(kubectl, images)
    return kubectl


def changes(kubectl: Kubectl, cluster: Foreign) -> Iterator[str]:
    """Name what installing changes; refuse to reset what others have set."""
    found = deploy.release(kubectl)
    others = found.foreign_values() if found else []
    if others and not target.may_replace_values():
        raise TargetError(
            f"The release {deploy.RELEASE} in {deploy.NAMESPACE} has values of its own that this would reset:"
            f" {', '.join(others)}. Upgrade it with helm and these values"
            " (docs/how-to/install-on-a-gpu-cluster.md), or set KUBETUNE_REPLACE=1 to lose them."
        )
    yield f"push the images {NAMES} to {cluster.registry}"
    what = (
        "the CustomResourceDefinition of FineTuneJobs, the operator's ClusterRole, and rights on FineTuneJobs"
        " for the roles view, edit and admin"
    )
    if found is None:
        yield (
            f"install the release {deploy.RELEASE} into the namespace {deploy.NAMESPACE}, made if need be,"
            f" with {what}"
        )
    else:
        lost = f" and its values {', '.join(others)} reset" if others else ""
        yield (
            f"upgrade the release {deploy.RELEASE} in the namespace {deploy.NAMESPACE} with {what};"
            f" its images become those of this checkout{lost}"
        )


def _local_cluster() -> ImageRefs:
    """The local cluster, with the demo's model and rows in its S3 endpoint."""
    require()
    ensure_packages()
    with (
        ThreadPoolExecutor(max_workers=2) as pool,
        ThreadPoolExecutor(max_workers=1, initializer=_give_way) as compilers,
    ):
        # They work while images wait for the network and the disk.
        programs, model = compilers.submit(_build_programs), pool.submit(ensure_demo_model)
        images = ensure_images(registry=ensure_registry())
        if not (programs.done() and model.done()):
            pulls = pool.submit(_pull, images)
            with step("Build Kubernetes and make the model (they began beside the images)"):
                model.result()
                programs.result()
                pulls.result()
    programs.result()
    up()
    _upload(model.result())
    return images


def _give_way() -> None:
    """Lower the priority of this thread and of all that it starts: images are the longer way."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOW_PRIORITY)


def _build_programs() -> None:
    if not binaries.are_built():
        note("   Kubernetes is built beside the images (about 6 minutes, once)")
    binaries.ensure_binaries()
    s3.build_gateway()


def _pull(images: ImageRefs) -> None:
    """Have the node fetch the images: the compilers leave time for it, and the first job does not wait."""
    containerd = Containerd(paths.cluster_state(), binaries=binaries.locate())
    with locked("cluster"):
        machine.load_modules()
        containerd.start()
        for image in images.by_name.values():
            containerd.pull(image)


def _upload(model: Path) -> None:
    with step("Put the demo's model and rows into S3"):
        data.upload(s3.S3Endpoint(), model, data.MODEL_PREFIX)
        data.upload(s3.S3Endpoint(), TRIAGE, data.DATA_PREFIX)
