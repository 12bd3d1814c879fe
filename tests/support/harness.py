"""The operator without kopf and HTTP, on an API server in memory whose controllers do as a script says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from kubetune.cluster.debounce import News
from kubetune.cluster.index import RELISTED, Index
from kubetune.cluster.lease import Elector
from kubetune.cluster.watch import WATCHED
from kubetune.controller.leader import Leader, Means
from kubetune.controller.rate import StatusPace
from kubetune.controller.reconcile import Dependencies, Reconciler
from kubetune.controller.work_queue import WorkQueue
from kubetune.facts.canary import Canary
from kubetune.facts.views import Key, Kind
from kubetune.pods_http.probes import Probes
from kubetune.process.feed import take
from kubetune.process.settings import Settings
from kubetune.stages.table import STAGES, Stages
from kubetune.vocabulary import names
from kubetune.vocabulary.errors import KubeTuneError
from kubetune.vocabulary.periods import RELIST_PERIOD
from kubetune_trainer.contract.messages import Progress
from tests.support import messages, virtual_time
from tests.support.link import Link
from tests.support.memory_kube import Lag, MemoryKube, Object, drawn

NAMESPACE = "team"
SETTINGS = Settings(trainer_image="trainer:1", serving_image="serving:1")
ENDED = ("Succeeded", "Failed")

Outcome = tuple[int, str]
Script = Callable[[Object], Outcome | None]


def good(pod: Object) -> Outcome | None:
    """Everything succeeds."""
    stage = pod["metadata"]["labels"]["kubetune.dev/stage"]
    return {"prepare": (0, messages.prepared()), "train": (0, messages.trained())}.get(stage)


def finetunejob(name: str = "job", *, serving: bool = False, **training: Any) -> Object:
    """A small FineTuneJob."""
    return {
        "apiVersion": "kubetune.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "model": {"uri": "pvc://models/smol"},
            "dataset": {"train": {"uri": "pvc://datasets/train.jsonl"}},
            "training": {"gpusPerNode": 0, **training},
            **({"serving": {}} if serving else {}),
        },
    }


SAME = Canary(verdict="Same", message="Its 8 answers are 0 off.", digest="sha256:1", weights="sha256:2")


@dataclass(slots=True)
class FakeWeb:
    """Pods that answer at once."""

    step: int = 0
    answering: bool = True
    asked: int = 0
    said: Canary = SAME
    """What servers say of themselves, ready or not."""

    async def canary(self, url: str) -> Canary | str:
        if ".svc/" not in url:
            return self.said  # a pod that is not ready
        self.asked += 1
        return self.said if self.answering else "All connection attempts failed"

    async def progress(self, url: str) -> Progress | None:
        del url
        self.step += 1
        return Progress(step=self.step, total_steps=1000, epoch="0.10")


@dataclass(slots=True, kw_only=True)
class Controllers:
    """Job controller, Deployment controller and kubelet, each a little late."""

    kube: MemoryKube
    script: Script = good
    pod_after: Lag = 0.1
    unaware_for: Lag = 0.0
    """How long the Job controller makes pods of a Job that is gone."""
    ready_after: float = 0.5
    runs_for: float = 20.0
    ends_after: float = 1.0
    """From the last pod's end to the Job's condition."""
    stops_after: float = 1.0
    """From SIGTERM to the end of a pod."""
    needs_nodes: bool = False
    """Training pods run when somebody has given them a node, and get on when all of a Job run."""
    only_first: str | None = None
    """Of this Job only the first pod ever starts."""
    skew: timedelta = timedelta()
    """Of the clocks of nodes against the API server's."""

    _aware: set[str] = field(default_factory=set)
    """Jobs that the Job controller knows to be gone, or to have been given their pods."""

    def __post_init__(self) -> None:
        self.kube.watchers.append(self._event)

    def _event(self, kind: Kind, type_: str, raw: Object) -> None:
        loop = asyncio.get_running_loop()
        uid = raw["metadata"]["uid"]
        if type_ == "ADDED" and kind is Kind.JOB:
            loop.call_later(drawn(self.pod_after), self._start_pods, raw)
        elif type_ == "DELETED" and kind is Kind.JOB:
            loop.call_later(drawn(self.unaware_for), self._aware.add, uid)
        elif kind is Kind.POD and type_ == "ADDED":
            loop.call_later(self.ready_after, self._run_pod, uid)
        elif kind is Kind.DEPLOYMENT and type_ != "DELETED" and not _rolled_out(raw):
            loop.call_later(self.ready_after, self._roll_out, uid)

    def _by_uid(self, uid: str | None) -> Object | None:
        return next((o for o in self.kube.objects.values() if o["metadata"]["uid"] == uid), None)

    def _start_pods(self, job: Object) -> None:
        uid = job["metadata"]["uid"]
        if uid in self._aware:
            return
        self._aware.add(uid)
        count = job["spec"].get("completions", 1)
        for index in range(count):
            self.kube.add(
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {
                        "namespace": job["metadata"]["namespace"],
                        "name": f"{job['metadata']['name']}-{index}-{uid}",
                        "labels": job["spec"]["template"]["metadata"]["labels"],
                        "annotations": {"batch.kubernetes.io/job-completion-index": str(index)},
                        "ownerReferences": [{"controller": True, "uid": uid}],
                    },
                    "spec": job["spec"]["template"]["spec"],
                    "status": {"phase": "Pending"},
                }
            )
        self._count(uid)

    def _run_pod(self, uid: str) -> None:
        pod = self._by_uid(uid)
        if pod is None or pod["status"]["phase"] in ENDED:
            return
        name = pod["metadata"]["name"]
        held = self.needs_nodes and "-train-" in name and "nodeName" not in pod["spec"]
        held |= self.only_first is not None and name.startswith(self.only_first) and "-0-uid" not in name
        if held:
            asyncio.get_running_loop().call_later(self.ready_after, self._run_pod, uid)
            return
        self.kube.change(pod, {"status": {"phase": "Running", "startTime": self._stamp()}})
        self._count(pod["metadata"]["ownerReferences"][0]["uid"])
        asyncio.get_running_loop().call_later(self.runs_for, self._end_pod, uid)

    def _end_pod(self, uid: str) -> None:
        pod = self._by_uid(uid)
        if pod is None:
            return
        peers = self._pods(pod["metadata"]["ownerReferences"][0]["uid"])
        alone = self.needs_nodes and any(peer["status"]["phase"] == "Pending" for peer in peers)
        outcome = None if alone else self.script(pod)
        if outcome is None:
            asyncio.get_running_loop().call_later(self.runs_for, self._end_pod, uid)
            return
        self.end_pod(pod, *outcome)

    def end_pod(self, pod: Object, code: int, message: str) -> None:
        """Let a pod end."""
        stamp = self._stamp()
        ended = {"exitCode": code, "reason": "Error" if code else "Completed", "message": message}
        ended |= {"startedAt": stamp, "finishedAt": stamp}
        self.kube.change(
            pod,
            {
                "status": {
                    "phase": "Failed" if code else "Succeeded",
                    "containerStatuses": [{"name": "trainer", "state": {"terminated": ended}}],
                }
            },
        )
        uid = pod["metadata"]["ownerReferences"][0]["uid"]
        self._count(uid)
        if code:
            self._stop_pods(uid)
        asyncio.get_running_loop().call_later(self.ends_after, self._end_job, uid)

    def _stamp(self) -> str:
        """Now, by the clock of nodes."""
        return (virtual_time.now() + self.skew).strftime("%Y-%m-%dT%H:%M:%SZ")

    def suspend(self, name: str) -> None:
        """Suspend a Job as Kueue or a person does: its pods are let go, and told to stop."""
        job = self.kube.find("Job", name)
        assert job
        self.kube.change(job, {"spec": {"suspend": True}})
        self._stop_pods(job["metadata"]["uid"])

    def resume(self, name: str) -> None:
        """Let a suspended Job go on, with new pods."""
        job = self.kube.find("Job", name)
        assert job
        self._aware.discard(job["metadata"]["uid"])
        self._start_pods(self.kube.change(job, {"spec": {"suspend": False}}))

    def _stop_pods(self, uid: str) -> None:
        for pod in self._pods(uid):
            if pod["status"]["phase"] not in ENDED:
                self.kube.change(pod, {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})
                asyncio.get_running_loop().call_later(
                    self.stops_after, self._stop_pod, pod["metadata"]["uid"]
                )

    def _stop_pod(self, uid: str) -> None:
        """A pod that is deleted says that it was stopped, and is gone."""
        pod = self._by_uid(uid)
        if pod is None:
            return
        stopped: Object = {
            "exitCode": 44,
            "message": '{"reason": "Preempted", "message": "SIGTERM: stopped."}',
        }
        stopped |= {"finishedAt": self._stamp()}
        statuses = [{"name": "trainer", "state": {"terminated": stopped}}]
        pod = self.kube.change(pod, {"status": {"phase": "Failed", "containerStatuses": statuses}})
        owner = pod["metadata"]["ownerReferences"][0]["uid"]
        self._count(owner)
        self.kube.remove(pod)
        asyncio.get_running_loop().call_later(self.ends_after, self._end_job, owner)

    def _pods(self, uid: str) -> list[Object]:
        pods = self.kube.of_kind(Kind.POD)
        return [p for p in pods if p["metadata"]["ownerReferences"][0]["uid"] == uid]

    def _count(self, uid: str) -> None:
        job = self._by_uid(uid)
        if job is None:
            return
        phases = [pod["status"]["phase"] for pod in self._pods(uid)]
        counts = {
            "active": sum(phase not in ENDED for phase in phases),
            "ready": phases.count("Running"),
            "succeeded": phases.count("Succeeded"),
            "failed": phases.count("Failed"),
        }
        self.kube.change(job, {"status": counts})

    def _end_job(self, uid: str) -> None:
        job = self._by_uid(uid)
        pods = self._pods(uid)
        if job is None or not pods or any(pod["status"]["phase"] not in ENDED for pod in pods):
            return
        good = all(pod["status"]["phase"] == "Succeeded" for pod in pods)
        condition = {"type": "Complete" if good else "Failed", "status": "True", "reason": "", "message": ""}
        self.kube.change(job, {"status": {"conditions": [condition]}})

    def _roll_out(self, uid: str) -> None:
        deployment = self._by_uid(uid)
        if deployment is None:
            return
        replicas = deployment["spec"]["replicas"]
        self.kube.change(
            deployment,
            {
                "status": {
                    "observedGeneration": deployment["metadata"]["generation"],
                    **dict.fromkeys(
                        ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), replicas
                    ),
                }
            },
        )


