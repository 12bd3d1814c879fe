"""API keys in a real S3 endpoint: made, listed and revoked by commands, and never kept themselves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result
from typing_extensions import override

from kubetune_gateway.callers.accounts import Accounts
from kubetune_gateway.callers.caller import Caller
from kubetune_gateway.callers.callers import KubeCallers
from kubetune_gateway.callers.cli import keys_app
from kubetune_gateway.callers.keys import RANDOM_BYTES, ApiKey, KeyStore, digest, is_key
from kubetune_gateway.callers.tokens import Tokens, User
from kubetune_gateway.store.bucket import Bucket, s3_client
from kubetune_gateway.store.places import Places
from kubetune_gateway.wire.errors import ApiError
from tests.support import s3_server
from tests.support.s3_server import KEY, REGION, SECRET, S3Server

pytestmark = [s3_server.needed, pytest.mark.slow]

PLACES = Places("clients", "openai/")
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[S3Server]:
    with s3_server.running(tmp_path, "clients") as found:
        yield found


@asynccontextmanager
async def opened(server: S3Server) -> AsyncIterator[KeyStore]:
    async with s3_client(endpoint=server.url, region=REGION, key=KEY, secret=SECRET) as client:
        yield KeyStore(Bucket(client, PLACES.bucket), PLACES)


def with_store(server: S3Server, use: Callable[[KeyStore], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with opened(server) as store:
            return await use(store)

    return asyncio.run(main())


Run = Callable[..., Result]


@pytest.fixture
def run(server: S3Server) -> Run:
    app = keys_app(lambda: opened(server))
    return lambda *words: CliRunner().invoke(app, words)


def test_a_key_is_made_listed_and_revoked(server: S3Server, run: Run) -> None:
    made = run("create", "--namespace", "team-a", "--service-account", "bot", "--name", "ci", "--days", "30")
    assert made.exit_code == 0, made.output
    [key] = made.stdout.split()
    assert is_key(key)
    [file] = (server.folder / "clients" / "openai" / "_keys").iterdir()
    assert file.name == f"{digest(key)}.json"
    kept = json.loads(file.read_text())
    created = kept.pop("created_at")
    assert kept == {
        "namespace": "team-a",
        "service_account": "bot",
        "name": "ci",
        "expires_at": created + 30 * 86_400,
        "hint": key[-4:],
    }
    assert key not in file.read_text()
    other = run("create", "--namespace", "team-b", "--service-account", "bot").stdout.strip()
    lines = run("list").stdout.splitlines()
    listed = {tuple(line.split()[:2]) for line in lines[1:]}
    assert listed == {(digest(one)[:12], one[-4:]) for one in (key, other)}
    assert [line.split()[2:5] for line in run("list", "--namespace", "team-b").stdout.splitlines()[1:]] == [
        ["team-b", "bot", "-"]
    ]
    elsewhere = run("revoke", key[-4:], "--namespace", "team-b")
    assert (elsewhere.exit_code, "No key" in elsewhere.stderr) == (1, True)
    assert run("revoke", key[-4:], "--namespace", "team-a").exit_code == 0
    assert with_store(server, lambda store: store.find(key)) is None
    assert run("revoke", digest(other)[:8], "--namespace", "team-b").exit_code == 0
    assert run("list").stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--namespace", "Team", "--service-account", "bot"), "no namespace"),
        (("--namespace", "../x", "--service-account", "bot"), "no namespace"),
        (("--namespace", "a", "--service-account", "bot/token"), "no service account"),
        (("--namespace", "a", "--service-account", "b", "--days", "0"), "days"),
        (("--namespace", "a", "--service-account", "b", "--name", "a\nb"), "one line"),
    ],
)
def test_what_cannot_be_is_refused(run: Run, words: tuple[str, ...], says: str) -> None:
    refused = run("create", *words)
    assert refused.exit_code == 1
    assert says in refused.stderr
    assert refused.stdout == ""


def test_which_of_several_keys_is_asked(server: S3Server, run: Run) -> None:
    async def two(store: KeyStore) -> list[str]:
        return [await make(store, random=bytes([n]) + bytes(RANDOM_BYTES - 1)) for n in range(2)]

    first, second = with_store(server, two)
    assert first[-4:] == second[-4:]
    refused = run("revoke", first[-4:], "--namespace", "team-a")
    assert refused.exit_code == 1
    assert {digest(first), digest(second)} <= set(refused.stderr.split())
    assert run("revoke", digest(first), "--namespace", "team-a").exit_code == 0
    assert [name for name, _ in with_store(server, lambda store: store.list())] == [digest(second)]


async def make(store: KeyStore, **more: Any) -> str:
    wanted = {"namespace": "team-a", "service_account": "bot", "now": NOW, "random": bytes(RANDOM_BYTES)}
    return await store.create(**{**wanted, **more})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"namespace": "../x", "service_account": "bot", "created_at": 1, "hint": "aaaa"}',
        b'{"namespace": "a", "service_account": "b/../c", "created_at": 1, "hint": "aaaa"}',
    ],
)
def test_a_record_that_cannot_be_is_nobodys(server: S3Server, body: bytes) -> None:
    async def spoilt() -> None:
        async with s3_client(endpoint=server.url, region=REGION, key=KEY, secret=SECRET) as client:
            bucket = Bucket(client, PLACES.bucket)
            store = KeyStore(bucket, PLACES)
            key = await make(store)
            assert await store.find(key) == ApiKey(
                namespace="team-a", service_account="bot", created_at=int(NOW.timestamp()), hint=key[-4:]
            )
            await bucket.put(PLACES.key(digest(key)), body)
            assert await store.find(key) is None
            assert await store.list() == []

    asyncio.run(spoilt())


class Alice(Tokens):
    """Everybody is a person, whom a review knows and who has no namespace."""

    def __init__(self) -> None:
        pass

    @override
    async def user(self, token: str) -> User:
        return User(name="alice@example.com", groups=("science",))


class Everyone(Accounts):
    """All service accounts are there since NOW."""

    def __init__(self) -> None:
        pass

    @override
    async def made_at(self, namespace: str, name: str) -> datetime:
        return NOW


async def test_people_say_in_which_namespace_they_work() -> None:
    callers = KubeCallers(Alice(), accounts=Everyone(), now=lambda: NOW)
    with pytest.raises(ApiError) as refused:
        await callers.identify({"authorization": "Bearer token"})
    assert (refused.value.status, refused.value.code) == (400, "project_required")
    assert "`project`" in refused.value.message
    found = await callers.identify({"authorization": "Bearer token", "openai-project": "team-a"})
    assert found == Caller(user="alice@example.com", groups=("science",), namespace="team-a")
    with pytest.raises(ApiError) as refused:
        await callers.identify({"api-key": "sk-kt-" + "a" * 40})
    assert refused.value.message == "API keys are not enabled here: use the token of a service account."


@pytest.mark.parametrize(
    ("created", "days", "code"),
    [
        (NOW, 1, None),
        (NOW - timedelta(days=1), 1, "api_key_expired"),
        (NOW - timedelta(minutes=4), None, None),
        (NOW - timedelta(minutes=6), None, "invalid_api_key"),
    ],
)
def test_a_key_is_of_its_time(
    server: S3Server, created: datetime, days: int | None, code: str | None
) -> None:
    async def used(store: KeyStore) -> None:
        callers = KubeCallers(Alice(), keys=store, accounts=Everyone(), now=lambda: NOW)
        headers = {"api-key": await make(store, now=created, days=days)}
        if code is None:
            assert await callers.identify(headers) == Caller(
                user="system:serviceaccount:team-a:bot",
                groups=("system:serviceaccounts", "system:serviceaccounts:team-a", "system:authenticated"),
                namespace="team-a",
            )
        else:
            with pytest.raises(ApiError) as refused:
                await callers.identify(headers)
            assert (refused.value.status, refused.value.code) == (401, code)

    with_store(server, used)
