"""The client on the wire: paths, bodies, headers and errors, against a small HTTP server."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config.incluster_config import InClusterConfigLoader

from kubetune.cluster.kube.client import ApiKube
from kubetune.cluster.kube.connection import load_configuration
from kubetune.facts.views import Kind, Listing
from kubetune.vocabulary.errors import (
    Conflict,
    Invalid,
    KubeTuneError,
    MissingPermission,
    NotFound,
    Rejected,
    TransientError,
    WebhookFailed,
)
from tests.support.denials import BY_POLICY, BY_THE_RULES, BY_WEBHOOK, Denial


@dataclass(slots=True)
class Server:
    """Answers what it is told, and remembers what it was asked."""

    status: int = 200
    body: Any = field(default_factory=lambda: {"kind": "Any", "metadata": {"name": "any", "uid": "u"}})
    headers: dict[str, str] = field(default_factory=dict)
    seen: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.Request) -> web.Response:
        text = await request.text()
        self.seen.append(
            {
                "method": request.method,
                "path": request.path,
                "query": dict(request.query),
                "body": json.loads(text) if text else None,
                "content": request.headers.get("Content-Type"),
                "accept": request.headers.get("Accept"),
                "agent": request.headers.get("User-Agent"),
                "authorization": request.headers.get("Authorization"),
            }
        )
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return web.Response(status=self.status, text=text, headers=self.headers)


@asynccontextmanager
async def serving(**more: Any) -> AsyncIterator[Server]:
    server = Server(**more)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client(
    server: Server, *, namespaces: tuple[str, ...] = (), counted: list[tuple[str, str, str]] | None = None
) -> AsyncIterator[ApiKube]:
    configuration = Configuration()
    configuration.host = server.url
    counted = [] if counted is None else counted
    kube = ApiKube(configuration, namespaces=namespaces, on_request=lambda *r: counted.append(r))
    try:
        yield kube
    finally:
        await kube.close()


JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"namespace": "team", "name": "job-prepare"},
    "spec": {"parallelism": 2},
}


async def test_create_posts_the_manifest_as_it_is() -> None:
    counted: list[tuple[str, str, str]] = []
    async with serving(status=201) as server, client(server, counted=counted) as kube:
        await kube.create(JOB)
    (seen,) = server.seen
    assert (seen["method"], seen["path"]) == ("POST", "/apis/batch/v1/namespaces/team/jobs")
    assert seen["query"] == {"fieldManager": "kubetune"}
    assert seen["body"] == JOB
    assert seen["content"] == seen["accept"] == "application/json"
    assert seen["agent"] == "kubetune"
    assert counted == [("create", "jobs", "201")]


async def test_apply_is_forced_server_side_apply() -> None:
    async with serving() as server, client(server) as kube:
        await kube.apply(JOB)
    (seen,) = server.seen
    assert (seen["method"], seen["path"]) == ("PATCH", "/apis/batch/v1/namespaces/team/jobs/job-prepare")
    assert seen["query"] == {"fieldManager": "kubetune", "force": "true"}
    assert seen["content"] == "application/apply-patch+yaml"


async def test_a_status_is_merge_patched_with_the_uid_as_precondition() -> None:
    async with serving() as server, client(server) as kube:
        await kube.patch_status("team", "job", uid="u1", status={"progress": None})
    (seen,) = server.seen
    assert seen["path"] == "/apis/kubetune.dev/v1alpha1/namespaces/team/finetunejobs/job/status"
    assert seen["content"] == "application/merge-patch+json"
    assert seen["body"] == {"metadata": {"uid": "u1"}, "status": {"progress": None}}


async def test_a_delete_names_the_uid_and_finds_nothing_wrong_when_it_is_gone() -> None:
    for status in (200, 404, 409):
        async with serving(status=status) as server, client(server) as kube:
            await kube.delete(Kind.SERVICE, "team", "job", uid="u1")
        assert server.seen[0]["body"] == {"propagationPolicy": "Background", "preconditions": {"uid": "u1"}}


async def test_a_write_that_must_end_in_time_is_given_up_by_the_server_too() -> None:
    async with serving() as server, client(server) as kube:
        await kube.create(JOB, within=2.5)
        await kube.apply(JOB, within=2.5)
        await kube.delete(Kind.SERVICE, "team", "job", uid="u1", within=2.5)
        await kube.patch_status("team", "job", uid="u1", status={}, within=2.5)
    assert [seen["query"].get("timeout") for seen in server.seen] == ["2500ms"] * 4


async def test_nothing_more_is_sent_of_a_request_that_was_given_up() -> None:
    broken = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(65536):
                pass
        except ConnectionResetError:
            broken.set()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    configuration = Configuration()
    configuration.host = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    kube = ApiKube(configuration, on_request=lambda *_: None)
    with pytest.raises(TransientError):
        await kube.create(JOB, within=0.2)
    async with asyncio.timeout(30):
        await (
            broken.wait()
        )  # the connection was reset: a mere end would let the kernel go on with what it has
    await kube.close()
    server.close()


async def test_a_lease_is_made_when_it_names_no_version_and_replaced_when_it_does() -> None:
    meta = {"namespace": "system", "name": "kubetune"}
    new = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": {}}
    known = {**new, "metadata": {**meta, "resourceVersion": "7"}}
    async with serving() as server, client(server) as kube:
        await kube.get_lease("system", "kubetune", within=4)
        await kube.put_lease(new, within=4)
        await kube.put_lease(known, within=4)
    path = "/apis/coordination.k8s.io/v1/namespaces/system/leases"
    assert [(seen["method"], seen["path"], seen["body"]) for seen in server.seen] == [
        ("GET", f"{path}/kubetune", None),
        ("POST", path, new),
        ("PUT", f"{path}/kubetune", known),
    ]


async def test_selectors_are_escaped() -> None:
    pod = {"metadata": {"name": "p", "uid": "u"}}
    async with serving(body={"items": [pod]}) as server, client(server) as kube:
        assert await kube.list(Kind.POD, "team", selector="a=b,c in (d)") == [pod]
    assert server.seen[0]["query"] == {"labelSelector": "a=b,c in (d)"}


async def test_metadata_is_listed_as_of_now_and_per_namespace_when_namespaced() -> None:
    body = {"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "x", "uid": "u"}}]}
    async with serving(body=body) as server, client(server, namespaces=("a", "b")) as kube:
        listing = await kube.list_metadata(Kind.CONFIG_MAP)
    assert listing.resource_version == 7
    assert [view.name for view in listing.views] == ["x", "x"]
    assert {s["path"] for s in server.seen} == {
        "/api/v1/namespaces/a/configmaps",
        "/api/v1/namespaces/b/configmaps",
    }
    assert server.seen[0]["query"] == {"labelSelector": "app.kubernetes.io/managed-by=kubetune"}
    assert "PartialObjectMetadataList" in server.seen[0]["accept"]
    async with serving(body=body) as server, client(server) as kube:
        await kube.list_metadata(Kind.FINE_TUNE_JOB)
    assert server.seen[0]["path"] == "/apis/kubetune.dev/v1alpha1/finetunejobs"
    assert server.seen[0]["query"] == {}


async def test_events_come_oldest_first_whatever_api_made_them() -> None:
    items = [
        {"lastTimestamp": "2026-01-01T00:00:03Z"},
        {"eventTime": "2026-01-01T00:00:01.000000Z"},
        {"lastTimestamp": None, "series": {"lastObservedTime": "2026-01-01T00:00:02Z"}},
    ]
    items = [{**item, "metadata": {"name": "e", "uid": str(number)}} for number, item in enumerate(items)]
    async with serving(body={"items": items}) as server, client(server) as kube:
        found = await kube.events_of("team", name="p", uid="6f1c")
    assert server.seen[0]["query"] == {"fieldSelector": "involvedObject.uid=6f1c"}
    assert [items.index(dict(event)) for event in found] == [1, 2, 0]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Rejected),
        (402, Rejected),
        (401, TransientError),
        (403, Rejected),
        (404, NotFound),
        (409, Conflict),
        (422, Rejected),
        (429, TransientError),
        (500, TransientError),
        (503, TransientError),
    ],
)
async def test_refusals_are_converted_once_with_the_servers_words(
    status: int, kind: type[KubeTuneError]
) -> None:
    body = {"kind": "Status", "message": "the server's words"}
    async with serving(status=status, body=body) as server, client(server) as kube:
        with pytest.raises(kind, match=f"create Job team/job-prepare: {status} the server's words") as caught:
            await kube.create(JOB)
    assert type(caught.value) is kind


@pytest.mark.parametrize("denial", [*BY_POLICY, *BY_WEBHOOK], ids=str)
async def test_who_denies_is_known_by_the_words_whatever_the_code(denial: Denial) -> None:
    async with serving(status=denial.status, body=denial.body.decode()) as server, client(server) as kube:
        with pytest.raises(Rejected, match=re.escape(denial.words)) as caught:
            await kube.create(JOB)
    assert type(caught.value) is Rejected


@pytest.mark.parametrize("denial", BY_THE_RULES, ids=str)
async def test_the_api_servers_own_rules_are_told_from_policies(denial: Denial) -> None:
    async with serving(status=denial.status, body=denial.body.decode()) as server, client(server) as kube:
        with pytest.raises(Invalid, match=re.escape(denial.words)):
            await kube.create(JOB)


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (
            500,
            'Internal error occurred: failed calling webhook "x": failed to call webhook: EOF',
            WebhookFailed,
        ),
        (
            403,
            'jobs.batch is forbidden: User "system:serviceaccount:a:b" cannot create resource "jobs" in API '
            'group "batch" in the namespace "team"',
            MissingPermission,
        ),
        (
            403,
            'jobs.batch "x" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a '
            "resource you can't set finalizers on: , <nil>",
            MissingPermission,
        ),
        (403, 'jobs.batch "x" is forbidden: exceeded quota: q', Rejected),
    ],
)
async def test_a_webhook_that_is_away_and_a_right_that_is_missing_are_kinds_of_their_own(
    status: int, words: str, kind: type[KubeTuneError]
) -> None:
    async with serving(status=status, body={"message": words}) as server, client(server) as kube:
        with pytest.raises(kind) as caught:
            await kube.create(JOB)
    assert type(caught.value) is kind


WHOLE = {"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "x", "uid": "u"}}]}
PARTS: dict[str, Any] = {
    "cut off": json.dumps(WHOLE)[:-9],
    "the first of several": {**WHOLE, "metadata": {"resourceVersion": "7", "continue": "abc"}},
    "no list": {"kind": "Status", "metadata": {"resourceVersion": "7"}},
    "items of another type": {**WHOLE, "items": {"metadata": {}}},
    "an item that is null": {**WHOLE, "items": [None]},
    "an item without metadata": {**WHOLE, "items": [*WHOLE["items"], {"kind": "Job"}]},
    "an item with metadata that is null": {**WHOLE, "items": [{"metadata": None}]},
    "an item without uid": {**WHOLE, "items": [{"metadata": {"name": "x", "uid": None}}]},
}


@pytest.mark.parametrize("part", PARTS)
async def test_what_is_not_a_whole_list_is_none(part: str) -> None:
    async with serving(body=PARTS[part]) as server, client(server) as kube:
        with pytest.raises(TransientError):
            await kube.list_metadata(Kind.JOB)
        with pytest.raises(TransientError):
            await kube.list(Kind.POD, "team", selector="")
        with pytest.raises(TransientError):
            await kube.events_of("team", name="p", uid="u")


@pytest.mark.parametrize("version", [None, "", "abc", {}])
async def test_a_list_of_no_known_version_is_not_compared_with(version: object) -> None:
    body = {**WHOLE, "metadata": {"resourceVersion": version}}
    async with serving(body=body) as server, client(server) as kube:
        with pytest.raises(TransientError, match="is not the version of a list"):
            await kube.list_metadata(Kind.JOB)


async def test_an_empty_list_may_be_null() -> None:
    body = {"metadata": {"resourceVersion": "7"}, "items": None}
    async with serving(body=body) as server, client(server) as kube:
        assert await kube.list_metadata(Kind.JOB) == Listing(views=(), resource_version=7)


@pytest.mark.parametrize("body", [{}, {"metadata": None}, {"metadata": {"name": "x"}}, [], None, 5])
async def test_an_object_without_identity_is_no_answer(body: Any) -> None:
    async with serving(body=body) as server, client(server) as kube:
        with pytest.raises(TransientError):
            await kube.get(Kind.JOB, "team", "x")
        with pytest.raises(TransientError):
            await kube.create(JOB)
        with pytest.raises(TransientError):
            await kube.apply(JOB)
        with pytest.raises(TransientError):
            await kube.patch_status("team", "job", uid="u1", status={})


async def test_retry_after_is_taken_from_header_or_body() -> None:
    async with serving(status=429, headers={"Retry-After": "7"}) as server, client(server) as kube:
        with pytest.raises(TransientError) as caught:
            await kube.create(JOB)
    assert caught.value.retry_after == 7
    body = {"details": {"retryAfterSeconds": 3}}
    async with serving(status=429, body=body) as server, client(server) as kube:
        with pytest.raises(TransientError) as caught:
            await kube.create(JOB)
    assert caught.value.retry_after == 3


async def test_no_connection_and_no_json_are_transient() -> None:
    counted: list[tuple[str, str, str]] = []
    async with serving(body="<html>") as server, client(server, counted=counted) as kube:
        with pytest.raises(TransientError, match="expected value at line 1 column 1"):
            await kube.get(Kind.JOB, "team", "x")
    async with client(server, counted=counted) as kube:
        with pytest.raises(TransientError):
            await kube.get(Kind.JOB, "team", "x")
    assert counted == [("get", "jobs", "200"), ("get", "jobs", "error")]


async def test_a_token_is_read_again_and_its_newline_dropped(tmp_path: Path) -> None:
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("first\n")
    authority.write_text("unused")
    async with serving() as server:
        configuration = Configuration()
        loader = InClusterConfigLoader(
            str(token),
            str(authority),
            environ={"KUBERNETES_SERVICE_HOST": "h", "KUBERNETES_SERVICE_PORT": "1"},
        )
        loader.load_and_set(configuration)
        configuration.host, configuration.ssl_ca_cert = server.url, None
        loader.ssl_ca_cert, loader.host = None, server.url
        kube = ApiKube(configuration, on_request=lambda *_: None)
        await kube.get(Kind.JOB, "team", "x")
        token.write_text("second\n")
        loader.token_expires_at = loader.token_expires_at.replace(year=2020)
        await kube.get(Kind.JOB, "team", "x")
        await kube.close()
    assert [seen["authorization"] for seen in server.seen] == ["bearer first", "bearer second"]


async def test_our_own_variable_names_the_cluster_before_any_other(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
                "clusters": [{"name": "k", "cluster": {"server": "http://mine"}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
            }
        )
    )
    environ = {"KUBETUNE_KUBECONFIG": str(path), "KUBERNETES_SERVICE_HOST": "h", "KUBECONFIG": "/nowhere"}
    configuration = await load_configuration(environ)
    assert configuration.host == "http://mine"


@pytest.mark.slow
async def test_the_generated_api_classes_are_never_imported() -> None:
    program = (
        "import sys, kubetune.process.main; "
        "never = ('torch', 'kubernetes_asyncio', 'pykube'); "
        "bad = [m for m in sys.modules if 'client.api.' in m or m in never]; "
        "assert not bad, bad"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    assert await process.wait() == 0