def _rolled_out(raw: Object) -> bool:
    return bool((raw.get("status") or {}).get("observedGeneration") == raw["metadata"]["generation"])


@dataclass(slots=True, kw_only=True)
class Operator:
    """One process of the operator; a new one on the same store is a restart."""

    kube: MemoryKube
    web: FakeWeb = field(default_factory=FakeWeb)
    settings: Settings = SETTINGS
    watch_lag: Lag = 0.01
    stages: Stages = STAGES
    deaf: bool = False
    """Events are lost, as when a watch is broken."""
    index: Index = field(default_factory=Index)
    queue: WorkQueue = field(init=False)
    reconciler: Reconciler = field(init=False)
    probes: Probes = field(init=False)
    results: list[str] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    """Types and reasons of Events, as they are counted."""
    _selected: set[str] = field(default_factory=set)
    _told: dict[Kind, float] = field(default_factory=dict)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self) -> None:
        """Connect, list and work."""
        self.probes = Probes(web=self.web, wake=lambda key: self.queue.add(key))
        self.reconciler = Reconciler(
            Dependencies(
                kube=self.kube,
                index=self.index,
                settings=self.settings.for_job,
                policy=self.settings.policy,
                probes=self.probes,
                pace=StatusPace(),
                stages=self.stages,
                now=virtual_time.now,
                on_event=self.count_event,
            )
        )
        self.queue = WorkQueue(
            self.reconciler.reconcile, on_done=lambda result, _: self.results.append(result), seed=1
        )
        self._watch()
        await self._relist()
        for key in self.index.all_keys():
            self.queue.add(key)
        self._tasks = [asyncio.create_task(self.queue.run(16)), asyncio.create_task(self._relist_forever())]

    def count_event(self, type_: str, reason: str) -> None:
        """Take note of an Event."""
        self.told.append((type_, reason))

    def _watch(self) -> None:
        self.kube.watchers.append(self._event)
        for raw in list(self.kube.objects.values()):
            if raw["kind"] in WATCHED and _is_selected(raw):
                self._selected.add(raw["metadata"]["uid"])
                take(self.index, Kind(raw["kind"]), None, raw)

    async def stop(self) -> None:
        """End at once, whatever is under way."""
        self.deaf = True
        self.kube.watchers.remove(self._event)
        await self.probes.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _event(self, kind: Kind, type_: str, raw: Object) -> None:
        uid = raw["metadata"]["uid"]
        if not _is_selected(raw):
            if uid not in self._selected:
                return
            type_ = "DELETED"  # what a watch says of an object that it selects no longer
        elif uid not in self._selected:
            type_ = "DELETED" if type_ == "DELETED" else "ADDED"
        if type_ == "DELETED":
            self._selected.discard(uid)
        else:
            self._selected.add(uid)
        loop = asyncio.get_running_loop()
        # One watch tells what happened in its order.
        self._told[kind] = max(loop.time() + drawn(self.watch_lag), self._told.get(kind, 0.0) + 1e-6)
        loop.call_at(self._told[kind], self._take, kind, type_, raw)

    def _take(self, kind: Kind, type_: str, raw: Object) -> None:
        if self.deaf:
            return
        news = take(self.index, kind, type_, raw)
        if news is not None:
            self._add([news])

    def _add(self, news: Iterable[News]) -> None:
        for item in news:
            self.queue.add_after(item.key, item.wait)

    async def _relist_forever(self) -> None:
        while True:
            await asyncio.sleep(RELIST_PERIOD.total_seconds())
            await self._relist()

    async def _relist(self) -> None:
        for kind in RELISTED:
            with suppress(KubeTuneError):
                self._add(map(News, self.index.correct(kind, await self.kube.list_metadata(kind))))


