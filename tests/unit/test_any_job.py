"""Whatever the API admits becomes valid, restricted manifests at every stage."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
from hypothesis import HealthCheck, assume, given, settings

from kubetune.api.v1alpha1 import validate_spec
from kubetune.spec.resolve import resolve
from kubetune.spec.settings import JobSettings
from kubetune.vocabulary.errors import SpecError
from tests.crd.cases import changed
from tests.crd.generated import Change, jobs
from tests.support.golden import SETTINGS
from tests.support.simulated import Simulated


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
