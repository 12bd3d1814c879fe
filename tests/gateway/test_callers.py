"""Who calls the gateway and what they may: real tokens, rights and keys, on a real API server."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from dev.cluster.control_plane import ControlPlane
from kubetune.cluster.kube.connection import KUBECONFIG, load_configuration
from kubetune_gateway.callers.keys import KeyStore
from tests.support import accounts, kube_gateway, s3_server
from tests.support.accounts import configuration_as, grant, make_account, take_back, token_of
from tests.support.apiserver import Api
from tests.support.kube_gateway import RIGHTS, Gateway
from tests.support.s3_server import S3Server

pytestmark = [pytest.mark.apiserver, s3_server.needed]

ROWS = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' * 12
OWN = ("system", "gateway")
"""Namespace and name of the gateway's own account."""

ALL = (
    ("kubetune.dev", "finetunejobs", "get list create update delete"),
    ("kubetune.dev", "finetunejobs/files", "get list create delete"),
)


@dataclass(frozen=True, slots=True)
class Bench:
    """A control plane with accounts, and S3."""

    plane: ControlPlane
    s3: S3Server

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[Api]:
        async with Api(await self.configuration()) as api:
            yield api

    async def configuration(self) -> Any:
        return await load_configuration({KUBECONFIG: str(self.plane.kubeconfig)})

    @asynccontextmanager
    async def gateway(self, account: tuple[str, str] = OWN, **settings: Any) -> AsyncIterator[Gateway]:
        async with self.admin() as api:
            token = await token_of(api, *account)
        configuration = configuration_as(await self.configuration(), token)
        async with kube_gateway.running(configuration, self.s3, **settings) as gateway:
            yield gateway


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with (
        ControlPlane.temporary() as plane,
        s3_server.running(tmp_path_factory.mktemp("s3"), "clients") as s3,
    ):
        made = Bench(plane, s3)
        asyncio.run(_prepare(made))
        yield made


async def _prepare(bench: Bench) -> None:
    async with bench.admin() as api:
        await api.install_crd()
        for namespace in ("system", "team-a", "team-b"):
            await accounts.make_namespace(api, namespace)
        for account in (OWN, ("team-a", "bot"), ("team-a", "nobody"), ("team-b", "bot")):
            await make_account(api, *account)
        await grant(api, OWN, *RIGHTS, name="gateway")
        for namespace in ("team-a", "team-b"):
            await grant(api, (namespace, "bot"), *ALL, namespace=namespace, name="all")
    await asyncio.sleep(0.25)


@pytest.fixture(autouse=True)
async def _closed_connections() -> AsyncIterator[None]:
    yield
    await asyncio.sleep(0.25)  # aiohttp closes its transports a few turns of the loop later


async def asked(
    gateway: Gateway, method: str = "GET", path: str = "/files", **headers: str
) -> httpx.Response:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.request(method, gateway.url + path, headers=named)


async def by(token: str, gateway: Gateway, **more: str) -> httpx.Response:
    return await asked(gateway, authorization=f"Bearer {token}", **more)


async def until(what: Callable[[], Awaitable[bool]], *, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await what():  # noqa: ASYNC110 - nothing sets an event
            await asyncio.sleep(0.1)


def error_of(response: httpx.Response) -> tuple[int, str | None]:
    return response.status_code, response.json().get("error", {}).get("code")


async def test_a_service_account_works_in_its_own_namespace(bench: Bench) -> None:
    async with bench.admin() as api, bench.gateway() as gateway:
        token = await token_of(api, "team-a", "bot")
        async with openai.AsyncOpenAI(base_url=gateway.url, api_key=token, max_retries=0) as client:
            file = await client.files.create(file=ROWS, purpose="fine-tune")
            job = await client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=file.id)
            assert [one.id async for one in client.fine_tuning.jobs.list()] == [job.id]
        [raw] = await api.items("/apis/kubetune.dev/v1alpha1/namespaces/team-a/finetunejobs")
        managers = [entry["manager"] for entry in raw["metadata"]["managedFields"]]
        assert managers == ["kubetune-gateway"]
        for sent in (
            {"api_key": token},
            {"api_key": token, "authorization": ""},
            {"authorization": f"bearer  {token}"},
        ):
            [found] = (await asked(gateway, **sent)).json()["data"]
            assert found["id"] == file.id
        other = await token_of(api, "team-b", "bot")
        assert (await by(other, gateway)).json()["data"] == []
        assert (await by(other, gateway)).status_code == 200
        await api.delete_job(raw["metadata"]["name"], namespace="team-a")