@dataclass(slots=True, kw_only=True)
class Contender(Operator):
    """One of several operators that share a Lease, each with a network of its own."""

    link: Link
    clock_skew: timedelta = timedelta()
    """How far its wall clock is off."""
    leads: list[tuple[float, bool]] = field(default_factory=list)
    """When it began and ceased to lead."""
    leader: Leader = field(init=False)

    async def start(self) -> None:
        """Watch, and act while holding the Lease."""
        self.leader = Leader(
            Means(
                kube=self.link,
                index=self.index,
                web=self.web,
                settings=self.settings.for_job,
                workers=16,
                on_done=lambda result, _: self.results.append(result),
                on_event=self.count_event,
                now=virtual_time.now,
                seed=1,
            )
        )
        elector = Elector(
            self.link,
            namespace="system",
            name="kubetune",
            identity=self.link.who,
            now=lambda: virtual_time.now() + self.clock_skew,
            seed=len(self.link.who),
        )
        self._watch()
        self._tasks = [
            asyncio.create_task(elector.lead(self.leader.act, on_change=self._on_change)),
            asyncio.create_task(self._relist_forever()),
        ]

    async def kill(self) -> None:
        """End without a word, as when the node is lost."""
        self.link.cut = True
        await self.terminate()

    async def terminate(self) -> None:
        """End as on SIGTERM."""
        self.kube.watchers.remove(self._event)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _on_change(self, leads: bool) -> None:
        self.leads.append((asyncio.get_running_loop().time(), leads))

    def _add(self, news: Iterable[News]) -> None:
        self.leader.add(news)


