"""Questions to pods, in virtual time; and the HTTP client, against a small server."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from typing_extensions import override

from kubetune.facts.canary import Canary
from kubetune.facts.views import Key, Kind
from kubetune.pods_http.client import BODY_LIMIT, HttpWeb
from kubetune.pods_http.probes import Probes
from kubetune_trainer.contract.messages import Progress
from tests.support import virtual_time

SAME = Canary(verdict="Same", message="Its 8 answers are 0 off.", digest="sha256:1", weights="sha256:2")
KEY = Key(Kind.FINE_TUNE_JOB, "team", "job")


@dataclass(slots=True)
class FakeWeb:
    step: int = 0
    answer_after: int = 0
    said: Canary = SAME
    asked: list[float] = field(default_factory=list)

    async def progress(self, url: str) -> Progress | None:
        self.asked.append(asyncio.get_running_loop().time())
        self.step += 1
        return Progress(step=self.step, total_steps=100, epoch="0.1") if "silent" not in url else None

    async def canary(self, url: str) -> Canary | str:
        assert url == "http://s/kubetune/canary"
        self.asked.append(asyncio.get_running_loop().time())
        return self.said if len(self.asked) > self.answer_after else "HTTP 503"


def test_progress_is_asked_every_ten_seconds_and_told_every_thirty() -> None:
    async def scenario() -> None:
        told: list[tuple[float, int]] = []
        pods = FakeWeb()

        def wake(key: Key) -> None:
            latest = probes.progress(key, "http://pod/progress")
            told.append((asyncio.get_running_loop().time(), latest.step if latest else 0))

        probes = Probes(web=pods, wake=wake)
        assert probes.progress(KEY, "http://pod/progress") is None
        await asyncio.sleep(65)
        assert pods.asked == [0, 10, 20, 30, 40, 50, 60]
        assert told == [(0, 1), (30, 4), (60, 7)]
        latest = probes.progress(KEY, "http://pod/progress")
        assert latest is not None
        assert latest.step == 7
        probes.forget(KEY)
        await asyncio.sleep(100)
        assert len(pods.asked) == 7

    virtual_time.run(scenario())


def test_a_new_attempt_is_asked_instead_of_the_old_one() -> None:
    async def scenario() -> None:
        probes = Probes(web=FakeWeb(), wake=lambda _: None)
        probes.progress(KEY, "http://one/progress")
        await asyncio.sleep(5)
        assert probes.progress(KEY, "http://one/progress") is not None
        assert probes.progress(KEY, "http://silent/progress") is None
        await asyncio.sleep(50)
        assert probes.progress(KEY, "http://silent/progress") is None
        await probes.close()

    virtual_time.run(scenario())


def test_a_service_is_asked_until_it_answers_and_once_for_each_intent() -> None:
    async def scenario() -> None:
        pods = FakeWeb(answer_after=3)
        woken: list[Key] = []
        done: list[str] = []
        probes = Probes(web=pods, wake=woken.append)

        def ask(intent: str) -> None:
            probes.ask(
                KEY, "serving", intent=intent, base_url="http://s/v1", done=lambda _: done.append(intent)
            )

        ask("one")
        await asyncio.sleep(7)
        ask("one")
        await asyncio.sleep(100)
        ask("one")
        await asyncio.sleep(100)
        assert pods.asked == [0, 1, 3, 7]
        assert (done, woken) == (["one"], [KEY])
        ask("two")
        await asyncio.sleep(1)
        assert done == ["one", "two"]
        await probes.close()

    virtual_time.run(scenario())


def test_a_service_that_stays_silent_is_told_and_asked_ever_more_slowly() -> None:
    async def scenario() -> None:
        pods = FakeWeb(answer_after=1000)
        woken: list[Key] = []
        probes = Probes(web=pods, wake=woken.append)
        probes.ask(KEY, "serving", intent="one", base_url="http://s/v1", done=lambda _: None)
        await asyncio.sleep(14)
        assert probes.failure(KEY, "serving") is None
        await asyncio.sleep(600)
        assert probes.failure(KEY, "serving") == "HTTP 503"
        assert woken == [KEY]
        assert len(pods.asked) < 25
        probes.stop_asking(KEY, "serving")
        assert probes.failure(KEY, "serving") is None

    virtual_time.run(scenario())


@pytest.mark.parametrize(
    ("said", "failure"),
    [
        (SAME.model_copy(update={"keyless": True}), "it asks for a key and has none to accept"),
        (SAME.model_copy(update={"verdict": "Mismatch"}), SAME.message),
    ],
)
def test_a_service_that_answers_nobody_or_otherwise_than_measured_has_not_answered(
    said: Canary, failure: str
) -> None:
    async def scenario() -> None:
        pods, done = FakeWeb(said=said), list[Canary]()
        probes = Probes(web=pods, wake=lambda _: None)
        probes.ask(KEY, "serving", intent="one", base_url="http://s/v1", done=done.append)
        await asyncio.sleep(20)
        assert (probes.failure(KEY, "serving"), done) == (failure, [])
        pods.said = SAME
        await asyncio.sleep(20)
        assert done == [SAME]
        await probes.close()

    virtual_time.run(scenario())


def test_a_question_that_fails_in_an_unforeseen_way_is_asked_again() -> None:
    class Broken(FakeWeb):
        def fail(self) -> None:
            self.asked.append(asyncio.get_running_loop().time())
            if len(self.asked) == 1:
                raise RuntimeError("unforeseen")

        @override
        async def progress(self, url: str) -> Progress | None:
            self.fail()
            return Progress(step=1, total_steps=100, epoch="0.1")

        @override
        async def canary(self, url: str) -> Canary | str:
            self.fail()
            return SAME

    async def scenario() -> None:
        done: list[bool] = []
        probes = Probes(web=Broken(), wake=lambda _: None)
        probes.ask(KEY, "serving", intent="1", base_url="http://s/v1", done=lambda _: done.append(True))
        await asyncio.sleep(5)
        assert done == [True]
        following = Probes(web=Broken(), wake=lambda _: None)
        following.progress(KEY, "http://pod/progress")
        await asyncio.sleep(15)
        assert following.progress(KEY, "http://pod/progress") is not None
        await probes.close()
        await following.close()

    virtual_time.run(scenario())


@pytest.mark.slow
async def test_bodies_that_are_too_large_wrong_or_late_are_no_answer() -> None:
    bodies: dict[str, Any] = {
        "good": '{"step": 1, "total_steps": 2, "epoch": "0.5", "new_field": 1}',
        "large": '{"step": 1, "total_steps": 2, "epoch": "0.5", "x": "' + "a" * BODY_LIMIT + '"}',
        "coloured": r'{"step": 1, "total_steps": 2, "epoch": "0.5", "warnings": ["It is \u001b[31mred.\n"]}',
        "wrong": "[]",
        "absurd": '{"step": -1, "total_steps": 2, "epoch": "0.5", "remaining_seconds": 1000000000000}',
    }

    async def handle(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name == "late":
            await asyncio.sleep(3)
        return web.Response(text=bodies.get(name), status=200 if name in bodies else 500)

    app = web.Application()
    app.router.add_get("/{name}", handle)
    app.router.add_get("/{answer}/canary", handle_canary)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    client = HttpWeb()
    try:
        assert await client.progress(f"{base}/good") == Progress(step=1, total_steps=2, epoch="0.5")
        shown = await client.progress(f"{base}/coloured")
        assert shown == Progress(step=1, total_steps=2, epoch="0.5", warnings=("It is red.",))
        for name in ("large", "wrong", "absurd", "late", "error"):
            assert await client.progress(f"{base}/{name}") is None
        assert await client.progress("http://nowhere.invalid/progress") is None
        assert await client.canary(f"{base}/good/canary") == SAME
        assert await client.canary(f"{base}/keyless/canary") == SAME.model_copy(update={"keyless": True})
        assert await client.canary(f"{base}/other") == "HTTP 500"
        assert await client.canary(f"{base}/late") == "no answer within 2 s"
        assert await client.canary("http://127.0.0.1:1/v1") == "Connection refused"
        assert await client.canary(f"{base}/moved/canary") == "HTTP 307"
        for other in OTHERS:
            assert await client.canary(f"{base}/{other}/canary") == f"it does not tell /{other}/canary"
    finally:
        await client.close()
        await runner.cleanup()


@pytest.mark.slow
async def test_a_connection_that_nobody_takes_is_given_up_soon() -> None:
    client = HttpWeb()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as stack:
        for _ in range(2):  # its queue is full, and the kernel drops whatever else comes
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        port = server.getsockname()[1]
        assert await client.canary(f"http://127.0.0.1:{port}/canary") == "no connection within 1 s"
    await client.close()


OTHERS = {
    "none": "{}",
    "verdict": SAME.model_copy(update={"verdict": "Yes"}).model_dump_json(),
    "list": "[]",
    "text": "<html>Welcome</html>",
    "nothing": "",
    "binary": "\xff",
    "deep": "[" * 20_000,
}


async def handle_canary(request: web.Request) -> web.Response:
    name = request.match_info["answer"]
    if name == "moved":
        raise web.HTTPTemporaryRedirect("/good/canary")
    said = {**SAME.model_dump(), "keyless": name == "keyless", "version": 1}
    return web.Response(body=OTHERS.get(name, json.dumps(said)).encode("latin-1"))
