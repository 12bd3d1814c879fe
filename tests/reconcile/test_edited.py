"""What others do to a job's children: it is said, with who did it where that is known; nothing runs twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import virtual_time
from tests.support.harness import (
    Controllers,
    FakeWeb,
    Operator,
    Outcome,
    finetunejob,
    good,
    true_conditions,
    until,
)
from tests.support.memory_kube import MemoryKube, Object

GONE = {"deletionTimestamp": "2026-01-01T00:00:40Z", "deletionGracePeriodSeconds": 30}
OTHER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "mine", "uid": "their-uid", "controller": True}


def _endless_training(pod: Object) -> Outcome | None:
    return good(pod) if pod["metadata"]["labels"]["kubetune.dev/stage"] == "prepare" else None


def _set_by(manager: str, fields: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"manager": "kubetune", "operation": "Update"},
        {"manager": manager, "operation": "Update", "fieldsV1": fields},
    ]


def _said(kube: MemoryKube) -> dict[str, Any]:
    raw = kube.find("FineTuneJob", "job")
    assert raw
    wanted = ("Stalled", "Reconciling", "Ready")
    found = {c["type"]: c for c in raw["status"]["conditions"] if c["type"] in wanted}
    return next(found[type_] for type_ in wanted if type_ in found)


def _after(
    edit: Callable[[MemoryKube], None],
    *,
    nodes: int = 1,
    start: Callable[[MemoryKube], bool] = lambda kube: kube.find("Job", "job-train-1") is not None,
    restarted: bool = False,
    seconds: float = 100,
) -> tuple[dict[str, Any], list[str]]:
    """Edit something 5 s after the start; what the job says later, and which Jobs are made from then on."""

    async def main() -> tuple[dict[str, Any], list[str]]:
        kube = MemoryKube()
        Controllers(kube=kube, script=_endless_training)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(nodes=nodes))
        await until(lambda: start(kube))
        await asyncio.sleep(5)
        if restarted:
            await operator.stop()
        kube.requests.clear()
        edit(kube)
        if restarted:
            operator = Operator(kube=kube)
            await operator.start()
        await asyncio.sleep(seconds)
        said = _said(kube)
        await asyncio.sleep(seconds)
        assert _said(kube) == said
        assert set(operator.results) == {"ok"}
        await operator.stop()
        return said, [write for write in kube.writes if write.startswith("create Job")]

    return virtual_time.run(main())


def _change(kind: str, name: str, patch: dict[str, Any]) -> Callable[[MemoryKube], None]:
    def edit(kube: MemoryKube) -> None:
        raw = kube.find(kind, name)
        assert raw
        kube.change(raw, patch)

    return edit


@pytest.mark.parametrize("restarted", [False, True], ids=["seen", "while the operator is away"])
@pytest.mark.parametrize("name", ["job-prepare", "job-train-1"])
def test_a_running_job_that_loses_its_owner_is_named_and_nothing_runs_beside_it(
    name: str, restarted: bool
) -> None:
    said, made = _after(
        _change("Job", name, {"metadata": {"ownerReferences": []}}),
        start=lambda kube: kube.find("Job", name) is not None,
        restarted=restarted,
        seconds=60,
    )
    assert (said["reason"], said["type"]) == ("NameConflict", "Stalled")
    assert f"Job {name} has lost its owner reference: put it back, or delete it." in said["message"]
    assert [made_job for made_job in made if name in made_job] in ([], [f"create Job {name}"] * restarted)


def test_a_job_that_is_given_another_owner_is_named_with_who_did_it() -> None:
    fields = {"f:metadata": {"f:ownerReferences": {'k:{"uid":"their-uid"}': {}}}}
    patch = {"metadata": {"ownerReferences": [OTHER], "managedFields": _set_by("kubectl-edit", fields)}}
    said, made = _after(_change("Job", "job-train-1", patch))
    assert said["reason"] == "WaitingForEarlierPods"
    assert (
        "Job job-train-1 was given the owner ConfigMap mine by kubectl-edit: give it back" in said["message"]
    )
    assert made == []


def test_a_lost_label_is_told_beside_what_goes_on() -> None:
    fields = {"f:metadata": {"f:labels": {"f:app.kubernetes.io/managed-by": {}}}}
    labels = {"app.kubernetes.io/managed-by": "Helm"}
    patch = {"metadata": {"labels": labels, "managedFields": _set_by("helm", fields)}}
    said, made = _after(_change("Job", "job-train-1", patch))
    assert said == {
        **said,
        "type": "Reconciling",
        "reason": "Training",
        "message": "Attempt 1 runs on 1 pod. Job job-train-1 has lost the label "
        "app.kubernetes.io/managed-by=kubetune by helm: put it back; until then changes of it are seen late.",
    }
    assert made == []


def test_a_finalizer_that_keeps_a_deleted_job_is_named() -> None:
    fields = {"f:metadata": {"f:finalizers": {'v:"example.com/keep"': {}}}}
    meta = {**GONE, "finalizers": ["example.com/keep"], "managedFields": _set_by("keeper", fields)}

    def edit(kube: MemoryKube) -> None:
        _change("Job", "job-train-1", {"metadata": meta, "status": {"ready": 0, "active": 0}})(kube)
        for pod in [p for p in kube.of_kind("Pod") if p["metadata"]["name"].startswith("job-train")]:
            kube.remove(pod)

    said, made = _after(edit)
    assert said["reason"] == "ChildChanged"
    assert said["message"] == (
        "Job job-train-1 is deleted, and kept by the finalizer example.com/keep, set by keeper: whoever set "
        "it has to remove it."
    )
    assert made == []


def test_a_job_that_is_deleted_in_the_foreground_on_a_lost_node_names_pod_and_node() -> None:
    def edit(kube: MemoryKube) -> None:
        for pod in [p for p in kube.of_kind("Pod") if p["metadata"]["name"].startswith("job-train")]:
            kube.change(pod, {"metadata": GONE, "spec": {"nodeName": "gpu-7"}})
        meta = {**GONE, "finalizers": ["foregroundDeletion"]}
        _change("Job", "job-train-1", {"metadata": meta, "status": {"ready": 0, "terminating": 1}})(kube)

    said, made = _after(edit)
    assert said["reason"] == "NodeLost"
    assert "Pod job-train-1-0-" in said["message"]
    assert "which node gpu-7 does not confirm" in said["message"]
    assert "taint node.kubernetes.io/out-of-service" in said["message"]
    assert made == []


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ({"parallelism": 0}, "spec.parallelism of Job job-train-1 was set from 2 to 0 by kubectl-patch."),
        (
            {"parallelism": 1, "completions": 1},
            "spec.completions of Job job-train-1 was set from 2 to 1 by kubectl-patch.",
        ),
    ],
)
def test_a_gang_that_somebody_resizes_is_named(spec: dict[str, int], what: str) -> None:
    fields = {"f:spec": {f"f:{name}": {} for name in spec}}
    patch = {"spec": spec, "metadata": {"managedFields": _set_by("kubectl-patch", fields)}}
    said, made = _after(_change("Job", "job-train-1", patch), nodes=2)
    assert said["reason"] == "ChildChanged"
    assert said["message"].startswith(what)
    assert made == []


@pytest.mark.parametrize("foreground", [False, True], ids=["its Job is gone", "its Job waits for them"])
def test_what_keeps_pods_of_an_earlier_job_is_named(foreground: bool) -> None:
    def edit(kube: MemoryKube) -> None:
        kube.collect_after = 1e6
        for pod in [p for p in kube.of_kind("Pod") if p["metadata"]["name"].startswith("job-train")]:
            kube.change(pod, {"metadata": GONE, "spec": {"nodeName": "gpu-7"}})
        for job in list(kube.of_kind("Job")):
            if foreground and "train" in job["metadata"]["name"]:
                kube.change(job, {"metadata": {**GONE, "finalizers": ["foregroundDeletion"]}})
            else:
                kube.remove(job)
        known = kube.find("FineTuneJob", "job")
        assert known
        kube.remove(known)
        for place in [place for place in kube.objects if place[0] in ("ConfigMap", "Service")]:
            del kube.objects[place]
        kube.add(finetunejob())

    said, made = _after(edit)
    assert said["reason"] == "WaitingForEarlierPods"
    assert "which node gpu-7 does not confirm" in said["message"]
    assert "If it lasts" not in said["message"]
    assert made == []


def test_a_selector_of_the_public_service_that_was_changed_is_named_when_it_does_not_answer() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        web = FakeWeb(answering=False)
        operator = Operator(kube=kube, web=web)
        await operator.start()
        kube.add(finetunejob(serving=True))
        await until(lambda: kube.find("Service", "job"))
        fields = {"f:spec": {"f:selector": {"f:kubetune.dev/stage": {}}}}
        changed = {"selector": {"kubetune.dev/stage": "blue"}}
        _change("Service", "job", {"spec": changed, "metadata": {"managedFields": _set_by("me", fields)}})(
            kube
        )
        await asyncio.sleep(60)
        assert (
            "The selector of Service job was changed by me (kubetune.dev/stage), so it leads to other pods "
            "or none: delete the Service, and it is made again." in _said(kube)["message"]
        )
        service = kube.find("Service", "job")
        assert service
        kube.remove(service)
        web.answering = True
        await until(lambda: "Ready" in true_conditions(kube.find("FineTuneJob", "job")))
        assert "selector" not in _said(kube)["message"]
        await operator.stop()

    virtual_time.run(main())