def _is_selected(raw: Object) -> bool:
    """Whether the watches select an object."""
    labels = raw["metadata"].get("labels") or {}
    if raw["kind"] == Kind.POD and raw["status"]["phase"] not in ENDED:
        return False
    return raw["kind"] == Kind.FINE_TUNE_JOB or labels.get(names.LABEL_MANAGED_BY) == names.MANAGED_BY


def key(name: str = "job") -> Key:
    """Key of a FineTuneJob in the tests' namespace."""
    return Key(Kind.FINE_TUNE_JOB, NAMESPACE, name)


def true_conditions(raw: Object | None) -> list[str]:
    """Types of conditions that are True."""
    assert raw is not None
    return [c["type"] for c in (raw.get("status") or {}).get("conditions") or () if c["status"] == "True"]


def condition_of(raw: Object, type_: str) -> Mapping[str, Any]:
    """One condition; empty when there is none."""
    conditions = (raw.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c["type"] == type_), {})


def trains(pod: Object) -> bool:
    """Whether it is a pod of a training that runs."""
    return "-train-" in pod["metadata"]["name"] and pod["status"]["phase"] == "Running"


def starting_server(kube: MemoryKube) -> Object:
    """The server's pod as it is while its startup probe fails."""
    deployment = kube.find("Deployment", "job")
    assert deployment
    template = deployment["spec"]["template"]
    owner = {"kind": "Deployment", "name": "job", "uid": deployment["metadata"]["uid"], "controller": True}
    meta = {**template["metadata"], "name": "job-abc", "namespace": "team", "ownerReferences": [owner]}
    running = {"running": {"startedAt": "2026-03-01T12:00:00Z"}}
    server = {"name": "server", "ready": False, "started": False, "state": running}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": {**template["spec"], "nodeName": "node-1"},
        "status": {"phase": "Running", "podIP": "10.0.0.7", "containerStatuses": [server]},
    }


async def until(what: Callable[[], object], *, seconds: float = 600.0) -> None:
    """Wait, in virtual time, until something holds."""
    async with asyncio.timeout(seconds):
        while not what():  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.1)
