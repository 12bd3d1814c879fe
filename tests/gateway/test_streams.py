"""Streams on their way to clients: renamed, counted, and whole however they come."""

from __future__ import annotations

import json
import socket
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetune_gateway.chat.events import Events
from kubetune_gateway.chat.question import question
from kubetune_gateway.chat.relay import Relay
from kubetune_gateway.chat.upstream import Upstream, sessions
from kubetune_gateway.completions.stream import whole
from kubetune_gateway.models.target import Target
from kubetune_gateway.telemetry import Telemetry
from kubetune_gateway.wire.errors import ApiError
from tests.support.model_server import ANSWER, model_server

USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
ASKED = 'ft:größer:"team"\\1'
"""A name that has all that JSON escapes."""

texts = st.text(max_size=8) | st.sampled_from(
    ('"model":"x"', '"choices":[]', '\\"model": "', "data: [DONE]\n\n", "\\", '\\\\"model":"y"', "\u2028\r\n")
)
deltas = st.fixed_dictionaries({"content": texts}) | st.fixed_dictionaries(
    {"tool_calls": st.lists(st.fixed_dictionaries({"arguments": texts}), max_size=2)}
)


@st.composite
def pieces(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Of one stream, in the order of fields that servers have, or with the choices first."""
    served, first = draw(texts.filter(bool)), draw(st.booleans())
    found = []
    for delta in draw(st.lists(deltas, max_size=4)):
        choices = {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        found.append({**choices, "model": served} if first else {"model": served, **choices})
    return [*found, {"model": served, "choices": [], "usage": USAGE}]


def lines(found: list[dict[str, Any]], *, spaced: bool, ascii_: bool, ending: str) -> bytes:
    """A stream as servers write it."""
    separators = (", ", ": ") if spaced else (",", ":")
    told = [json.dumps(piece, ensure_ascii=ascii_, separators=separators) for piece in found]
    return "".join(f"data: {text}{ending * 2}" for text in [*told, "[DONE]"]).encode("utf-8", "surrogatepass")


def read(stream: bytes) -> list[Any]:
    """Data of all events, as a client of events reads them."""
    events = [event.strip() for event in stream.replace(b"\r\n", b"\n").split(b"\n\n")]
    data = [event.removeprefix(b"data:").strip() for event in events if event]
    return [text.decode() if text == b"[DONE]" else json.loads(text) for text in data]


@given(
    found=pieces(),
    spaced=st.booleans(),
    ascii_=st.booleans(),
    ending=st.sampled_from(("\n", "\r\n")),
    tells=st.booleans(),
    cuts=st.lists(st.integers(0, 2000), max_size=12),
)
def test_however_a_stream_is_split_only_the_model_is_another(
    found: list[dict[str, Any]], spaced: bool, ascii_: bool, ending: str, tells: bool, cuts: list[int]
) -> None:
    stream = lines(found, spaced=spaced, ascii_=ascii_, ending=ending)
    events = Events(ASKED, tells_usage=tells, keeps=True)
    bounds = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    split = b"".join(events.feed(stream[a:b]) for a, b in pairwise(bounds))
    assert split == Events(ASKED, tells_usage=tells).feed(stream)
    renamed = [piece | {"model": ASKED} for piece in found]
    assert read(split) == [*(renamed if tells else renamed[:-1]), "[DONE]"]
    assert (events.is_done, events.usage, events.pieces) == (True, USAGE, renamed)


def test_what_is_no_piece_of_an_answer_passes() -> None:
    other = b': ping\n\nevent: x\ndata:{"error":{"message":"no"}}\n\ndata: no json, "choices":[]\n\n'
    events = Events("m", tells_usage=False)
    assert events.feed(other) == other
    assert not events.is_done
    assert events.usage == {}


def test_a_line_is_passed_on_as_soon_as_it_is_whole() -> None:
    events = Events("m", tells_usage=True)
    assert events.feed(b'data: {"mod') == b""
    assert events.feed(b'el":"a"}\n') == b'data: {"model":"m"}\n'
    assert events.feed(b"\nda") == b"\n"


@pytest.mark.parametrize(
    ("asked", "options"),
    [
        ({}, None),
        ({"stream": False}, None),
        ({"stream": True}, {"include_usage": True}),
        ({"stream": True, "stream_options": None}, {"include_usage": True}),
        (
            {"stream": True, "stream_options": {"include_usage": False, "x": 1}},
            {"include_usage": True, "x": 1},
        ),
        ({"stream": True, "stream_options": "wrong"}, "wrong"),
    ],
)
def test_a_stream_is_asked_for_its_usage(asked: dict[str, Any], options: Any) -> None:
    found = json.loads(question(json.dumps({"model": "m", **asked}).encode()).to_server("served"))
    assert found.get("stream_options") == options


@given(
    st.dictionaries(
        st.text(max_size=8),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | texts,
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
            ),
            max_leaves=8,
        ),
        max_size=5,
    )
)
def test_what_a_client_says_comes_to_the_server_untouched(body: dict[str, Any]) -> None:
    body = {name: value for name, value in body.items() if name not in ("store", "metadata", "stream")}
    sent = json.dumps({**body, "model": "m", "store": True, "metadata": {"a": "b"}}).encode()
    assert json.loads(question(sent).to_server("served")) == body | {"model": "served"}


async def relayed(body: dict[str, Any], kept: list[Any], *, breaks_after: int | None = None) -> bytes:
    """What a client gets, and what is kept of it."""

    async def keep(answer: Any) -> None:
        kept.extend(answer)

    telemetry = Telemetry()
    with model_server() as server:
        server.breaks_after = breaks_after
        async with sessions() as session:
            relay = Relay(
                question(json.dumps(body).encode()),
                Target(url=server.url, served_name="served", label="job"),
                path="chat/completions",
                upstream=Upstream(session, telemetry),
                telemetry=telemetry,
                namespace="team-a",
                request_id="req_1",
                keep=keep,
            )
            async with httpx.AsyncClient(transport=httpx.ASGITransport(relay)) as client:
                return (await client.post("http://gateway")).content


async def test_an_answer_that_is_kept_is_what_the_client_has() -> None:
    asked: dict[str, Any] = {"model": "ft:x", "messages": [{"role": "user", "content": "a"}]}
    kept: list[Any] = []
    got = json.loads(await relayed(asked, kept))
    assert kept == [got]
    streamed: list[Any] = []
    await relayed(asked | {"stream": True}, streamed)
    found = whole(streamed)
    assert found is not None
    assert found == got | {"id": found["id"]}  # another question has another id
    assert found["choices"][0]["message"]["content"] == "".join(ANSWER)


async def test_an_answer_that_was_broken_off_is_not_kept() -> None:
    kept: list[Any] = []
    got = await relayed({"model": "ft:x", "stream": True}, kept, breaks_after=2)
    assert b"stream_interrupted" in got
    assert kept == []


async def test_a_server_that_says_nothing_is_asked_whether_it_is_there() -> None:
    with model_server() as server:
        server.waits_after = 1
        async with sessions() as session:
            upstream = Upstream(session, Telemetry())
            asked = question(b'{"model": "m", "stream": true}').to_server("served")
            async with upstream.ask(f"{server.url}/chat/completions", asked, headers={}) as answer:
                assert answer.connection is not None
                assert answer.connection.transport is not None
                link = answer.connection.transport.get_extra_info("socket")
                assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30


def test_a_name_in_the_path_wins() -> None:
    assert question(b'{"model": 3}', model="triage").model == "triage"
    with pytest.raises(ApiError):
        question(b"{}", model="")
