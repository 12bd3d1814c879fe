"""One look at one FineTuneJob: observe, plan, carry out, publish. A second look writes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from kubetune_trainer.contract.config import METRICS_PORT, TrainerConfig

from ..api.v1alpha1 import FineTuneJob, validate_spec
from ..children.rendezvous import build_rendezvous
from ..children.service import build_service
from ..cluster.index import Index
from ..cluster.kube import Kube
from ..decide.finished import is_at_rest, is_finished
from ..decide.invalid_spec import invalid_status
from ..decide.plan import plan
from ..decide.stalls import stall_of
from ..decide.status import compute_status
from ..diagnose.refusals import diagnose_refusal
from ..facts.observed import Observed
from ..facts.views import Key, Raw
from ..pods_http.probes import Probes
from ..servers.rollout import wanted_intent
from ..spec.allowed import check_allowed, check_allowed_serving
from ..spec.platform_policy import PlatformPolicy
from ..spec.resolve import check_serving
from ..spec.settings import JobSettings
from ..stages.observe import observe
from ..stages.plan import Plan
from ..stages.table import STAGES, Stages
from ..vocabulary.errors import KubeTuneError, SpecError
from ..vocabulary.names import ROLE_SERVING, ROLES, SERVE, TRAIN, Names
from ..vocabulary.periods import LOOK_AFTER
from .answers import with_servers
from .earlier import GRANTED, Clearance, Gatekeeper
from .execute import Executor, Refused
from .failures import Failures
from .frozen_config import Configurer
from .job_state import REFUSED_POLL, JobState
from .live_reads import Refresher
from .owner import Vanished
from .rate import StatusPace
from .rivals import Rivals
from .status_writer import Publisher, Told
from .waiting import Looker

logger = logging.getLogger(__name__)

EARLIER_POLL: Final = 2.0
"""How often to ask whether what an earlier incarnation left is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """Everything that the reconciler works with."""

    kube: Kube
    index: Index
    settings: JobSettings
    policy: PlatformPolicy = PlatformPolicy()  # noqa: RUF009 - frozen
    probes: Probes
    pace: StatusPace
    stages: Stages = STAGES
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    on_event: Told = lambda _type, _reason: None


@dataclass(slots=True, kw_only=True)
class _Look:
    """One look at a job whose spec is resolved."""

    key: Key
    job: FineTuneJob
    state: JobState
    config: TrainerConfig
    settings: JobSettings
    mistake: SpecError | None
    """In serving, found after training had begun."""
    clearance: Clearance = GRANTED
    observed: Observed = field(init=False)
    delays: list[float] = field(default_factory=list)
    """Seconds after which there is a reason to look again."""

    def again_in(self, seconds: float | None) -> None:
        """Look again after so many seconds at the latest; None: there is no reason to."""
        if seconds is not None:
            self.delays.append(seconds)


