"""Limits of one replica: rates, requests at a time, bytes at a time, seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from kubetune_gateway.limits.kinds import Kind, Limits, kind_of
from kubetune_gateway.limits.middleware import Limited
from kubetune_gateway.limits.rates import Rates
from kubetune_gateway.telemetry import Telemetry
from tests.support import openai_gateway, s3_server


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("POST", "/v1/files", Kind.FILE),
        ("GET", "/v1/files", Kind.JSON),
        ("POST", "/openai/files", Kind.FILE),
        ("POST", "/v1/uploads", Kind.JSON),
        ("POST", "/v1/uploads/upload_a/parts", Kind.PART),
        ("POST", "/v1/uploads/upload_a/complete", Kind.ASSEMBLE),
        ("POST", "/v1/uploads/upload_a/cancel", Kind.JSON),
        ("POST", "/v1/chat/completions", Kind.CHAT),
        ("POST", "/openai/deployments/a/chat/completions", Kind.CHAT),
        ("POST", "/v1/completions", Kind.CHAT),
        ("GET", "/v1/chat/completions", Kind.JSON),
        ("POST", "/v1/chat/completions/chatcmpl-1", Kind.JSON),
        ("POST", "/v1/fine_tuning/jobs", Kind.JSON),
    ],
)
def test_openais_and_azures_paths_are_of_one_kind(method: str, path: str, kind: Kind) -> None:
    assert kind_of(method, path) is kind


def test_a_caller_has_a_burst_and_then_a_rate() -> None:
    rates = Rates(60, 3)
    left = [rates.take("a", now) for now in (0, 0, 0, 0, 0.5, 1)]
    assert [(one.remaining, one.wait) for one in left] == [(2, 0), (1, 0), (0, 0), (0, 1), (0, 0.5), (0, 0)]
    assert rates.take("b", 1).wait == 0
    assert rates.take("a", 1000).headers() == [
        (b"x-ratelimit-limit-requests", b"60"),
        (b"x-ratelimit-remaining-requests", b"2"),
        (b"x-ratelimit-reset-requests", b"1.000s"),
    ]


def test_callers_who_asked_longest_ago_are_forgotten() -> None:
    rates = Rates(60, 1, remembered=2)
    for key in ("a", "b", "a", "c"):
        rates.take(key, 0)
    assert rates.take("a", 0).wait == 1
    assert rates.take("b", 0).wait == 0


@given(st.lists(st.floats(0, 10), max_size=60), st.integers(1, 600), st.integers(1, 20))
def test_nobody_gets_more_than_burst_and_rate(steps: list[float], per_minute: int, burst: int) -> None:
    rates, now, taken = Rates(per_minute, burst), 0.0, 0
    for step in steps:
        now += step
        left = rates.take("a", now)
        taken += not left.wait
        assert 0 <= left.remaining <= burst
    assert taken <= burst + now * per_minute / 60 + 1e-6


class Asked:
    """A request to an application in limits, without a port."""

    def __init__(self, *pieces: bytes, path: str = "/v1/x", ends: bool = True) -> None:
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for piece in pieces:
            self.messages.put_nowait({"type": "http.request", "body": piece, "more_body": True})
        if ends:
            self.end()
        self.sent: list[Any] = []
        self.scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "headers": [(b"transfer-encoding", b"chunked")],
        }

    def end(self) -> None:
        self.messages.put_nowait({"type": "http.request", "body": b"", "more_body": False})

    def gives_up(self) -> None:
        self.messages.put_nowait({"type": "http.disconnect"})

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def to(self, app: Limited) -> int:
        await app(self.scope, self.messages.get, self.send)
        status: int = self.sent[0]["status"]
        assert self.sent[-1].get("more_body", False) is False
        return status


async def reads(scope: Any, receive: Any, send: Any) -> None:
    """Reads all of the body, and answers 200."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def counted(telemetry: Telemetry) -> dict[str, float]:
    [family] = telemetry.refused.collect()
    return {one.labels["limit"]: one.value for one in family.samples if one.name.endswith("_total")}


async def test_requests_at_a_time_are_bounded() -> None:
    telemetry = Telemetry()
    app = Limited(reads, limits=Limits(under_way=1), telemetry=telemetry)
    first = Asked(ends=False)
    going = asyncio.create_task(first.to(app))
    await asyncio.sleep(0)
    second = Asked()
    assert await second.to(app) == 503
    assert (b"retry-after", b"5") in second.sent[0]["headers"]
    first.end()
    assert await going == 200
    assert await Asked().to(app) == 200
    assert counted(telemetry) == {"under_way": 1}
    assert generate_latest(telemetry.registry)