async def test_what_nobody_knows_is_unauthorized(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    async with bench.admin() as api, bench.gateway() as gateway:
        await make_account(api, "team-a", "leaver")
        leaver, bot = await token_of(api, "team-a", "leaver"), await token_of(api, "team-a", "bot")
        await api.request("DELETE", "/api/v1/namespaces/team-a/serviceaccounts/leaver")
        head, body, signature = bot.split(".")
        tokens = {
            "garbage": "garbage",
            "forged": f"{head}.{_encoded(_claims(bot) | {'sub': 'system:admin'})}.{signature}",
            "unsigned": f"{head}.{body}.",
            "for another audience": await token_of(api, "team-a", "bot", audiences=["vault"]),
            "expired": _expired(bench, bot),
            "of one who is gone": leaver,
            "of OpenAI": "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789",
            "a key that nobody made": "sk-kt-" + "a" * 40,
            "a key of another form": "sk-kt-../../" + "a" * 33,
        }
        for name, token in tokens.items():
            answer = await by(token, gateway)
            assert error_of(answer) == (401, "invalid_api_key"), name
            assert answer.headers["www-authenticate"] == 'Bearer realm="kubetune"'
            assert not any(part in answer.text for part in token.split(".") if len(part) > 7), name
        assert "expired" in (await by(tokens["expired"], gateway)).json()["error"]["message"]
        for headers in ({}, {"authorization": "Bearer"}, {"authorization": "Basic YTpi"}, {"api_key": ""}):
            assert error_of(await asked(gateway, **headers)) == (401, "invalid_api_key")
        assert error_of(await by("a" * 20_000, gateway)) == (401, "invalid_api_key")
        assert not any(part in caplog.text for token in tokens.values() for part in [token[:20]])


async def test_rights_are_those_of_kubernetes(bench: Bench) -> None:
    async with bench.admin() as api, bench.gateway() as gateway:
        token = await token_of(api, "team-a", "nobody")
        refused = await by(token, gateway)
        assert error_of(refused) == (403, "forbidden")
        assert refused.json()["error"]["message"] == (
            'User "system:serviceaccount:team-a:nobody" may not list finetunejobs/files in the namespace '
            "team-a. Give them a role there with the verb list on finetunejobs/files in the API group "
            "kubetune.dev."
        )
        files = ("kubetune.dev", "finetunejobs/files", "list create")
        await grant(api, ("team-a", "nobody"), files, namespace="team-a")

        async def may_list() -> bool:
            return (await by(token, gateway)).status_code == 200

        async def may_not_list() -> bool:
            return error_of(await by(token, gateway)) == (403, "forbidden")

        await until(may_list)
        async with openai.AsyncOpenAI(base_url=gateway.url, api_key=token, max_retries=0) as client:
            file = await client.files.create(file=ROWS, purpose="fine-tune")
            with pytest.raises(openai.PermissionDeniedError):
                await client.files.delete(file.id)
            with pytest.raises(openai.PermissionDeniedError):
                await client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=file.id)
        await take_back(api, "team-a")
        await until(may_not_list)


async def test_another_namespace_is_named_as_the_project(bench: Bench) -> None:
    async with bench.admin() as api, bench.gateway() as gateway:
        token = await token_of(api, "team-a", "bot")
        assert error_of(await by(token, gateway, openai_project="team-b")) == (403, "forbidden")
        assert (await by(token, gateway, openai_project="team-a")).status_code == 200
        for wrong in ("proj_abc", "team-b/../team-a", "Team-B", "a" * 64, "_keys", "..", "é"):
            answer = await by(token, gateway, openai_project=wrong)
            assert error_of(answer) == (400, "invalid_project"), wrong
        await grant(api, ("team-a", "bot"), *ALL, namespace="team-b", name="guest")
        async with openai.AsyncOpenAI(
            base_url=gateway.url, api_key=token, project="team-b", max_retries=0
        ) as client:

            async def may() -> bool:
                try:
                    return not (await client.files.list()).data
                except openai.PermissionDeniedError:
                    return False

            await until(may)
            file = await client.files.create(file=ROWS, purpose="fine-tune")
        seen = (await by(await token_of(api, "team-b", "bot"), gateway)).json()["data"]
        assert [one["id"] for one in seen] == [file.id]


async def test_only_namespaces_that_are_watched_are_served(bench: Bench) -> None:
    async with bench.admin() as api, bench.gateway(namespaces=["team-a", "gone"]) as gateway:
        assert (await by(await token_of(api, "team-a", "bot"), gateway)).status_code == 200
        refused = await by(await token_of(api, "team-b", "bot"), gateway)
        assert error_of(refused) == (403, "namespace_not_served")
        key = await made(gateway.keys, "team-b")
        assert error_of(await by(key, gateway)) == (403, "namespace_not_served")


