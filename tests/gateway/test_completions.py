"""Stored completions: what is kept, found, and becomes a row. The store is a real S3 endpoint's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from kubetune_gateway.completions.record import Stored
from kubetune_gateway.completions.store import Completions
from kubetune_gateway.completions.stream import whole
from kubetune_gateway.store.bucket import Bucket, s3_client
from kubetune_gateway.store.places import Places
from kubetune_gateway.wire.errors import ApiError
from tests.support import s3_server
from tests.support.s3_server import KEY, REGION, SECRET, S3Server

ASKED = [{"role": "system", "content": "Sort."}, {"role": "user", "content": "My card is lost."}]


def stored(id_: str = "chatcmpl-1", *, created: int = 1, finish: str = "stop", **more: Any) -> Stored:
    message = {"role": "assistant", "content": "lost_card"}
    response = {
        "id": id_,
        "object": "chat.completion",
        "created": created,
        "model": "big",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
    }
    return Stored(request={"model": "big", "messages": ASKED}, response=response, created=created, **more)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server.running(tmp_path_factory.mktemp("s3"), "clients") as found:
        yield found


def with_completions(server: S3Server, use: Callable[[Completions], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with s3_client(endpoint=server.url, region=REGION, key=KEY, secret=SECRET) as client:
            return await use(Completions(Bucket(client, "clients"), Places("clients")))

    return asyncio.run(main())


async def ids(completions: Completions, namespace: str, **chosen: Any) -> list[str]:
    return [found.id async for found in completions.chosen(namespace, **chosen)]


@s3_server.needed
def test_they_are_found_by_time_model_and_metadata(server: S3Server) -> None:
    async def use(completions: Completions) -> None:
        for number, team in ((3, "b"), (1, "a"), (2, "a")):
            one = stored(f"chatcmpl-{number}", created=number, metadata={"team": team})
            assert await completions.add("found", one)
        assert await ids(completions, "found") == ["chatcmpl-1", "chatcmpl-2", "chatcmpl-3"]
        assert await ids(completions, "found", newest_first=True, after="chatcmpl-3") == [
            "chatcmpl-2",
            "chatcmpl-1",
        ]
        assert await ids(completions, "found", metadata={"team": "a"}) == ["chatcmpl-1", "chatcmpl-2"]
        assert await ids(completions, "found", model="small") == []
        assert await ids(completions, "others") == []

    with_completions(server, use)


@s3_server.needed
def test_one_is_changed_and_deleted(server: S3Server) -> None:
    async def use(completions: Completions) -> None:
        await completions.add("one", stored())
        changed = await completions.change("one", "chatcmpl-1", {"kept": "yes"})
        assert changed == await completions.get("one", "chatcmpl-1")
        assert changed.told().model_dump()["metadata"] == {"kept": "yes"}
        await completions.delete("one", "chatcmpl-1")
        assert await ids(completions, "one") == []
        with pytest.raises(ApiError) as refused:
            await completions.get("one", "chatcmpl-1")
        assert refused.value.status == 404

    with_completions(server, use)


@s3_server.needed
def test_what_is_there_is_not_overwritten_and_no_id_leaves_its_folder(server: S3Server) -> None:
    async def use(completions: Completions) -> None:
        assert await completions.add("kept", stored(metadata={"first": "yes"}))
        assert not await completions.add("kept", stored())
        assert not await completions.add("kept", stored("../../else/completions/x"))
        assert (await completions.get("kept", "chatcmpl-1")).metadata == {"first": "yes"}
        with pytest.raises(ApiError):
            await completions.get("kept", "../kept/completions/chatcmpl-1")

    with_completions(server, use)


def test_a_row_is_what_was_asked_and_the_answer() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    asked = {"messages": ASKED, "tools": tools, "temperature": 0}
    answered = [*ASKED, {"role": "assistant", "content": "lost_card"}]
    assert stored().model_copy(update={"request": asked}).row() == {"messages": answered, "tools": tools}


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_an_answer_that_was_cut_off_is_no_row(finish: str) -> None:
    assert stored(finish=finish).row() is None


def test_an_empty_answer_is_no_row() -> None:
    empty = stored()
    empty.response["choices"][0]["message"]["content"] = ""
    assert empty.row() is None


def chunk(*, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "big",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def test_pieces_of_a_stream_are_put_together() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    pieces = [
        chunk(role="assistant", content=""),
        chunk(content="lost"),
        chunk(content="_card"),
        chunk(finish="stop"),
        {**chunk(), "choices": [], "usage": usage},
    ]
    found = whole(pieces)
    assert found == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 7,
        "model": "big",
        "usage": usage,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "lost_card"},
                "finish_reason": "stop",
            }
        ],
    }


def test_arguments_of_calls_are_put_together_call_by_call() -> None:
    def call(index: int, **function: str) -> dict[str, Any]:
        return {"index": index, "function": function} | (
            {"id": f"call-{index}"} if "name" in function else {}
        )

    found = whole(
        [
            chunk(tool_calls=[call(0, name="f", arguments="")]),
            chunk(tool_calls=[call(0, arguments='{"a"')]),
            chunk(tool_calls=[call(0, arguments=": 1}"), call(1, name="g", arguments="{}")]),
            chunk(finish="tool_calls"),
        ]
    )
    assert found is not None
    [choice] = found["choices"]
    assert [(one["id"], one["function"]) for one in choice["message"]["tool_calls"]] == [
        ("call-0", {"name": "f", "arguments": '{"a": 1}'}),
        ("call-1", {"name": "g", "arguments": "{}"}),
    ]


def test_nothing_is_no_completion() -> None:
    assert whole([]) is None
    assert whole([{"error": {"message": "gone"}}]) is None
