"""The guard in front of vLLM: what reaches the application behind it, and what is answered in its place."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import kubetune_guard
from kubetune.children.guard import SOURCES
from kubetune.facts.canary import CANARY_PATH, STARTED_PATH
from kubetune_guard import middleware
from kubetune_guard.asgi import Message, Receive, Scope, Send
from kubetune_guard.canary import Served
from kubetune_guard.fields import REFUSED
from kubetune_guard.keys import KEYS_ENV
from kubetune_guard.middleware import BODY_LIMIT, Guard
from kubetune_guard.routes import ASK, OWN, READ
from kubetune_trainer.contract.evaluation import API_KEYS
from tests.support import golden

LIMIT = 4
SERVED = Served("job", None, "float32", Path("/nowhere"), "sha256:1")
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"


@dataclass
class App:
    """Stands for vLLM: keeps what it was asked, and answers in two parts once it may."""

    asked: list[bytes] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.paths.append(scope["path"])
        message = await receive()
        self.asked.append(message["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        ends = [asyncio.ensure_future(self.may_end.wait()), asyncio.ensure_future(receive())]
        done, pending = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        if ends[1] in done and ends[1].result()["type"] == "http.disconnect":
            self.gone.set()
            return
        await send({"type": "http.response.body", "body": b"last"})


class Client:
    """One request, as a server passes it: the body in parts, then silence until the client goes."""

    def __init__(
        self, guard: Guard, path: str, *parts: bytes, method: str = "POST", type: str = "http"
    ) -> None:
        self.sent: list[Message] = []
        self.leaves = asyncio.Event()
        self._parts = [
            {"type": "http.request", "body": part, "more_body": part is not parts[-1]} for part in parts
        ] or [{"type": "http.request", "body": b"", "more_body": False}]
        scope = {"type": type, "method": method, "path": path, "headers": []}
        self.task = asyncio.create_task(guard(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        if self._parts:
            return self._parts.pop(0)
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def error(self) -> dict[str, Any]:
        found = json.loads(self.sent[1]["body"])["error"]
        assert isinstance(found, dict)
        assert set(found) == {"message", "type", "param", "code"}
        return found


def guard(app: App) -> Guard:
    return Guard(app, limit=LIMIT, served=SERVED)


def _body(**fields: Any) -> bytes:
    return json.dumps({"model": "base", "prompt": "Hello", "max_tokens": 1, **fields}).encode()


async def _started(*clients: Client) -> None:
    """Let every request go as far as it gets by itself."""
    for _ in range(20):
        await asyncio.sleep(0)


async def _refused(path: str, *parts: bytes, **how: str) -> Client:
    app = App()
    client = Client(guard(app), path, *parts, **how)
    await client.task
    assert app.paths == []
    return client


@pytest.mark.parametrize("path", sorted(ASK))
async def test_a_question_reaches_the_application_as_it_was_sent(path: str) -> None:
    app = App()
    app.may_end.set()
    body = _body(stream=True)
    client = Client(guard(app), path, body[:7], body[7:9], body[9:])
    await client.task
    assert app.asked == [body]
    assert [m.get("body") for m in client.sent] == [None, b"first", b"last"]


@pytest.mark.parametrize("path", sorted(READ))
async def test_what_is_only_read_passes_at_any_load(path: str) -> None:
    app = App()
    guarded = guard(app)
    await _started(*(Client(guarded, COMPLETIONS, _body()) for _ in range(LIMIT)))
    client = Client(guarded, path, method="GET")
    await _started(client)
    assert (app.paths[-1], client.status) == (path, 200)


@pytest.mark.parametrize(
    "path",
    [
        "/invocations",
        "/ping",
        "/adapters",
        "/adapters/base",
        "/load",
        "/docs",
        "/openapi.json",
        "/generative_scoring",
        "/inference/v1/generate",
        "/scale_elastic_ep",
        "/kv_event_sources",
        "/v1/load_lora_adapter",
        "/v1/unload_lora_adapter",
        "//v1/load_lora_adapter",
        "//v1/completions",
        "/v1/completions/",
        "/v1/completions/render",
        "/v1/chat/completions/batch",
        "/v1/./completions",
        "/v1/../v1/completions",
        "/V1/completions",
        "/v1/completions\0",
        "/metrics/",
        "/v1/responses",
        "/v1/messages",
        "/v1/embeddings",
        "",
        "/",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_all_else_is_closed(path: str, method: str) -> None:
    client = await _refused(path, _body(), method=method)
    assert client.status == 404
    assert COMPLETIONS in client.error["message"]


@pytest.mark.parametrize(("path", "method"), [(CHAT, "GET"), ("/health", "POST"), ("/metrics", "DELETE")])
async def test_a_path_has_one_method(path: str, method: str) -> None:
    client = await _refused(path, _body(), method=method)
    assert client.status == 405


async def test_there_are_no_websockets() -> None:
    client = await _refused(CHAT, type="websocket")
    assert [m["type"] for m in client.sent] == ["websocket.close"]


@pytest.mark.parametrize("field", sorted(REFUSED))
@pytest.mark.parametrize("value", [0, False, "1", {}, []])
async def test_a_field_that_kills_is_refused_whatever_it_says(field: str, value: Any) -> None:
    client = await _refused(CHAT, _body(**{field: value}))
    assert client.status == 400
    assert (client.error["param"], client.error["type"]) == (field, "invalid_request_error")
    assert field in client.error["message"]


@pytest.mark.parametrize("echo", [True, 1, "true", "false"])
@pytest.mark.parametrize("logprobs", [0, 1, True, False, "0"])
async def test_echo_with_logprobs_is_refused(echo: Any, logprobs: Any) -> None:
    client = await _refused(COMPLETIONS, _body(echo=echo, logprobs=logprobs))
    assert (client.status, client.error["param"]) == (400, "echo")


async def test_a_chat_with_echo_is_refused_as_it_asks_for_the_prompts_log_probabilities() -> None:
    body = json.dumps({"model": "base", "messages": [{"role": "user", "content": "Hi"}], "echo": True})
    client = await _refused(CHAT, body.encode())
    assert (client.status, client.error["param"]) == (400, "echo")


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt_logprobs": None},
        {"echo": True},
        {"echo": False, "logprobs": 3},
        {"logprobs": 0, "allowed_token_ids": [5]},
        {"n": LIMIT},
        {"prompt": ["a"] * LIMIT},
        {"prompt": [1] * 100},
        {"prompt": []},
    ],
)
async def test_what_does_no_harm_passes(fields: dict[str, Any]) -> None:
    app = App()
    app.may_end.set()
    client = Client(guard(app), COMPLETIONS, _body(**fields))
    await client.task
    assert client.status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[1]",
        b'"text"',
        b'{"model": "base"',
        b'{"temperature": NaN}',
        b'{"temperature": -Infinity}',
        b'{"a":' * 100_000,
        b"\xff\xfe\xfd",
        b"model=base&prompt=Hello",
    ],
)
async def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    client = await _refused(COMPLETIONS, body)
    assert (client.status, client.error["type"]) == (400, "invalid_request_error")


async def test_a_body_has_a_limit() -> None:
    part = b" " * (BODY_LIMIT // 2)
    client = await _refused(COMPLETIONS, part, part, b"{}", b"never read")
    assert client.status == 413


async def test_a_body_has_a_time() -> None:
    app = App()
    guarded = Guard(app, limit=LIMIT, served=SERVED, body_seconds=0.0)

    async def silent() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await guarded({"type": "http", "method": "POST", "path": CHAT, "headers": []}, silent, send)
    assert sent[0]["status"] == 408
    assert app.paths == []


@pytest.mark.parametrize(
    "fields",
    [
        {"n": LIMIT + 1},
        {"best_of": LIMIT + 1},
        {"n": 2, "prompt": ["a", "b", "c"]},
        {"prompt": [[1], [2], [3], [4], [5]]},
    ],
)
async def test_more_answers_than_there_ever_is_room_for_are_refused(fields: dict[str, Any]) -> None:
    client = await _refused(COMPLETIONS, _body(**fields))
    assert (client.status, client.error["code"]) == (400, "too_many_sequences")


@pytest.mark.parametrize("n", ["5", 2.5, [1]])
async def test_a_number_of_answers_is_an_integer(n: Any) -> None:
    client = await _refused(COMPLETIONS, _body(n=n))
    assert (client.status, client.error["param"]) == (400, "n")


@pytest.mark.parametrize("fields", [{"n": LIMIT}, {"prompt": ["a"] * LIMIT}, {"n": 2, "prompt": ["a", "b"]}])
async def test_several_answers_count_as_several(fields: dict[str, Any]) -> None:
    app = App()
    guarded = guard(app)
    first = Client(guarded, COMPLETIONS, _body(**fields))
    await _started(first)
    second = Client(guarded, CHAT, _body())
    await second.task
    assert (first.status, second.status) == (200, 429)


async def test_what_is_too_much_is_told_to_come_again_and_a_place_is_given_back() -> None:
    app = App()
    guarded = guard(app)
    held = [Client(guarded, COMPLETIONS, _body()) for _ in range(LIMIT)]
    await _started(*held)
    more = Client(guarded, CHAT, _body())
    await more.task
    assert (more.status, more.error["type"], more.error["code"]) == (
        429,
        "rate_limit_error",
        "rate_limit_exceeded",
    )
    assert int(dict(more.sent[0]["headers"])[b"retry-after"]) > 0
    assert len(app.asked) == LIMIT
    app.may_end.set()
    await asyncio.gather(*(client.task for client in held))
    again = [Client(guarded, CHAT, _body()) for _ in range(LIMIT)]
    await asyncio.gather(*(client.task for client in again))
    assert {client.status for client in again} == {200}


async def test_the_application_sees_a_client_that_goes() -> None:
    app = App()
    guarded = guard(app)
    client = Client(guarded, CHAT, _body(n=LIMIT))
    await _started(client)
    client.leaves.set()
    await client.task
    assert app.gone.is_set()
    other = Client(guarded, CHAT, _body(n=LIMIT))
    await _started(other)
    assert other.status == 200


async def test_a_client_that_goes_before_it_has_asked_leaves_its_place() -> None:
    app = App()
    guarded = guard(app)
    for _ in range(LIMIT + 1):
        client = Client(guarded, CHAT, _body()[:5], b"")
        client._parts[1]["more_body"] = True
        client.leaves.set()
        await client.task
        assert client.sent == []
    last = Client(guarded, CHAT, _body())
    await _started(last)
    assert last.status == 200


async def test_the_servers_start_and_end_pass() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def never() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        raise AssertionError

    await Guard(app, limit=LIMIT, served=SERVED)({"type": "lifespan"}, never, send)
    assert seen == ["lifespan"]


def test_the_guard_needs_nothing_but_the_standard_library(tmp_path: Path) -> None:
    with _mounted(tmp_path) as folder:
        program = f"import sys; sys.path.insert(0, {str(folder)!r}); import kubetune_guard.middleware"
        subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True)


def test_the_config_map_has_the_whole_package() -> None:
    package = Path(kubetune_guard.__path__[0])
    assert set(SOURCES) == {path.relative_to(package).as_posix() for path in package.rglob("*.py")}
    assert len(json.dumps(SOURCES)) < 500_000


@pytest.mark.parametrize(("case", "base"), [("adopted", "SmolLM2-135M-Instruct"), ("full-fine-tune", None)])
def test_the_guard_reads_what_the_operator_sets(case: str, base: str | None) -> None:
    loaded = golden.load(case)
    (deployment,) = loaded.plan.apply
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    env = {variable["name"]: variable["value"] for variable in container["env"]}
    artifact = loaded.observed.artifact
    assert artifact
    served = Served.from_env(env)
    assert (served.model, served.digest) == (loaded.job.metadata.name, artifact.digest)
    assert served.base == (base and next(v for v in container["args"] if v.endswith(base)))
    assert str(served.artifact).endswith(artifact.path)
    assert int(env[middleware.LIMIT_ENV]) > 0
    assert STARTED_PATH in container["startupProbe"]["exec"]["command"][-1]


def test_the_operator_and_the_guard_speak_of_the_same_paths() -> None:
    assert {CANARY_PATH, STARTED_PATH} == OWN


def test_the_operator_the_guard_and_the_evaluator_know_the_keys_by_one_name() -> None:
    container = golden.load("deploying").plan.apply[0]["spec"]["template"]["spec"]["containers"][0]
    (told,) = (variable["value"] for variable in container["env"] if variable["name"] == KEYS_ENV)
    assert told in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert KEYS_ENV == API_KEYS


@contextmanager
def _mounted(folder: Path) -> Iterator[Path]:
    """The ConfigMap's keys as a kubelet writes them: links to a folder beside."""
    package, data = folder / "kubetune_guard", folder / "kubetune_guard" / "..data"
    data.mkdir(parents=True)
    for name, source in SOURCES.items():
        (data / name).write_text(source)
        (package / name).symlink_to(Path("..data") / name)
    yield folder