async def test_only_tokens_for_the_gateway_count_where_it_has_an_audience(bench: Bench) -> None:
    async with bench.admin() as api, bench.gateway(audiences=["kubetune"]) as gateway:
        meant = await token_of(api, "team-a", "bot", audiences=["kubetune", "vault"])
        assert (await by(meant, gateway)).status_code == 200
        refused = await by(await token_of(api, "team-a", "bot"), gateway)
        assert error_of(refused) == (401, "invalid_api_key")
        assert "audience kubetune" in refused.json()["error"]["message"]


async def made(keys: KeyStore, namespace: str = "team-a", account: str = "bot", **more: Any) -> str:
    now = more.pop("now", datetime.now(UTC))
    random = base64.b32decode(base64.b32encode(str(time.monotonic_ns()).encode().rjust(25))[:40])
    return await keys.create(namespace=namespace, service_account=account, now=now, random=random, **more)


async def test_a_key_acts_as_its_service_account_until_it_is_revoked(bench: Bench) -> None:
    async with bench.admin() as api, bench.gateway() as gateway, bench.gateway() as other:
        key = await made(gateway.keys)
        assert (await by(key, gateway)).status_code == 200
        assert (await asked(other, api_key=key)).status_code == 200
        assert (await by(key, gateway, openai_project="team-a")).status_code == 200
        refused = await by(key, gateway, openai_project="team-b")
        assert error_of(refused) == (403, "key_of_another_namespace")
        async with openai.AsyncOpenAI(base_url=gateway.url, api_key=key, max_retries=0) as client:
            file = await client.files.create(file=ROWS, purpose="fine-tune")
        token = await token_of(api, "team-a", "bot")
        assert file.id in [one["id"] for one in (await by(token, gateway)).json()["data"]]
        powerless = await made(gateway.keys, account="nobody")
        assert error_of(await by(powerless, gateway)) == (403, "forbidden")
        assert (await gateway.keys.revoke(key[-4:], namespace="team-a")).service_account == "bot"

        async def ended() -> bool:
            answers = [await by(key, one) for one in (gateway, other)]
            return all(answer.status_code == 401 for answer in answers)

        await until(ended)


async def test_a_key_of_an_account_that_is_gone_is_worth_nothing(bench: Bench) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=2)
    async with bench.admin() as api, bench.gateway() as gateway:
        await make_account(api, "team-a", "deployer")
        await grant(api, ("team-a", "deployer"), *ALL, namespace="team-a", name="deployer")
        key = await made(gateway.keys, account="deployer")
        older = await made(gateway.keys, account="deployer", now=long_ago)

        async def may() -> bool:
            return (await by(key, gateway)).status_code == 200

        await until(may)
        refused = await by(older, gateway)
        assert error_of(refused) == (401, "invalid_api_key")
        assert "made anew" in refused.json()["error"]["message"]
        await api.request("DELETE", "/api/v1/namespaces/team-a/serviceaccounts/deployer")

        async def may_not() -> bool:
            return (await by(key, gateway)).status_code == 401

        await until(may_not)
        expired = await made(gateway.keys, now=long_ago, days=1)
        assert error_of(await by(expired, gateway)) == (401, "api_key_expired")


async def test_what_the_gateway_itself_may_not_is_said(bench: Bench) -> None:
    async with bench.admin() as api:
        await make_account(api, "system", "weak")
        jobs = next(rule for rule in RIGHTS if rule[1] == "finetunejobs")
        await grant(api, ("system", "weak"), jobs, name="weak")
        async with bench.gateway(("system", "weak")) as gateway:
            token, key = await token_of(api, "team-a", "bot"), await made(gateway.keys)
            for secret, lacking in ((token, "create tokenreviews"), (key, "get serviceaccounts")):
                refused = await by(secret, gateway)
                assert error_of(refused) == (503, "gateway_lacks_right")
                assert lacking in refused.json()["error"]["message"]
                assert refused.headers["retry-after"] == "30"


async def test_clients_try_again_while_the_api_server_is_away(bench: Bench) -> None:
    async with bench.admin() as api, bench.gateway() as gateway:
        token, other = [await token_of(api, "team-a", name) for name in ("bot", "nobody")]
        assert (await by(token, gateway)).status_code == 200
        bench.plane.stop_apiserver()
        try:
            refused = await by(other, gateway)
        finally:
            bench.plane.start_apiserver()
        assert error_of(refused) == (503, "unavailable")
        assert int(refused.headers["retry-after"]) > 0

        async def back() -> bool:
            return (await by(token, gateway)).status_code == 200

        await until(back)


def _claims(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


def _encoded(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _expired(bench: Bench, token: str) -> str:
    """The same token, signed anew as one of yesterday."""
    file: Path = bench.plane.instance.authority.service_account_key()
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    yesterday = int(time.time()) - 86_400
    times = {"iat": yesterday - 3600, "nbf": yesterday - 3600, "exp": yesterday}
    signed = f"{token.split('.')[0]}.{_encoded(_claims(token) | times)}"
    signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{_encoded(signature)}"
