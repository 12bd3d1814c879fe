"""Whatever the API admits becomes valid, restricted manifests and a valid status at every stage."""

from __future__ import annotations

import json
from typing import Any

import kubernetes_validate
import pytest
from hypothesis import HealthCheck, assume, given, settings

from kubetune.api.v1alpha1 import validate_spec
from kubetune.decide.invalid_spec import invalid_status
from kubetune.decide.status import compute_status
from kubetune.spec.resolve import check_serving, resolve
from kubetune.spec.settings import JobSettings
from kubetune.vocabulary.errors import SpecError
from tests.crd.cases import changed
from tests.crd.generated import Change, jobs
from tests.crd.offline import admit, admit_status, stored
from tests.support.golden import SETTINGS
from tests.support.simulated import Simulated


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(changes=jobs())
def test_any_admitted_job_yields_valid_manifests(changes: list[Change]) -> None:
    job = changed({})
    for change in changes:
        change(job)
    try:
        validate_spec(job)
        resolve(validate_spec(job), JobSettings.model_validate(SETTINGS))
    except SpecError:
        assume(False)
    cluster = Simulated(job["metadata"]["name"], job["spec"])
    manifests: list[dict[str, Any]] = []
    for _ in range(3):
        todo = cluster.reconcile()
        manifests += (*todo.create_once, *todo.apply)
        running = cluster.running()
        for rank in range(running["spec"]["completions"] if running else 0):
            cluster.end_pod(running, 0, rank=rank, message=cluster.summary(running) if rank == 0 else "")
    kinds = [manifest["kind"] for manifest in manifests]
    assert kinds.count("Job") == 2
    assert ("Deployment" in kinds) == ("serving" in job["spec"])
    for manifest in manifests:
        kubernetes_validate.validate(manifest, "1.37", strict=True)


@pytest.mark.slow
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=jobs())
def test_any_job_gets_a_status_that_the_api_admits(changes: list[Change]) -> None:
    """Those that are refused today too: they may have been stored before there was a rule."""
    job = changed({})
    for change in changes:
        change(job)
    assert refused_statuses(job if admit(job) else stored(job)) == []


BIG = {f"example.com/{number:02d}": "9" * 32 for number in range(32)}


@pytest.mark.parametrize(
    "changes",
    [
        {"training.resources": {"limits": BIG}},
        {"training.resources": {"limits": BIG, "requests": {f"{name}-r": 1 for name in BIG}}},
        {"serving": {"resources": {"limits": BIG}}},
        {"training.image": "i" * 512, "serving": {"image": "i" * 512}},
        {"metadata.name": "n" * 40, "model.uri": f"pvc://{'c' * 253}/{'p' * 252}"},
        {"storage": {"claimName": "c" * 253}},
        {"training.learningRate": "0.00000000001e-9"},
        {"training.nodes": 512, "training.gpusPerNode": 64, "training.batchSize": 32768},
    ],
    ids=lambda changes: ", ".join(changes),
)
def test_the_largest_that_is_admitted_fits_into_the_status(changes: dict[str, Any]) -> None:
    job = changed(changes)
    assert admit(job) == []
    assert refused_statuses(stored(job)) == []


def refused_statuses(job: dict[str, Any]) -> list[str]:
    """What the API server says about the status at every stage of the job's life."""
    cluster = Simulated(job["metadata"]["name"], job["spec"])
    errors = admit_status(first_status(cluster))
    try:
        resolve(cluster.job, cluster.settings)
        check_serving(cluster.job, cluster.settings)
    except SpecError:
        return errors
    for _ in range(3):
        cluster.reconcile()
        errors += admit_status(cluster.raw["status"])
        assert cluster.job.status is not None, "it is read again"
        running = cluster.running()
        if running is not None:
            cluster.end_pod(running, 0, message=cluster.summary(running))
    return errors


def first_status(cluster: Simulated) -> dict[str, Any]:
    """The status at the first look, be the spec right or wrong."""
    try:
        job = cluster.job
    except SpecError as error:
        return invalid_status(cluster.raw, error, now=cluster.now)
    try:
        config = resolve(job, cluster.settings)
        check_serving(job, cluster.settings)
    except SpecError as error:
        status = compute_status(job, cluster.observe(), None, now=cluster.now, error=error)
    else:
        status = compute_status(job, cluster.observe(), config, now=cluster.now)
    written: dict[str, Any] = json.loads(json.dumps(status))
    return written
