"""A cluster in a few lines: carries out plans, and lets pods, Jobs and Deployments get on as a test says.

No API server and no time of its own: enough of the Job controller to walk a FineTuneJob through its life.
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from kubetune.api.v1alpha1 import FineTuneJob, validate_spec
from kubetune.controller.run_memory import RunMemory
from kubetune.decide.plan import plan
from kubetune.decide.status import compute_status
from kubetune.facts.observed import Observed
from kubetune.facts.views import Kind
from kubetune.spec.resolve import resolve
from kubetune.spec.settings import JobSettings
from kubetune.stages.observe import observe
from kubetune.stages.plan import Plan
from kubetune_trainer.contract.messages import Progress
from tests.support.golden import SETTINGS, parse_child, with_answer

UID = "7d4b0f1e-2c3a-4b5d-8e6f-90a1b2c3d4e5"
REVISION = "12fd25f77366fa6b3b4b768ec3050bf629380bac"


class Simulated:
    """One FineTuneJob and what the cluster holds of it."""

    def __init__(self, name: str, spec: dict[str, Any]) -> None:
        self.now = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
        self.settings = JobSettings.model_validate(SETTINGS)
        self.raw: dict[str, Any] = {
            "apiVersion": "kubetune.dev/v1alpha1",
            "kind": "FineTuneJob",
            "metadata": {"name": name, "namespace": "team-a", "uid": UID, "generation": 1},
            "spec": spec,
        }
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.pods: list[dict[str, Any]] = []
        self.created: list[tuple[str, str]] = []
        self.answered = False
        self.verdict = "Passed"
        """What an evaluation finds."""
        self.progress: Progress | None = None
        self.runs = RunMemory()
        self._count = 0

    @property
    def job(self) -> FineTuneJob:
        return validate_spec(self.raw)

    def observe(self) -> Observed:
        children = [parse_child(raw) for raw in (*self.objects.values(), *self.pods)]
        now = self.now.timestamp()
        self.runs.see(children)
        observed = observe(
            self.job,
            children,
            diagnosis=None,
            progress=self.progress,
            known=self.runs.known(gang_timeout=timedelta(minutes=10), now=now),
        )
        observed = replace(observed, rested=self.runs.rest(observed, now))
        return with_answer(observed, self.answered)

    def plan(self) -> Plan:
        job = self.job
        return plan(job, self.observe(), resolve(job, self.settings), self.settings)

    def status(self) -> dict[str, Any]:
        job = self.job
        return compute_status(job, self.observe(), resolve(job, self.settings), now=self.now)

    def reconcile(self) -> Plan:
        """Carry out one plan and write the status."""
        todo = self.plan()
        for manifest in todo.create_once:
            key = (manifest["kind"], manifest["metadata"]["name"])
            assert key not in self.objects, f"{key} exists and is posted again"
            self._store(manifest)
        for manifest in todo.apply:
            self._store(manifest)
        for doomed in todo.delete:
            found = self.objects.pop((doomed.kind.value, doomed.name))
            assert found["metadata"]["uid"] == doomed.uid
        self.raw["status"] = json.loads(json.dumps(self.status()))
        return todo

    def running(self) -> dict[str, Any] | None:
        """The Job whose pods run; the Job controller may conclude it later."""
        ended = {pod["metadata"]["ownerReferences"][0]["uid"] for pod in self.pods}
        jobs = [
            o
            for o in self.objects.values()
            if o["kind"] == "Job" and not o["status"].get("conditions") and o["metadata"]["uid"] not in ended
        ]
        assert len(jobs) <= 1, "two Jobs run at a time"
        return jobs[0] if jobs else None

    def end_pod(
        self,
        job: dict[str, Any],
        code: int,
        *,
        rank: int = 0,
        message: str = "",
        reason: str = "Error",
        disrupted: bool = False,
        deleted: bool = False,
    ) -> None:
        """A pod of the Job ends."""
        meta = job["metadata"]
        pod: dict[str, Any] = {
            "kind": "Pod",
            "metadata": {
                "name": f"{meta['name']}-{rank}-abcde",
                "namespace": "team-a",
                "uid": self._uid(),
                "labels": job["spec"]["template"]["metadata"]["labels"],
                "annotations": {"batch.kubernetes.io/job-completion-index": str(rank)},
                "ownerReferences": [
                    {"uid": meta["uid"], "kind": "Job", "name": meta["name"], "controller": True}
                ],
            },
            "spec": {"nodeName": "node-1"},
            "status": {
                "phase": "Failed" if code else "Succeeded",
                "containerStatuses": [
                    {
                        "name": "trainer",
                        "state": {
                            "terminated": {
                                "exitCode": code,
                                "reason": reason if code else "Completed",
                                "finishedAt": self._time(),
                                "message": message,
                            }
                        },
                    }
                ],
            },
        }
        if deleted:
            pod["metadata"]["deletionTimestamp"] = self._time()
        if disrupted:
            pod["status"]["conditions"] = [
                {"type": "DisruptionTarget", "status": "True", "message": "Eviction API: evicting"}
            ]
        self.pods.append(pod)

    def end_job(
        self,
        job: dict[str, Any],
        *,
        failed: bool,
        reason: str = "BackoffLimitExceeded",
        message: str = "failed",
    ) -> None:
        """The Job controller concludes the Job."""
        types = ("FailureTarget", "Failed") if failed else ("SuccessCriteriaMet", "Complete")
        status = job["status"]
        status["conditions"] = [
            {
                "type": t,
                "status": "True",
                "reason": reason,
                "message": message,
                "lastTransitionTime": self._time(),
            }
            for t in types
        ]
        if not failed:
            status["completionTime"] = self._time()

    def summary(self, job: dict[str, Any]) -> str:
        """What the Job says when it completes."""
        config = resolve(self.job, self.settings)
        kind = "Full" if config.training.adapter.type == "Full" else "LoRA"
        directory = str(config.run_directory).removeprefix("/output/")
        artifact = {
            "path": f"{directory}/{'adapter' if kind == 'LoRA' else 'model'}",
            "digest": "sha256:00",
            "size_bytes": 1,
            "type": kind,
            "rank": config.training.adapter.rank if kind == "LoRA" else None,
            "base_model": config.model.uri,
            "base_revision": REVISION,
        }
        stage = job["metadata"]["labels"]["kubetune.dev/stage"]
        if stage == "train":
            found: dict[str, Any] = {"from_step": 0, "to_step": 75, "artifact": artifact}
        elif stage == "baseline":
            found = {}
        elif stage in ("evaluate", "promote"):
            found = {
                "artifact": artifact["digest"],
                "metric": "ExactMatch",
                "rows": 80,
                "candidates": [],
                "verdict": self.verdict,
                "said": f"{self.verdict}.",
                "report": f"{directory}/evaluation",
            }
        else:
            found = PREPARED
            trained = [
                o for o in self.objects.values() if o["kind"] == "Job" and "-train-" in o["metadata"]["name"]
            ]
            if any(c["type"] == "Complete" for o in trained for c in o["status"].get("conditions", ())):
                found = {**PREPARED, "artifact": artifact}
        return json.dumps({"reason": "Completed", "message": "Completed.", "summary": found})

    def serve(self, *, available: int) -> None:
        """So many servers are available."""
        for deployment in self.objects.values():
            if deployment["kind"] == Kind.DEPLOYMENT:
                deployment["status"] = {
                    "observedGeneration": 1,
                    "replicas": available,
                    "updatedReplicas": available,
                    "readyReplicas": available,
                    "availableReplicas": available,
                }

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def _store(self, manifest: dict[str, Any]) -> None:
        key = (manifest["kind"], manifest["metadata"]["name"])
        kept = self.objects.get(key)
        stored = copy.deepcopy(manifest)
        stored["metadata"] |= {"uid": kept["metadata"]["uid"] if kept else self._uid(), "generation": 1}
        stored["metadata"]["creationTimestamp"] = self._time()
        stored["status"] = kept["status"] if kept else {}
        if stored["kind"] == Kind.DEPLOYMENT:
            stored["spec"].setdefault("replicas", 1)
        if stored["kind"] == "Job":
            stored["status"] = {
                "startTime": self._time(),
                "active": 1,
                "ready": stored["spec"]["completions"],
            }
        self.objects[key] = stored
        self.created.append(key)

    def _uid(self) -> str:
        self._count += 1
        return f"00000000-0000-4000-8000-{self._count:012d}"

    def _time(self) -> str:
        return self.now.replace(microsecond=0).isoformat().replace("+00:00", "Z")


PREPARED: dict[str, Any] = {
    "model": {
        "revision": REVISION,
        "path": "/output/models/0",
        "architecture": "LlamaForCausalLM",
        "parameters": 134515008,
    },
    "dataset": {
        "fingerprint": "sha256:5b2f6c",
        "train_rows": 800,
        "validation_rows": 0,
        "train_tokens": 36000,
        "tokens_per_row": {"mean": 45, "p50": 44, "p95": 61, "max": 90},
    },
    "plan": {
        "total_steps": 75,
        "trainable_parameters": 4884480,
        "memory_per_gpu_bytes": 2040109466,
        "estimated_seconds": 190,
    },
}
