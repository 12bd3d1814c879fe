"""Servers that ask for a key: what is open without one, which keys are good, and that none is ever told."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from kubetune_guard.asgi import Message, Receive, Scope, Send
from kubetune_guard.canary import Served
from kubetune_guard.keys import KEYS_ENV, Keys
from kubetune_guard.middleware import Guard
from kubetune_guard.routes import ASK, OPEN, READ
from kubetune_trainer.evaluate.api_key import key_in
from tests.support.mounted_secret import mount_secret

KEY, NEWER = "sk-0123456789abcdef", "sk-fedcba9876543210"
CHAT = "/v1/chat/completions"
SERVED = Served("job", None, "float32", Path("/nowhere"), "sha256:1")
Headers = Sequence[tuple[bytes, bytes]]


class App:
    """Stands for vLLM: one answer for all, in the shape of a chat's."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.paths.append(f"{scope['method']} {scope['path']}")
        message = {"role": "assistant", "content": "Hello."}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        body = {"id": "1", "object": "chat.completion", "created": 1, "model": "job", "choices": [choice]}
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})


def bearer(key: str) -> Headers:
    return [(b"authorization", f"Bearer {key}".encode())]


async def ask(
    guard: Guard, path: str = CHAT, headers: Headers = (), *, method: str = "POST"
) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body; a request that is refused for its key is not read."""
    sent: list[Message] = []
    read = False

    async def receive() -> Message:
        nonlocal read
        read = True
        return {"type": "http.request", "body": b'{"model": "job", "messages": []}', "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await guard({"type": "http", "method": method, "path": path, "headers": [*headers]}, receive, send)
    status = sent[0]["status"]
    assert not (read and status == 401)
    told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return status, told, json.loads(sent[1]["body"])


async def proven(guard: Guard) -> None:
    """Wait for the canary, which begins when it is asked for."""
    while (await ask(guard, "/kubetune/canary", method="GET"))[0] == 503:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def guarded(app: App, folder: Path, **values: str | bytes) -> Guard:
    return Guard(app, limit=4, served=SERVED, keys=Keys(mount_secret(folder, **values)))


@pytest.mark.parametrize("path", sorted((ASK | READ) - OPEN))
async def test_every_path_but_the_open_ones_needs_a_key(tmp_path: Path, path: str) -> None:
    app = App()
    guard = guarded(app, tmp_path, key=KEY)
    method = "POST" if path in ASK else "GET"
    refused = await ask(guard, path, method=method)
    assert (refused[0], app.paths) == (401, [])
    passed = await ask(guard, path, bearer(KEY), method=method)
    assert (passed[0], app.paths) == (200, [f"{method} {path}"])


def test_what_is_open_is_this() -> None:
    assert {"/health", "/metrics", "/kubetune/canary", "/kubetune/started"} == OPEN


@pytest.mark.parametrize("path", sorted(OPEN))
async def test_health_and_metrics_need_none(tmp_path: Path, path: str) -> None:
    guard = guarded(App(), tmp_path, key=KEY)
    await proven(guard)
    assert (await ask(guard, path, method="GET"))[0] == 200


@pytest.mark.parametrize(
    "path", ["/invocations", "//v1/completions", "/v1/../health", "/health/", "/docs", ""]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_paths_that_vllm_opens_past_its_own_key_are_closed(
    tmp_path: Path, path: str, method: str
) -> None:
    app = App()
    guard = guarded(app, tmp_path, key=KEY)
    assert (await ask(guard, path, method=method))[0] == 401
    assert (await ask(guard, path, bearer(KEY), method=method))[0] == 404
    assert app.paths == []


async def test_browsers_ask_first_without_a_key(tmp_path: Path) -> None:
    app = App()
    guard = guarded(app, tmp_path, key=KEY)
    assert (await ask(guard, method="OPTIONS"))[0] == 200
    assert (await ask(guard, "/invocations", method="OPTIONS"))[0] == 404
    assert app.paths == [f"OPTIONS {CHAT}"]


@pytest.mark.parametrize(
    "headers",
    [
        bearer(KEY),
        [(b"authorization", f"bearer  {KEY} ".encode())],
        [(b"api-key", KEY.encode())],
        [(b"authorization", b"Basic dXNlcg=="), (b"api-key", KEY.encode())],
        [*bearer("of-a-gateway"), *bearer(KEY)],
    ],
)
async def test_a_key_is_shown_as_clients_of_openai_and_of_azure_do(tmp_path: Path, headers: Headers) -> None:
    assert (await ask(guarded(App(), tmp_path, key=KEY), headers=headers))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        bearer(NEWER),
        bearer(KEY[:-1]),
        bearer(f"{KEY}x"),
        bearer(KEY.upper()),
        bearer(""),
        bearer("none"),
        [(b"authorization", KEY.encode())],
        [(b"authorization", b"Basic " + KEY.encode())],
        [(b"authorization", b"Bearer")],
        [(b"api-key", b"")],
        [(b"api-key", b"Bearer " + KEY.encode())],
        [(b"x-api-key", KEY.encode())],
        [(b"cookie", KEY.encode())],
    ],
)
async def test_all_else_is_refused_in_openais_shape_and_not_repeated(
    tmp_path: Path, headers: Headers
) -> None:
    status, told, body = await ask(guarded(App(), tmp_path, key=KEY, empty="", line="\n"), headers=headers)
    assert (status, told["www-authenticate"]) == (401, "Bearer")
    message = body["error"].pop("message")
    assert body == {"error": {"type": "invalid_request_error", "param": None, "code": "invalid_api_key"}}
    assert message in (
        "This server does not know this key.",
        "This server asks for a key: send it as Authorization: Bearer KEY, or as api-key: KEY.",
    )


async def test_every_value_of_the_secret_is_a_key_and_a_newline_at_its_end_is_none_of_it(
    tmp_path: Path,
) -> None:
    guard = guarded(App(), tmp_path, alice=f"{KEY}\n", bob=f"{NEWER}\r\n")
    assert [(await ask(guard, headers=bearer(key)))[0] for key in (KEY, NEWER, "alice")] == [200, 200, 401]


async def test_keys_are_changed_without_a_restart(tmp_path: Path) -> None:
    guard = guarded(App(), tmp_path, old=KEY)

    async def states() -> list[int]:
        return [(await ask(guard, headers=bearer(key)))[0] for key in (KEY, NEWER)]

    assert await states() == [200, 401]
    mount_secret(tmp_path, old=KEY, new=NEWER)
    assert await states() == [200, 200]
    mount_secret(tmp_path, new=NEWER)
    assert await states() == [401, 200]
    mount_secret(tmp_path, new=KEY)
    assert await states() == [200, 401]
    mount_secret(tmp_path)
    assert await states() == [401, 401]


async def test_files_that_no_kubelet_has_written_are_keys_too(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    guard = Guard(App(), limit=4, served=SERVED, keys=Keys(tmp_path))
    assert (await ask(guard, headers=bearer(KEY)))[0] == 200
    (tmp_path / "key").write_text(NEWER)
    assert [(await ask(guard, headers=bearer(key)))[0] for key in (KEY, NEWER)] == [401, 200]


@pytest.mark.parametrize(
    "values",
    [{}, {"a": ""}, {"a": " \n"}, {"a": "two words"}, {"a": "schlüssel"}, {"a": b"\xff\xfe"}, {"a": "a\nb"}],
)
async def test_without_a_key_nobody_is_let_in_and_the_server_does_not_start(
    tmp_path: Path, values: dict[str, str | bytes]
) -> None:
    guard = guarded(App(), tmp_path, **values)
    status, _, body = await ask(guard, headers=bearer(""))
    assert status == 401
    assert body["error"]["message"] == (
        "This server asks for a key and has none to accept: its Secret has no value that can be one."
    )
    assert (await ask(guard, headers=bearer(str(values.get("a", "")))))[0] == 401
    await proven(guard)
    assert (await ask(guard, "/kubetune/started", method="GET"))[0] == 503
    status, _, told = await ask(guard, "/kubetune/canary", method="GET")
    assert (status, told["verdict"], told["keyless"]) == (200, "Unproven", True)
    mount_secret(tmp_path, a=KEY)
    assert (await ask(guard, "/kubetune/started", method="GET"))[0] == 200
    assert (await ask(guard, "/kubetune/canary", method="GET"))[2]["keyless"] is False


@pytest.mark.parametrize(
    "values", [{"a": "", "b": "two words", "c": "ü", "d": "a\tb", "e": f" {KEY}\n"}, {"b": NEWER, "a": KEY}]
)
async def test_what_the_evaluator_takes_for_a_key_is_one(tmp_path: Path, values: dict[str, str]) -> None:
    guard = guarded(App(), tmp_path, **values)
    key = key_in(tmp_path)
    assert key == KEY
    assert (await ask(guard, headers=bearer(key)))[0] == 200


async def test_a_secret_that_is_not_mounted_lets_nobody_in(tmp_path: Path) -> None:
    guard = Guard(App(), limit=4, served=SERVED, keys=Keys(tmp_path / "nowhere"))
    assert (await ask(guard, headers=bearer("")))[0] == 401


def test_a_server_asks_for_a_key_where_the_operator_says_so() -> None:
    assert Keys.from_env({}) is None
    assert Keys.from_env({KEYS_ENV: ""}) is None
    assert isinstance(Keys.from_env({KEYS_ENV: "/nowhere"}), Keys)


async def test_openais_own_client_shows_its_key_and_knows_the_refusal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    transport = httpx2.ASGITransport(app=guarded(App(), tmp_path, key=KEY))
    question: Any = {"model": "job", "messages": [{"role": "user", "content": "Hello?"}]}

    def client(key: str) -> openai.AsyncOpenAI:
        http = httpx2.AsyncClient(transport=transport)
        return openai.AsyncOpenAI(base_url="http://server/v1", api_key=key, http_client=http, max_retries=0)

    async with client(KEY) as good:
        assert (await good.chat.completions.create(**question)).choices[0].message.content == "Hello."
    async with client(NEWER) as bad:
        with pytest.raises(openai.AuthenticationError) as refused:
            await bad.chat.completions.create(**question)
    assert refused.value.code == "invalid_api_key"
    assert KEY not in caplog.text
    assert NEWER not in caplog.text + str(refused.value)