class Reconciler:
    """Brings the cluster towards what FineTuneJobs ask for."""

    def __init__(self, deps: Dependencies) -> None:
        self._index = deps.index
        self._probes = deps.probes
        self._pace = deps.pace
        self._now = deps.now
        self._settings = deps.settings
        self._policy = deps.policy
        self._stages = deps.stages
        self._configurer = Configurer(deps.kube, deps.index, deps.settings)
        self._executor = Executor(deps.kube, deps.index)
        self._refresher = Refresher(deps.kube, deps.index)
        self._rivals = Rivals(deps.kube, deps.index)
        self._looker = Looker(deps.kube, deps.probes)
        self._gatekeeper = Gatekeeper(deps.kube, deps.index)
        self._publisher = Publisher(deps.kube, deps.index, deps.pace, deps.now, deps.on_event)
        self._failures = Failures(deps.index, self._publisher, deps.now)
        self._states: dict[Key, JobState] = {}

    async def reconcile(self, key: Key) -> timedelta | None:
        """Look at one key; return when to look again even if nothing happens."""
        raw = self._index.parent(key)
        if raw is None or raw["metadata"].get("deletionTimestamp"):
            self._forget(key)  # children are garbage-collected
            self._gatekeeper.saw(key)
            return None
        state = self._state(key, raw["metadata"]["uid"])
        state.edited(raw["metadata"].get("generation"))
        if not state.overtaken and is_finished(raw, self._index.children(key)):
            self._forget(key)
            return None
        try:
            seconds = await self._look(key, raw, state)
        except Vanished:
            self._forget(key)
            seconds = None
        if self._has_moved_on(key, raw):
            return timedelta()
        return None if seconds is None else timedelta(seconds=seconds)

    async def tell(self, key: Key, error: Exception, *, begun: float) -> None:
        """Have a job say what has kept it from being looked at at all since then, unless it needs no look."""
        raw = self._index.parent(key)
        if raw is None or raw["metadata"].get("deletionTimestamp") or is_at_rest(raw):
            return
        with suppress(Vanished):
            await self._failures.tell(key, self._state(key, raw["metadata"]["uid"]), error, begun=begun)

    def _has_moved_on(self, key: Key, raw: Raw) -> bool:
        """Whether the answer to a request of ours brought another spec: its event will be no news."""
        meta, known = raw["metadata"], self._index.parent(key)
        return known is not None and any(
            known["metadata"].get(n) != meta.get(n) for n in ("uid", "generation")
        )

    async def drain(self) -> None:
        """Finish what runs beside the workers."""
        await self._publisher.drain()

    async def _look(self, key: Key, raw: Raw, state: JobState) -> float | None:
        """Look, and have it told when that keeps failing."""
        begun = asyncio.get_running_loop().time()
        state.seen = None
        try:
            seconds = await self._reconcile(key, raw, state)
        except Vanished:
            raise
        except Exception as error:
            await self._failures.tell(key, state, error, begun=begun)
            raise
        state.trouble = None
        return seconds

    async def _reconcile(self, key: Key, raw: Raw, state: JobState) -> float | None:
        try:
            job = _parse(raw, state)
        except SpecError as error:
            return await self._publisher.publish(key, raw, invalid_status(raw, error, now=self._now()), state)
        try:
            look = await self._begin(key, job, state)
        except SpecError as error:
            observed = self._observe(key, job, state, None)
            status = compute_status(job, observed, None, now=self._now(), error=error, stages=self._stages)
            wait = await self._publisher.publish(key, raw, status, state)
            # Nobody tells that somebody puts back what the ConfigMap held.
            return REFUSED_POLL if wait is None and self._configurer.is_there(key) else wait
        await self._read(look, raw)
        await self._carry_out(look)
        await self._publish(look, self._index.parent(key) or raw)
        return min(look.delays, default=None)

    async def _begin(self, key: Key, job: FineTuneJob, state: JobState) -> _Look:
        """Resolve the spec. Raises SpecError; for a mistake in serving only while nothing has begun."""
        config, settings = await self._configurer.config(key, job, state)
        mistake = self._mistake_in_serving(job, settings)
        if not state.has_begun(self._index.children(key)):
            check_allowed(job, self._policy, self._settings)
            if mistake is not None:
                raise mistake
        return _Look(key=key, job=job, state=state, config=config, settings=settings, mistake=mistake)

    def _mistake_in_serving(self, job: FineTuneJob, settings: JobSettings) -> SpecError | None:
        try:
            check_serving(job, settings)
            check_allowed_serving(job, self._policy, self._settings)
        except SpecError as error:
            return error
        return None

    async def _read(self, look: _Look, raw: Raw) -> None:
        """Ask the API server what no watch tells, and why what waits does; then observe."""
        key, job, state = look.key, look.job, look.state
        await self._refresher.namesakes(key, job, state)
        await self._refresher.leftovers(key, raw, state)
        await self._refresher.missing(key, job, state)
        look.again_in(await self._refresher.unwatched(key, state))
        children = self._index.children(key)
        look.again_in(await self._looker.look(job, children, state))
        state.unfit = await self._looker.unfit_claim(job, children, state)
        look.again_in(REFUSED_POLL if state.unfit else None)
        self._renew(look)
        if await self._refresher.override(key, job, look.observed, state):
            self._renew(look)
        attempt = look.observed.last_run(TRAIN)
        if look.observed.artifact is None and attempt is not None and attempt.ending is not None:
            await self._refresher.claim(key)  # the next attempt goes on from what is on it
            await self._refresher.selector(key, state, build_rendezvous(job))
            self._renew(look)
        if look.observed.server(ROLE_SERVING).silence is not None:
            await self._refresher.selector(key, state, build_service(job))
            self._renew(look)

    async def _carry_out(self, look: _Look) -> None:
        """Make, apply and delete what the plan says; a Job only when nobody else writes."""
        key, state = look.key, look.state
        todo = self._plan(look)
        if todo.makes_a_job or look.observed.earlier:
            look.clearance = await self._gatekeeper.ask(key, state)
            look.again_in(None if look.clearance.granted else look.clearance.wait or EARLIER_POLL)
            self._renew(look)
            todo = self._plan(look)
        if todo.writes:
            try:
                put_off = await self._execute(key, state, todo)
            except KubeTuneError:
                # What became of earlier children is told although the next ones cannot be made.
                state.seen = self._status(look)
                raise
            look.config, look.settings = await self._configurer.config(key, look.job, state)
            self._renew(look)
            todo = self._plan(look)
            if todo.writes:  # whatever else is left needs a fresh look
                look.again_in(put_off if state.refusal else put_off or 1.0)
            if state.refusal is None:  # what was made may wait, and no watch tells why
                look.again_in(LOOK_AFTER.total_seconds())
        elif state.refusal is not None and state.refusal.stage == SERVE:
            state.refusal = None  # what was refused is not wanted any more
            self._renew(look)
        if state.refusal is None and todo.requeue_after is not None:
            look.again_in(todo.requeue_after.total_seconds())
        if await self._rivals.look(key, state, todo):
            self._renew(look)

    async def _publish(self, look: _Look, raw: Raw) -> None:
        """Write the status."""
        observed = look.observed
        if observed.earlier or observed.conflicts:
            look.again_in(EARLIER_POLL if observed.earlier else LOOK_AFTER.total_seconds())
        mistake = None if stall_of(look.job, observed, self._stages) else look.mistake
        status = self._status(look, error=mistake)
        look.again_in(await self._publisher.publish(look.key, raw, status, look.state))

    def _plan(self, look: _Look) -> Plan:
        """Say what to do; a mistake in serving keeps servers as they are, and training from nothing."""
        if look.mistake is not None and look.observed.artifact is not None:
            return Plan()
        return look.clearance.of(
            plan(
                look.job, look.observed, look.config, look.settings, policy=self._policy, stages=self._stages
            )
        )

    def _status(self, look: _Look, *, error: SpecError | None = None) -> dict[str, Any]:
        return compute_status(
            look.job,
            look.observed,
            look.config,
            settings=look.settings,
            now=self._now(),
            error=error,
            stages=self._stages,
        )

    async def _execute(self, key: Key, state: JobState, todo: Plan) -> float | None:
        state.refusal = None
        try:
            return await self._executor.execute(key, state, todo)
        except Refused as refused:
            if refused.asked:
                logger.warning(
                    "A child was refused",
                    extra={"namespace": key.namespace, "job": key.name, "reason": str(refused)},
                )
            state.refusal = diagnose_refusal(refused.refusal.error)
            if state.refusal.stalled:
                return None
            return max(0.0, refused.refusal.until - asyncio.get_running_loop().time())

    def _renew(self, look: _Look) -> None:
        """Observe again, after something may have changed."""
        look.observed = self._observe(look.key, look.job, look.state, look.settings, look.clearance)

    def _observe(
        self,
        key: Key,
        job: FineTuneJob,
        state: JobState,
        settings: JobSettings | None,
        clearance: Clearance = GRANTED,
    ) -> Observed:
        """Observe the children as the index has them now, and start or end the questions to pods."""
        children, now = self._index.children(key), asyncio.get_running_loop().time()
        self._gatekeeper.saw(key)
        state.saw(children)
        state.runs.see(children)
        patience = (state.settings or self._settings).gang_timeout_seconds
        observed = observe(
            job,
            (*children, *clearance.strangers),
            diagnosis=state.refusal or state.unfit or state.diagnosis,
            progress=None,
            known=state.runs.known(gang_timeout=timedelta(seconds=patience), now=now),
            stages=self._stages,
        )
        observed = replace(
            observed,
            rested=state.runs.rest(observed, now),
            override=state.override,
            progress=self._probes.progress(key, _progress_url(key, observed)),
            notes=(*state.notes.values(), *clearance.notes),
        )
        wanted: dict[str, str | None] = {}
        if settings is not None:
            wanted = {role: wanted_intent(job, observed, settings, role=role) for role in ROLES}
        return with_servers(self._probes, key, job, observed, state, wanted=wanted)

    def _state(self, key: Key, uid: str) -> JobState:
        state = self._states.get(key)
        if state is None or state.uid != uid:
            self._forget(key)
            state = self._states[key] = JobState(uid)
        return state

    def _forget(self, key: Key) -> None:
        self._states.pop(key, None)
        self._probes.forget(key)
        self._pace.forget(key)


def _parse(raw: Raw, state: JobState) -> FineTuneJob:
    """Parse a FineTuneJob, unless it is the one that was parsed last. Raises SpecError."""
    version = raw["metadata"].get("resourceVersion", "")
    if state.parsed is None or state.parsed[0] != version:
        state.parsed = version, validate_spec(raw)
    return state.parsed[1]


def _progress_url(key: Key, observed: Observed) -> str | None:
    attempt = observed.last_run(TRAIN)
    if attempt is None or attempt.ending is not None or attempt.job is None or attempt.job.ready == 0:
        return None
    host = Names(key.name).rank0_host(attempt.number, key.namespace)
    return f"http://{host}:{METRICS_PORT}/progress"
