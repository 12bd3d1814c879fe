"""FineTuneJobs as the gateway knows them, on a real API server: what others do is seen, also in an outage."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import pytest

from dev.cluster.control_plane import ControlPlane
from kubetune.cluster.election import Term
from kubetune.cluster.kube.connection import KUBECONFIG, load_configuration
from kubetune.cluster.kube.errors import Target
from kubetune.cluster.lease import Elector
from kubetune.vocabulary.errors import TransientError
from kubetune_gateway.kube.api_server import ApiServer
from kubetune_gateway.kube.jobs import KubeJobs
from kubetune_gateway.kube.leases import KubeLeases
from kubetune_gateway.kube.watch import JobWatch, jobs_path, list_all
from kubetune_gateway.wire.errors import ApiError
from tests.support import accounts
from tests.support.apiserver import Api
from tests.support.fault_proxy import FaultProxy
from tests.support.kube_gateway import connected, watching

pytestmark = pytest.mark.apiserver

PLURAL = "finetunejobs"
NOBODYS = str(uuid.UUID(int=7))


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane.temporary() as started:
        asyncio.run(_prepare(started))
        yield started


async def _prepare(plane: ControlPlane) -> None:
    async with _admin(plane) as api:
        await api.install_crd()
        for namespace in ("team-a", "team-b", "full"):
            await accounts.make_namespace(api, namespace)
    await asyncio.sleep(0.25)


@asynccontextmanager
async def _admin(plane: ControlPlane) -> AsyncIterator[Api]:
    async with Api(await load_configuration({KUBECONFIG: str(plane.kubeconfig)})) as api:
        yield api


@pytest.fixture
async def api(plane: ControlPlane) -> AsyncIterator[Api]:
    async with _admin(plane) as found:
        yield found
        for job in await found.items(f"/apis/kubetune.dev/v1alpha1/{PLURAL}"):
            await found.delete_job(job["metadata"]["name"], namespace=job["metadata"]["namespace"])
    await asyncio.sleep(0.25)  # aiohttp closes its transports a few turns of the loop later


@pytest.fixture
async def proxy(plane: ControlPlane) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(await load_configuration({KUBECONFIG: str(plane.kubeconfig)})) as found:
        yield found


class Told:
    """A subscriber, and what it was told."""

    def __init__(self, watch: JobWatch) -> None:
        self.changes: list[tuple[str, str]] = []
        self.end = watch.subscribe(self._take)

    def _take(self, change: str, raw: Any) -> None:
        self.changes.append((change, raw["metadata"]["name"]))

    async def until(self, *changes: tuple[str, str]) -> None:
        await until_true(lambda: set(changes) <= set(self.changes))


async def until_true(what: Callable[[], object], *, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not what():  # noqa: ASYNC110 - nothing sets an event
            await asyncio.sleep(0.02)


async def names(jobs: KubeJobs, namespace: str = "team-a") -> list[str]:
    return sorted(raw["metadata"]["name"] for raw in await jobs.list(namespace))


async def until_listed(jobs: KubeJobs, *wanted: str, namespace: str = "team-a") -> None:
    async with asyncio.timeout(60):
        while await names(jobs, namespace) != sorted(wanted):  # noqa: ASYNC110 - nothing sets an event
            await asyncio.sleep(0.02)


def manifest(name: str, *, namespace: str = "team-a", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kubetune.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "model": {"uri": "pvc://models/smol"},
            "dataset": {"train": {"uri": "pvc://datasets/train.jsonl"}},
            "training": {"gpusPerNode": 0},
            **spec,
        },
    }


@asynccontextmanager
async def replica(proxy: FaultProxy, **settings: Any) -> AsyncIterator[tuple[JobWatch, KubeJobs]]:
    async with connected(proxy.configuration) as api, watching(api, **settings) as watch:
        yield watch, KubeJobs(api, watch)


async def refusal(asked: Awaitable[object]) -> ApiError:
    with pytest.raises(ApiError) as refused:
        await asked
    return refused.value


async def test_what_others_do_is_listed_and_what_the_gateway_does_is_there(
    api: Api, proxy: FaultProxy
) -> None:
    async with replica(proxy) as (watch, jobs):
        told = Told(watch)
        made = await api.create_job("theirs", namespace="team-a")
        await api.create_job("elsewhere", namespace="team-b")
        async with asyncio.timeout(2):
            while await names(jobs) != ["theirs"]:  # noqa: ASYNC110 - nothing sets an event
                await asyncio.sleep(0.02)
        ours = await jobs.create(manifest("ours"))
        assert await names(jobs) == ["ours", "theirs"]
        found = await api.job("ours", namespace="team-a")
        assert found["metadata"]["uid"] == ours["metadata"]["uid"]
        assert "managedFields" not in ours["metadata"]
        uid = made["metadata"]["uid"]
        note = {"metadata": {"annotations": {"openai.kubetune.dev/suffix": "triage"}}}
        patched = await jobs.patch("team-a", "theirs", uid=uid, patch=note)
        assert patched["metadata"]["annotations"] == note["metadata"]["annotations"]
        assert await jobs.get("team-a", uid) == patched
        assert await jobs.get("team-b", uid) is None
        await jobs.delete("team-a", "theirs", uid=uid)
        assert await jobs.get("team-a", uid) is None
        assert await names(jobs) == ["ours"]
        await told.until(
            ("ADDED", "theirs"), ("MODIFIED", "theirs"), ("DELETED", "theirs"), ("ADDED", "elsewhere")
        )
        later = Told(watch)
        assert later.changes == [("ADDED", "elsewhere"), ("ADDED", "ours")]
        later.end()
        await api.delete_job("ours", namespace="team-a")
        await told.until(("DELETED", "ours"))
        assert ("DELETED", "ours") not in later.changes


async def test_another_object_of_the_name_is_left_alone(api: Api, proxy: FaultProxy) -> None:
    async with replica(proxy) as (_, jobs):
        made = await api.create_job("named", namespace="team-a")
        gone = await refusal(jobs.patch("team-a", "named", uid=NOBODYS, patch={"spec": {"suspend": True}}))
        assert (gone.status, gone.code) == (HTTPStatus.NOT_FOUND, "not_found")
        gone = await refusal(jobs.patch("team-a", "no-job", uid=NOBODYS, patch={}))
        assert gone.status == HTTPStatus.NOT_FOUND
        await jobs.delete("team-a", "named", uid=NOBODYS)
        await jobs.delete("team-a", "no-job", uid=NOBODYS)
        assert (await api.job("named", namespace="team-a"))["spec"] == made["spec"]


async def test_what_the_api_server_refuses_is_told_in_its_words(api: Api, proxy: FaultProxy) -> None:
    async with replica(proxy) as (_, jobs):
        await jobs.create(manifest("taken"))
        taken = await refusal(jobs.create(manifest("taken")))
        assert (taken.status, taken.retry_after) == (HTTPStatus.SERVICE_UNAVAILABLE, 1)
        unknown = await refusal(jobs.create(manifest("unknown", color="red")))
        assert (unknown.status, unknown.code) == (HTTPStatus.BAD_REQUEST, "invalid_request")
        assert 'unknown field "spec.color"' in unknown.message
        wrong = await refusal(jobs.create(manifest("wrong", training={"gpusPerNode": -1})))
        assert (wrong.status, wrong.code) == (HTTPStatus.BAD_REQUEST, "invalid_request")
        assert "spec.training.gpusPerNode" in wrong.message
        nowhere = await refusal(jobs.create(manifest("nowhere", namespace="no-such-team")))
        assert (nowhere.status, nowhere.message) == (
            HTTPStatus.NOT_FOUND,
            'namespaces "no-such-team" not found',
        )
        quota = {"metadata": {"name": "jobs"}, "spec": {"hard": {f"count/{PLURAL}.kubetune.dev": "0"}}}
        await api.request("POST", "/api/v1/namespaces/full/resourcequotas", quota)

        async def refused_by_quota() -> ApiError | None:
            try:
                await jobs.create(manifest(f"one-{uuid.uuid4().hex[:8]}", namespace="full"))
            except ApiError as error:
                return error
            return None

        async with asyncio.timeout(60):  # until the quota is known
            while (full := await refused_by_quota()) is None:  # noqa: ASYNC110 - nothing sets an event
                await asyncio.sleep(0.1)
        assert (full.status, full.code) == (HTTPStatus.FORBIDDEN, "not_admitted")
        assert "quota: jobs" in full.message


async def test_a_job_whose_answer_was_lost_is_not_made_twice(api: Api, proxy: FaultProxy) -> None:
    async with replica(proxy) as (_, jobs):
        wanted = manifest("once")
        wanted["metadata"]["annotations"] = {"openai.kubetune.dev/suffix": "once"}
        proxy.lose = "POST"
        made = await jobs.create(wanted)
        assert made["metadata"]["uid"] == (await api.job("once", namespace="team-a"))["metadata"]["uid"]
        other = await refusal(jobs.create(manifest("once")))  # somebody else's, of the same name
        assert other.status == HTTPStatus.SERVICE_UNAVAILABLE


async def test_what_another_replica_made_a_moment_ago_is_found(api: Api, proxy: FaultProxy) -> None:
    async with replica(proxy) as (watch, jobs):
        proxy.deafen(PLURAL)  # so that nothing but a question can tell
        async with replica(proxy) as (_, other):
            made = await other.create(manifest("quick"))
            uid = made["metadata"]["uid"]
            assert await other.get("team-a", uid) == made
            found = await asyncio.gather(*(jobs.get("team-a", uid) for _ in range(20)))
            assert found == [made] * 20
            assert await names(jobs) == ["quick"]
        assert await jobs.get("team-a", NOBODYS) is None
        told = Told(watch)
        assert told.changes == []
        proxy.restore(PLURAL)
        await told.until(("ADDED", "quick"))
        assert await names(jobs) == ["quick"]


async def test_what_is_being_deleted_is_listed_until_it_is_gone(api: Api, proxy: FaultProxy) -> None:
    async with replica(proxy) as (_, jobs):
        held = manifest("held")
        held["metadata"]["finalizers"] = ["example.com/held"]
        uid = (await jobs.create(held))["metadata"]["uid"]
        await jobs.delete("team-a", "held", uid=uid)
        found = await jobs.get("team-a", uid)
        assert found
        assert found["metadata"]["deletionTimestamp"]
        assert await names(jobs) == ["held"]
        await jobs.patch("team-a", "held", uid=uid, patch={"metadata": {"finalizers": None}})
        await until_listed(jobs)


async def test_what_was_deleted_during_an_outage_is_told(
    api: Api, plane: ControlPlane, proxy: FaultProxy
) -> None:
    for name in ("stays", "goes"):
        await api.create_job(name, namespace="team-a")
    async with replica(proxy) as (watch, jobs):
        told = Told(watch)
        proxy.refuse = 503
        proxy.cut()
        await api.delete_job("goes", namespace="team-a")
        await api.create_job("comes", namespace="team-a")
        proxy.refuse = None
        await told.until(("DELETED", "goes"), ("ADDED", "comes"))
        assert told.changes.count(("ADDED", "stays")) == 1
        assert await names(jobs) == ["comes", "stays"]
        plane.stop_apiserver()
        plane.start_apiserver()
        await api.delete_job("stays", namespace="team-a")
        await told.until(("DELETED", "stays"))
        await until_listed(jobs, "comes")


async def test_an_error_in_the_stream_is_no_end(api: Api, proxy: FaultProxy) -> None:
    async with replica(proxy) as (watch, _):
        told = Told(watch)
        await until_true(lambda: proxy.watches(PLURAL))
        assert await proxy.send_error(PLURAL) == 1
        await api.create_job("after", namespace="team-a")
        await told.until(("ADDED", "after"))


async def test_a_watch_that_ends_in_its_time_goes_on_from_there(
    api: Api, proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    async with replica(proxy, seconds=1) as (watch, _):
        told = Told(watch)
        for number in range(5):
            await until_true(lambda: proxy.watches(PLURAL))
            await until_true(lambda: not proxy.watches(PLURAL))
            await api.create_job(f"in-between-{number}", namespace="team-a")
        await told.until(*(("ADDED", f"in-between-{number}") for number in range(5)))
        assert len(told.changes) == 5
    assert "Listing all jobs anew" not in caplog.text


async def test_a_silent_stream_is_a_dead_one(api: Api, proxy: FaultProxy) -> None:
    async with replica(proxy, silence=1.0) as (watch, _):
        told = Told(watch)
        await until_true(lambda: proxy.watches(PLURAL))
        proxy.mute()
        await api.create_job("unheard", namespace="team-a")
        await told.until(("ADDED", "unheard"))


async def test_old_news_are_no_answer(api: Api, proxy: FaultProxy) -> None:
    made = await api.create_job("known", namespace="team-a")
    uid = made["metadata"]["uid"]
    async with replica(proxy, stale=0.5) as (watch, jobs):
        proxy.deafen(PLURAL)
        await api.delete_job("known", namespace="team-a")
        await until_true(lambda: watch.known("team-a") is None)
        assert await jobs.get("team-a", uid) is None
        assert await names(jobs) == []
        proxy.refuse = 503
        for asked in (jobs.list("team-a"), jobs.get("team-a", uid), jobs.create(manifest("new"))):
            away = await refusal(asked)
            assert (away.status, away.code) == (HTTPStatus.SERVICE_UNAVAILABLE, "unavailable")
            assert away.retry_after
        assert watch.synced


async def test_some_namespaces_are_watched_one_by_one(api: Api, plane: ControlPlane) -> None:
    """With rights in these alone, and also when one of them is gone."""
    admin = await load_configuration({KUBECONFIG: str(plane.kubeconfig)})
    await accounts.make_account(api, "default", "gateway")
    rights = ("kubetune.dev", PLURAL, "list watch")
    for namespace in ("team-a", "team-b"):
        await accounts.grant(api, ("default", "gateway"), rights, namespace=namespace, name="gateway")
    token = await accounts.token_of(api, "default", "gateway")
    async with (
        FaultProxy(accounts.configuration_as(admin, token)) as proxy,
        replica(proxy, namespaces=["team-a", "team-b", "gone"]) as (watch, jobs),
    ):
        assert watch.synced
        await api.create_job("here", namespace="team-a")
        await api.create_job("there", namespace="team-b")
        await until_listed(jobs, "here")
        await until_listed(jobs, "there", namespace="team-b")
        lacks = await refusal(jobs.list("gone"))
        assert (lacks.status, lacks.code) == (HTTPStatus.SERVICE_UNAVAILABLE, "gateway_lacks_right")
        assert "no right to list finetunejobs in the namespace gone" in lacks.message
        assert {path.split("/")[5] for path in proxy.paths} == {"team-a", "team-b", "gone"}


async def test_a_subscriber_that_fails_does_not_end_the_watch(api: Api, proxy: FaultProxy) -> None:
    def fails(_: str, __: object) -> None:
        raise ValueError("mine alone")

    async with replica(proxy) as (watch, jobs):
        watch.subscribe(fails)
        told = Told(watch)
        await api.create_job("anyway", namespace="team-a")
        await told.until(("ADDED", "anyway"))
        await until_listed(jobs, "anyway")


async def test_more_jobs_than_a_page_are_all_listed(api: Api, proxy: FaultProxy) -> None:
    made = [await api.create_job(f"many-{number}", namespace="team-b") for number in range(5)]
    target = Target(verb="list", kind=PLURAL, namespace="team-b", name="")
    async with connected(proxy.configuration) as server:
        found, version = await list_all(server, jobs_path("team-b"), target, page=2)
    assert [raw["metadata"]["uid"] for raw in found] == [raw["metadata"]["uid"] for raw in made]
    assert version >= int(made[-1]["metadata"]["resourceVersion"])


async def test_a_version_that_is_too_old_is_an_error(
    api: Api, plane: ControlPlane, proxy: FaultProxy
) -> None:
    plane.stop_apiserver()  # which remembers nothing of before
    plane.start_apiserver()
    target = Target(verb="watch", kind=PLURAL, namespace="", name="")
    async with connected(proxy.configuration) as server:

        async def fault() -> str:
            with pytest.raises(TransientError) as error:
                async for _ in server.watch(jobs_path(None), target, since=1, seconds=5, silence=10):
                    pass
            return str(error.value)

        async with asyncio.timeout(60):  # it starts anew
            while "too old resource version" not in await fault():  # noqa: ASYNC110 - nothing sets an event
                await asyncio.sleep(0.1)


async def test_replicas_agree_who_acts(api: Api, proxy: FaultProxy) -> None:
    acting: list[str] = []

    async def lead(server: ApiServer, name: str) -> None:
        async def act(_: Term) -> None:
            acting.append(name)
            await asyncio.Event().wait()

        elector = Elector(KubeLeases(server), namespace="team-a", name="gateway", identity=name)
        await elector.lead(act, on_change=lambda _: None)

    async with connected(proxy.configuration) as one, connected(proxy.configuration) as two:
        leading = {name: asyncio.create_task(lead(api, name)) for name, api in (("1", one), ("2", two))}
        await until_true(lambda: acting)
        await until_true(lambda: sum("/leases" in path for path in proxy.paths) >= 2)
        [first] = acting
        leading[first].cancel()  # the Lease is given back, and the other need not wait until it is too old
        await until_true(lambda: len(acting) == 2)
        assert set(acting) == {"1", "2"}
        for task in leading.values():
            task.cancel()
        await asyncio.gather(*leading.values(), return_exceptions=True)
