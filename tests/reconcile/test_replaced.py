"""A FineTuneJob that is deleted, created and replaced at any speed: one writer at a time, whoever lags."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from kubetune.controller.earlier import SETTLED_AFTER
from kubetune.facts.views import Kind
from tests.support import virtual_time
from tests.support.harness import ENDED, Controllers, Operator, finetunejob, true_conditions, until
from tests.support.memory_kube import MemoryKube, Object

DELAYS = (0.0, 0.004, 0.012, 0.05, 0.15, 0.4, 0.9, 2.0, 6.0, 15.0, 40.0)
ACTIONS = ("create", "delete", "replace", "restart", "delete the newest Job", "delete the first Job")


@dataclass(frozen=True, kw_only=True)
class Lags:
    """The most that each takes, in seconds; zero: as quick as it can be."""

    watch: float = 0.01
    collector: float = 0.5
    job_controller: float = 0.1
    unaware: float = 0.0
    ending: float = 0.0
    seed: int = 0


@dataclass(kw_only=True)
class Referee:
    """Watches the store, and writes down when two could write to one run directory."""

    kube: MemoryKube
    fouls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kube.watchers.append(self._event)

    def _event(self, kind: Kind, type_: str, raw: Object) -> None:
        del kind, type_, raw
        pods = [pod for pod in self.kube.of_kind("Pod") if pod["status"]["phase"] not in ENDED]
        writers = {pod["metadata"]["ownerReferences"][0]["uid"] for pod in pods}
        runs = writers | {job["metadata"]["uid"] for job in self.kube.of_kind("Job") if _goes_on(job)}
        if len(runs) > 1:
            now = asyncio.get_running_loop().time()
            self.fouls.append(f"{now:.3f}: {sorted(runs)}, pods {[pod['metadata']['name'] for pod in pods]}")


def _goes_on(job: Object) -> bool:
    """Whether pods of a Job run, or may still be made."""
    status = job.get("status") or {}
    ended = status.get("succeeded", 0) + status.get("failed", 0)
    return not status.get("conditions") and ended < job["spec"]["completions"]


async def _live(steps: list[tuple[float, str]], lags: Lags) -> list[str]:
    draw = random.Random(lags.seed)
    kube = MemoryKube(
        collect_after=lambda: draw.uniform(0, lags.collector),
        pods_end_after=lambda: draw.uniform(0, lags.ending),
    )
    Controllers(
        kube=kube,
        pod_after=lambda: draw.uniform(0, lags.job_controller),
        unaware_for=lambda: draw.uniform(0, lags.unaware),
    )
    referee = Referee(kube=kube)

    def start() -> Operator:
        return Operator(kube=kube, watch_lag=lambda: draw.uniform(0, lags.watch))

    operator = start()
    await operator.start()
    for delay, action in steps:
        await asyncio.sleep(delay)
        known, jobs = kube.find("FineTuneJob", "job"), list(kube.of_kind("Job"))
        if action == "restart":
            await operator.stop()
            await asyncio.sleep(draw.uniform(0, 3))
            operator = start()
            await operator.start()
        elif action.endswith("Job"):
            for job in jobs[-1:] if "newest" in action else jobs[:1]:
                kube.remove(job)
        else:
            if known is not None and action != "create":
                kube.remove(known)
            if action == "replace" or (action == "create" and known is None):
                kube.add(finetunejob())
    if kube.find("FineTuneJob", "job") is None:
        kube.add(finetunejob())
    await until(lambda: "Ready" in true_conditions(kube.find("FineTuneJob", "job")), seconds=5000)
    assert set(operator.results) <= {"ok", "retry"}
    await operator.stop()
    return referee.fouls


@pytest.mark.parametrize("delay", DELAYS)
@pytest.mark.parametrize("unaware", [0.0, 1.5])
def test_a_job_that_is_replaced_at_once_prepares_once(delay: float, unaware: float) -> None:
    steps = [(6.0, "create"), (delay, "replace")]
    assert virtual_time.run(_live(steps, Lags(job_controller=1.0, unaware=unaware, ending=5.0))) == []


def test_a_job_like_any_other_starts_at_once_after_two_lists() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        await asyncio.sleep(SETTLED_AFTER)
        kube.add(finetunejob())
        await asyncio.sleep(0.1)
        assert kube.find("Job", "job-prepare")
        await until(lambda: "Ready" in true_conditions(kube.find("FineTuneJob", "job")))
        lists = [str(r) for r in kube.requests if r.verb == "list" and r.name != "*"]
        assert lists == [f"list {kind} kubetune.dev/finetunejob=job" for kind in ("Job", "Pod")]
        await operator.stop()

    virtual_time.run(main())


# A failure is short enough to be read as it is, and shrinking it would take minutes.
@pytest.mark.slow
@settings(
    max_examples=60,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    steps=st.lists(st.tuples(st.sampled_from(DELAYS), st.sampled_from(ACTIONS)), min_size=2, max_size=8),
    lags=st.builds(
        Lags,
        watch=st.sampled_from([0.001, 0.05, 1.0]),
        collector=st.sampled_from([0.0, 0.1, 1.0, 8.0]),
        job_controller=st.sampled_from([0.0, 0.5, 3.0]),
        unaware=st.sampled_from([0.0, 0.5, 3.0]),
        ending=st.sampled_from([0.0, 1.0, 30.0]),
        seed=st.integers(0, 9),
    ),
)
@example(steps=[(0.0, "create"), (40.0, "delete the newest Job"), (0.0, "restart")], lags=Lags(ending=30.0))
def test_two_runs_of_one_name_never_write_at_a_time(steps: list[tuple[float, str]], lags: Lags) -> None:
    assert virtual_time.run(_live(steps, lags)) == []