async def test_bytes_of_all_bodies_together_are_bounded_and_given_back() -> None:
    telemetry = Telemetry()
    app = Limited(reads, limits=Limits(held_bytes=10), telemetry=telemetry)
    first = Asked(b"123456", ends=False)
    going = asyncio.create_task(first.to(app))
    await asyncio.sleep(0)
    assert await Asked(b"12345").to(app) == 503
    first.end()
    assert await going == 200
    assert await Asked(b"1234567890").to(app) == 200
    assert counted(telemetry) == {"held_bytes": 1}


async def test_uploads_wait_for_their_turn_unread() -> None:
    app = Limited(reads, limits=Limits(uploads=1), telemetry=Telemetry())
    first, second = (Asked(b"x", path="/v1/files", ends=False) for _ in range(2))
    one, two = asyncio.create_task(first.to(app)), asyncio.create_task(second.to(app))
    await asyncio.sleep(0)
    second.end()
    await asyncio.sleep(0)
    assert first.messages.empty()
    assert second.messages.qsize() == 2
    assert await Asked(b"{}").to(app) == 200
    first.end()
    assert await asyncio.gather(one, two) == [200, 200]


async def test_an_upload_whose_turn_does_not_come_is_worth_another_try() -> None:
    telemetry = Telemetry()

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await done.wait()
        await reads(scope, receive, send)

    done = asyncio.Event()
    app = Limited(waits, limits=Limits(uploads=1, pause_seconds=0.05), telemetry=telemetry)
    first, second = (Asked(b"x", path="/v1/files") for _ in range(2))
    going = asyncio.create_task(first.to(app))
    await asyncio.sleep(0)
    assert await second.to(app) == 503
    done.set()
    assert await going == 200
    assert counted(telemetry) == {"uploads": 1}


@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1/x", 503), ("/v1/files", 503), ("/v1/uploads/a/complete", 200), ("/v1/chat/completions", 200)],
)
async def test_an_answer_that_does_not_come_is_worth_another_try_but_of_a_model(
    path: str, status: int
) -> None:
    telemetry = Telemetry()

    async def thinks(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.sleep(0.2)
        await reads(scope, receive, send)

    async def none() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    app = Limited(thinks, limits=Limits(answer_seconds=0.05), telemetry=telemetry)
    asked = Asked(path=path)
    await app(asked.scope, none, asked.send)
    assert asked.sent[0]["status"] == status
    assert counted(telemetry) == ({"answer_seconds": 1} if status == 503 else {})


async def test_a_stream_may_take_longer_than_an_answer_may_take_to_begin() -> None:
    async def streams(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0.2)
        await send({"type": "http.response.body", "body": b"ok"})

    app = Limited(streams, limits=Limits(answer_seconds=0.05), telemetry=Telemetry())
    assert await Asked().to(app) == 200


async def test_what_is_still_sent_is_read_before_the_connection_ends() -> None:
    async def refuses(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 403, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    app = Limited(refuses, limits=Limits(), telemetry=Telemetry())
    asked = Asked(b"x", b"y", ends=False)
    asked.gives_up()
    assert await asked.to(app) == 403
    assert asked.messages.empty()
    assert (b"connection", b"close") in asked.sent[0]["headers"]
    assert [message.get("more_body") for message in asked.sent[1:]] == [True, None]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with (
        s3_server.running(tmp_path_factory.mktemp("s3"), "clients") as s3,
        openai_gateway.running(s3, limits=Limits(requests_per_minute=60, burst=2)) as found,
    ):
        yield found.url


@s3_server.needed
def test_a_client_is_told_what_is_left_and_when_to_come_again(url: str) -> None:
    with openai.OpenAI(base_url=url, api_key="token-of-team-a", max_retries=0) as client:
        told = client.files.with_raw_response.list()
        assert told.headers["x-ratelimit-limit-requests"] == "60"
        assert told.headers["x-ratelimit-remaining-requests"] == "1"
        with pytest.raises(openai.RateLimitError) as refused:
            [client.files.list() for _ in range(1000)]
        assert refused.value.code == "rate_limit_exceeded"
        assert refused.value.response.headers["retry-after"] == "1"


@pytest.mark.slow
@s3_server.needed
def test_others_are_not_held_up_and_the_client_tries_again_by_itself(url: str) -> None:
    with openai.OpenAI(base_url=url, api_key="token-of-team-b", max_retries=8) as client:
        assert [client.files.list().data for _ in range(4)] == [[]] * 4


@s3_server.needed
def test_who_has_no_token_is_counted_by_address(url: str) -> None:
    with httpx.Client(trust_env=False) as client:
        found = [client.get(f"{url}/files").status_code for _ in range(100)]
    assert found[0] in (401, 429)
    assert 429 in found
