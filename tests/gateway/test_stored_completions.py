"""Clients ask to store completions, look at them, and train on them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types import FileObject

from kubetune_gateway.platform import Base
from tests.support import openai_gateway, s3_server
from tests.support.model_server import ANSWER, ModelServer, model_server
from tests.support.openai_gateway import Gateway

pytestmark = s3_server.needed

WHOLE = "".join(ANSWER)
ASKED: Any = [{"role": "system", "content": "Sort."}, {"role": "user", "content": "My card is lost."}]


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with model_server() as found:
        yield found


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, server: ModelServer) -> Iterator[Gateway]:
    large = {"large": Base(uri="hf://acme/large", url=server.url, served_name="large-v2")}
    with (
        s3_server.running(tmp_path_factory.mktemp("s3"), "clients") as s3,
        openai_gateway.running(s3, large) as found,
    ):
        yield found


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.url, api_key="token-of-team-a", max_retries=0) as made:
        yield made
        for stored in made.chat.completions.list(limit=100):
            made.chat.completions.delete(stored.id)


def ask(client: openai.OpenAI, **more: Any) -> Any:
    return client.chat.completions.create(**{"model": "large", "messages": ASKED, "store": True} | more)


def test_what_is_stored_is_told_as_it_was_answered(client: openai.OpenAI, server: ModelServer) -> None:
    answered = ask(client, metadata={"task": "sort"}, temperature=0)
    assert "store" not in server.asked[-1]
    assert "metadata" not in server.asked[-1]
    found = client.chat.completions.retrieve(answered.id)
    assert (found.id, found.model, found.metadata) == (answered.id, "large", {"task": "sort"})
    assert found.choices == answered.choices
    assert found.usage == answered.usage
    asked = client.chat.completions.messages.list(answered.id)
    assert [(message.role, message.content) for message in asked] == [
        ("system", "Sort."),
        ("user", "My card is lost."),
    ]


def test_a_stream_is_stored_once_it_has_come_to_its_end(client: openai.OpenAI) -> None:
    pieces = [*ask(client, stream=True)]
    [found] = client.chat.completions.list()
    assert found.id == pieces[0].id
    assert (found.choices[0].message.content, found.choices[0].finish_reason) == (WHOLE, "stop")


def test_they_are_chosen_paged_changed_and_deleted(client: openai.OpenAI) -> None:
    ids = [ask(client, metadata={"number": str(number)}).id for number in range(3)]
    ask(client, store=False)
    assert sorted(found.id for found in client.chat.completions.list(limit=1)) == sorted(ids)
    assert [found.id for found in client.chat.completions.list(metadata={"number": "1"})] == [ids[1]]
    assert list(client.chat.completions.list(model="other")) == []
    changed = client.chat.completions.update(ids[0], metadata={"kept": "yes"})
    assert changed.metadata == {"kept": "yes"}
    assert client.chat.completions.delete(ids[1]).deleted
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.retrieve(ids[1])
    with openai.OpenAI(base_url=client.base_url, api_key="token-of-team-b", max_retries=0) as other:
        assert list(other.chat.completions.list()) == []
        with pytest.raises(openai.NotFoundError):
            other.chat.completions.retrieve(ids[0])


def test_a_smaller_model_learns_from_them(client: openai.OpenAI, gateway: Gateway) -> None:
    for _ in range(2):
        ask(client, metadata={"task": "sort"})
    ask(client, metadata={"task": "other"})
    file = client.post("/chat/datasets", body={"metadata": {"task": "sort"}}, cast_to=FileObject)
    assert (file.purpose, file.filename) == ("fine-tune", "completions.jsonl")
    rows = [json.loads(line) for line in client.files.content(file.id).text.splitlines()]
    assert rows == [{"messages": [*ASKED, {"role": "assistant", "content": WHOLE}]}] * 2
    job = client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=file.id)
    assert job.training_file == file.id


def test_nothing_like_it_makes_no_file(client: openai.OpenAI) -> None:
    before = [file.id for file in client.files.list()]
    with pytest.raises(openai.NotFoundError) as refused:
        client.post("/chat/datasets", body={"model": "nobody"}, cast_to=FileObject)
    assert refused.value.code == "no_completions"
    assert [file.id for file in client.files.list()] == before


def test_metadata_that_cannot_be_kept_is_refused_before_anybody_is_asked(
    client: openai.OpenAI, server: ModelServer
) -> None:
    before = len(server.asked)
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, metadata={"a": "b" * 513})
    assert refused.value.param == "metadata"
    assert len(server.asked) == before


def test_who_may_ask_may_not_yet_read_what_others_stored(client: openai.OpenAI, gateway: Gateway) -> None:
    stored = ask(client)
    gateway.rights.denied.add(("team-a", "get", "finetunejobs/completions"))
    try:
        with pytest.raises(openai.PermissionDeniedError):
            client.chat.completions.retrieve(stored.id)
    finally:
        gateway.rights.denied.clear()
