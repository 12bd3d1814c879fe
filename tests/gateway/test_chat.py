"""Clients of OpenAI's and of Azure's, unmodified, ask models by way of the gateway."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest
from aiohttp import web

from dev.cluster.ports import free_ports
from kubetune_gateway.jobs.record import name_of
from kubetune_gateway.platform import Base
from tests.support import openai_gateway, s3_server
from tests.support.golden_jobs import golden
from tests.support.model_server import ANSWER, ModelServer, model_server
from tests.support.openai_gateway import Gateway

pytestmark = s3_server.needed

WHOLE = "".join(ANSWER)
ASKED: Any = [{"role": "user", "content": "Wie groß?"}]
TOOL: Any = {"type": "function", "function": {"name": "size", "parameters": {"type": "object"}}}
DEADLINE_SECONDS = 30
SILENT = f"http://127.0.0.1:{free_ports(1)[0]}/v1"


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with model_server() as found:
        yield found


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, server: ModelServer) -> Iterator[Gateway]:
    bases = {
        "smol": Base(uri="hf://HuggingFaceTB/SmolLM2-135M-Instruct"),
        "acme/large": Base(uri="hf://acme/large", url=server.url, served_name="large-v2"),
    }
    with (
        s3_server.running(tmp_path_factory.mktemp("s3"), "clients") as s3,
        openai_gateway.running(s3, bases) as found,
    ):
        yield found


@pytest.fixture(autouse=True)
def ready(server: ModelServer) -> None:
    """The server as it was at first."""
    server.refuses = server.waits_after = server.breaks_after = None
    server.left.clear()
    server.asked.clear()
    server.headers.clear()
    server.peers.clear()


Serve = Callable[..., dict[str, Any]]


@pytest.fixture
def serve(gateway: Gateway, server: ModelServer) -> Iterator[Serve]:
    """Puts a job that is served into the namespace while a test runs."""
    before = list(gateway.jobs.objects)

    def put(name: str = "intents-1", *, url: str = server.url, case: str = "serving") -> dict[str, Any]:
        raw = golden(case)
        raw["metadata"] |= {"name": name, "uid": str(uuid.uuid4())}
        if "serving" in raw["status"]:
            raw["status"]["serving"] |= {"url": url, "modelName": name}
        gateway.jobs.objects.append(raw)
        return raw

    yield put
    gateway.jobs.objects[:] = before


@pytest.fixture(scope="module")
def deployments(gateway: Gateway) -> Iterator[httpx.Client]:
    """A client of Azure's data plane: no package has these paths."""
    with httpx.Client(
        base_url=gateway.url.replace("/v1", "/openai/deployments"),
        headers={"api-key": "token-of-team-a"},
        params={"api-version": "2022-12-01"},
        trust_env=False,
    ) as made:
        yield made


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    made = openai.OpenAI(base_url=gateway.url, api_key="token-of-team-a", max_retries=0)
    with made:
        yield made


def azure(gateway: Gateway, **more: Any) -> openai.AzureOpenAI:
    endpoint = gateway.url.removesuffix("/v1")
    return openai.AzureOpenAI(
        azure_endpoint=endpoint,
        api_key="token-of-team-a",
        api_version="2024-10-21",
        max_retries=0,
        **more,
    )


def test_an_answer_has_the_name_that_was_asked_for(
    client: openai.OpenAI, server: ModelServer, serve: Serve
) -> None:
    model = name_of(serve())
    found = client.chat.completions.create(
        model=model, messages=ASKED, store=True, metadata={"a": "b"}, user="me", temperature=0.1, n=2
    )
    assert (found.model, [choice.message.content for choice in found.choices]) == (model, [WHOLE, WHOLE])
    assert found._request_id is not None
    assert found._request_id.startswith("req_")
    [asked] = server.asked
    assert asked == {"model": "intents-1", "messages": ASKED, "user": "me", "temperature": 0.1, "n": 2}
    [headers] = server.headers
    assert not [name for name in ("authorization", "api-key", "cookie") if name in headers]
    assert headers["X-Request-Id"] == found._request_id


@pytest.mark.parametrize("told", [True, False])
def test_a_stream_comes_with_the_name_that_was_asked_for(
    client: openai.OpenAI, gateway: Gateway, serve: Serve, told: bool
) -> None:
    name = f"job-{uuid.uuid4().hex[:8]}"
    model = name_of(serve(name))
    options: Any = {"stream_options": {"include_usage": True}} if told else {}
    with client.chat.completions.create(model=model, messages=ASKED, stream=True, **options) as stream:
        found = list(stream)
    assert {piece.model for piece in found} == {model}
    assert "".join(piece.choices[0].delta.content or "" for piece in found if piece.choices) == WHOLE
    usages = [piece.usage.total_tokens for piece in found if piece.usage]
    assert usages == ([10] if told else [])
    assert counted(gateway, "kubetune_gateway_tokens_total", model=name, kind="prompt") == 7
    assert counted(gateway, "kubetune_gateway_tokens_total", model=name, kind="completion") == 3
    assert counted(gateway, "kubetune_gateway_time_to_first_token_seconds_count", model=name) == 1


async def test_an_async_client_streams(gateway: Gateway, serve: Serve) -> None:
    model = name_of(serve())
    async with openai.AsyncOpenAI(base_url=gateway.url, api_key="token-of-team-a") as client:
        stream = await client.chat.completions.create(model=model, messages=ASKED, stream=True)
        found = [piece.choices[0].delta.content or "" async for piece in stream]
    assert "".join(found) == WHOLE


def test_tools_pass_both_ways(client: openai.OpenAI, server: ModelServer, serve: Serve) -> None:
    model = name_of(serve())
    whole = client.chat.completions.create(model=model, messages=ASKED, tools=[TOOL], tool_choice="auto")
    [call] = whole.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == ("size", '{"model":"small"}')
    stream = client.chat.completions.create(model=model, messages=ASKED, tools=[TOOL], stream=True)
    calls = [call for piece in stream for call in piece.choices[0].delta.tool_calls or []]
    assert [call.function.arguments for call in calls if call.function] == ['{"model":"small"}']
    assert server.asked[0]["tools"] == [TOOL]
    assert server.asked[0]["tool_choice"] == "auto"


def test_a_text_is_gone_on_with(client: openai.OpenAI, serve: Serve) -> None:
    model = name_of(serve())
    found = client.completions.create(model=model, prompt="Say", max_tokens=3)
    assert (found.model, found.choices[0].text) == (model, WHOLE)


def test_the_jobs_own_name_a_checkpoint_and_base_models_are_models_too(
    client: openai.OpenAI, server: ModelServer, serve: Serve
) -> None:
    raw = serve()
    raw["status"]["artifact"]["checkpoints"] = [{"step": 50, "modelName": "intents-1:ckpt-step-50"}]
    names = ("intents-1", f"{name_of(raw)}:ckpt-step-50", "smol", "acme/large")
    for name in names:
        assert client.chat.completions.create(model=name, messages=ASKED).model == name
    assert [asked["model"] for asked in server.asked] == [
        "intents-1",
        "intents-1:ckpt-step-50",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "large-v2",
    ]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (408, openai.APIStatusError),
        (413, openai.APIStatusError),
        (429, openai.RateLimitError),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_servers_refusal_is_passed_on(
    client: openai.OpenAI, server: ModelServer, serve: Serve, status: int, kind: Any, stream: bool
) -> None:
    model = name_of(serve())
    error = {"message": "Not now.", "type": "rate_limit_error", "param": "n", "code": "busy"}
    server.refuses = web.json_response({"error": error}, status=status, headers={"Retry-After": "2"})
    with pytest.raises(kind) as refused:
        client.chat.completions.create(model=model, messages=ASKED, stream=stream)
    assert refused.value.response.status_code == status
    assert refused.value.response.headers["retry-after"] == "2"
    assert refused.value.body == error


@pytest.mark.parametrize(
    ("status", "text", "answered", "code"),
    [
        (401, '{"error": {"message": "no key"}}', 400, "refused_by_server"),
        (409, '{"error": {"message": "later"}}', 400, "refused_by_server"),
        (404, "no such page", 404, "refused_by_server"),
        (302, "", 400, "refused_by_server"),
        (502, "<html>", 503, "unavailable"),
        (500, "Internal Server Error", 503, "unavailable"),
    ],
)
def test_what_a_client_cannot_make_sense_of_is_said_in_the_gateways_words(
    client: openai.OpenAI,
    server: ModelServer,
    serve: Serve,
    status: int,
    text: str,
    answered: int,
    code: str,
) -> None:
    model = name_of(serve())
    server.refuses = web.Response(text=text, status=status)
    with pytest.raises(openai.APIStatusError) as refused:
        client.chat.completions.create(model=model, messages=ASKED)
    assert (refused.value.status_code, refused.value.code) == (answered, code)
    assert ("retry-after" in refused.value.response.headers) == (answered == 503)


def test_a_server_that_is_gone_is_tried_again_by_clients(client: openai.OpenAI, serve: Serve) -> None:
    model = name_of(serve(url=SILENT))
    with pytest.raises(openai.InternalServerError) as refused:
        client.chat.completions.create(model=model, messages=ASKED, stream=True)
    assert (refused.value.status_code, refused.value.code) == (503, "unavailable")
    assert refused.value.response.headers["retry-after"] == "5"


def test_a_stream_that_breaks_before_its_first_piece_is_tried_again_by_clients(
    client: openai.OpenAI, server: ModelServer, serve: Serve
) -> None:
    model = name_of(serve())
    server.breaks_after = 0
    with pytest.raises(openai.InternalServerError) as refused:
        client.chat.completions.create(model=model, messages=ASKED, stream=True)
    assert refused.value.status_code == 503


def test_a_stream_that_breaks_in_the_middle_is_an_error_of_the_client(
    client: openai.OpenAI, server: ModelServer, serve: Serve
) -> None:
    model = name_of(serve())
    server.breaks_after = 2
    stream = client.chat.completions.create(model=model, messages=ASKED, stream=True)
    said: list[str | None] = []
    with pytest.raises(openai.APIError) as broken:
        said.extend(piece.choices[0].delta.content for piece in stream)
    assert said == ["", ANSWER[0]]
    assert broken.value.code == "stream_interrupted"


@pytest.mark.slow
@pytest.mark.parametrize(("stream", "after"), [(False, 0), (True, 0), (True, 2)])
def test_a_client_that_goes_away_ends_its_question(
    gateway: Gateway, server: ModelServer, serve: Serve, stream: bool, after: int
) -> None:
    model = name_of(serve())
    server.waits_after = after
    asked: Any = {"model": model, "messages": ASKED, "stream": stream}
    with (
        openai.OpenAI(base_url=gateway.url, api_key="token-of-team-a", max_retries=0, timeout=1) as impatient,
        pytest.raises(openai.APITimeoutError),
    ):
        list(impatient.chat.completions.create(**asked))
    assert server.left.wait(DEADLINE_SECONDS)


def test_a_connection_serves_one_question_after_the_other(
    client: openai.OpenAI, server: ModelServer, serve: Serve
) -> None:
    model = name_of(serve())
    for _ in range(3):
        list(client.chat.completions.create(model=model, messages=ASKED, stream=True))
        client.chat.completions.create(model=model, messages=ASKED)
    assert len(server.peers) < 6


BODIES = [
    (b"\xff{}", 400, "invalid_body", "UTF-8"),
    (b"{", 400, "invalid_body", "JSON"),
    (b"[]", 400, "invalid_body", "object"),
    (b'{"model": 3}', 400, "invalid_value", "model"),
    (b'{"messages": []}', 400, "invalid_value", "model"),
    (b'{"model": "intents-1", "top_p": NaN}', 400, "invalid_body", "NaN"),
    (b'{"model": "intents-1", "top_p": 1e999}', 400, "invalid_body", "number"),
    (b'{"a":' * 100_000, 400, "invalid_body", "nested"),
    (b" " * (8 * 2**20 + 1), 413, "request_too_large", "8388608"),
]


@pytest.mark.parametrize(("body", "status", "code", "said"), BODIES)
def test_a_body_that_nobody_can_read_is_refused(
    gateway: Gateway, server: ModelServer, serve: Serve, body: bytes, status: int, code: str, said: str
) -> None:
    serve()
    found = httpx.post(
        f"{gateway.url}/chat/completions",
        content=body,
        headers={"Authorization": "Bearer token-of-team-a"},
        trust_env=False,
    )
    error = found.json()["error"]
    assert (found.status_code, error["code"]) == (status, code)
    assert said in error["message"]
    assert not server.asked


def test_who_may_not_ask_is_told_so(client: openai.OpenAI, gateway: Gateway, serve: Serve) -> None:
    model = name_of(serve())
    denied: Any = ("team-a", "create", "finetunejobs/completions")
    gateway.rights.denied.add(denied)
    with pytest.raises(openai.PermissionDeniedError):
        client.chat.completions.create(model=model, messages=ASKED)
    gateway.rights.denied.remove(denied)


def test_nobody_asks_anothers_model(gateway: Gateway, serve: Serve) -> None:
    model = name_of(serve())
    with openai.OpenAI(base_url=gateway.url, api_key="token-of-team-b") as other:
        for name in (model, "intents-1", "smol"):
            with pytest.raises(openai.NotFoundError):
                other.chat.completions.create(model=name, messages=ASKED)


def test_a_server_that_loads_is_waited_for_by_clients(client: openai.OpenAI, serve: Serve) -> None:
    raw = serve(case="deploying")
    model = name_of(raw)
    with pytest.raises(openai.BadRequestError) as keyed:
        client.chat.completions.create(model=model, messages=ASKED)
    assert keyed.value.code == "server_has_keys"
    del raw["spec"]["serving"]["apiKey"]
    with pytest.raises(openai.InternalServerError) as refused:
        client.chat.completions.create(model=model, messages=ASKED)
    assert (refused.value.status_code, refused.value.code) == (503, "model_loading")
    assert refused.value.response.headers["retry-after"] == "10"


def test_responses_are_an_unknown_path(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.responses.create(model="m", input="x")
    assert refused.value.code == "unknown_url"


def test_models_are_listed_retrieved_and_deleted(
    client: openai.OpenAI, gateway: Gateway, serve: Serve
) -> None:
    raw = serve("to-go")
    model = name_of(raw)
    assert model in [found.id for found in client.models.list()]
    assert client.models.retrieve(model).owned_by == "team-a"
    assert client.models.retrieve("acme/large").owned_by == "kubetune"
    slashed = httpx.get(
        f"{gateway.url}/models/acme/large",
        headers={"Authorization": "Bearer token-of-team-a"},
        trust_env=False,
    )
    assert slashed.json()["id"] == "acme/large"
    with pytest.raises(openai.BadRequestError) as refused:
        client.models.delete(model)
    assert refused.value.code == "model_deployed"
    del raw["spec"]["serving"]
    assert client.models.delete(model).deleted
    assert raw not in gateway.jobs.objects
    for look in (client.models.retrieve, client.models.delete):
        with pytest.raises(openai.NotFoundError):
            look(model)


def test_azures_client_asks_a_deployment(gateway: Gateway, server: ModelServer, serve: Serve) -> None:
    model = name_of(serve())
    with azure(gateway) as client:
        found = client.chat.completions.create(model="intents-1", messages=ASKED)
        assert found.choices[0].message.content == WHOLE
        stream = client.chat.completions.create(model=model, messages=ASKED, stream=True)
        assert {piece.model for piece in stream} == {model}
        assert model in [one.id for one in client.models.list()]
        file = client.files.create(file=b'{"messages": []}\n', purpose="fine-tune")
        assert client.files.retrieve(file.id).id == file.id
        assert client.fine_tuning.jobs.list().data
    with azure(gateway, azure_deployment="intents-1") as client:
        assert client.chat.completions.create(model="whatever", messages=ASKED).model == "intents-1"
        assert client.completions.create(model="whatever", prompt="Say").choices[0].text == WHOLE
        assert client.files.retrieve(file.id).id == file.id
    newer = openai.OpenAI(base_url=gateway.url.replace("/v1", "/openai/v1"), api_key="token-of-team-a")
    with newer as client:
        assert client.chat.completions.create(model=model, messages=ASKED).model == model
        assert client.fine_tuning.jobs.list().data


def test_a_model_is_deployed_and_removed_over_the_api(
    gateway: Gateway, client: openai.OpenAI, deployments: httpx.Client, serve: Serve
) -> None:
    raw = serve("job-7", case="trained")
    model = name_of(raw)
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(model=model, messages=ASKED)
    assert refused.value.code == "model_not_deployed"
    assert "PUT /openai/deployments/job-7" in refused.value.message
    made = deployments.put("triage", json={"model": model})
    assert made.status_code == 201
    assert made.json() == {
        "id": "triage",
        "object": "deployment",
        "model": model,
        "owner": "team-a",
        "created_at": 1772362800,
        "updated_at": 1772366400,
        "status": "running",
        "scale_settings": {"scale_type": "standard"},
    }
    [changed] = [one for one in gateway.jobs.objects if one["metadata"]["name"] == "job-7"]
    assert changed["spec"]["serving"] == {}
    assert changed["metadata"]["annotations"] == {"openai.kubetune.dev/deployment": "triage"}
    again = deployments.put("triage", json={"model": model})
    assert (again.status_code, again.json()) == (200, made.json())
    assert [one["id"] for one in deployments.get("../deployments").json()["data"]] == ["triage"]
    assert deployments.get("triage").json() == made.json()
    with pytest.raises(openai.BadRequestError, match="DELETE /openai/deployments/triage"):
        client.models.delete(model)
    assert deployments.delete("triage").status_code == 204
    assert deployments.get("triage").json()["error"]["code"] == "deployment_not_found"
    assert deployments.delete("triage").status_code == 404
    [changed] = [one for one in gateway.jobs.objects if one["metadata"]["name"] == "job-7"]
    assert changed["metadata"]["annotations"] == {}
    assert "serving" not in changed["spec"]
    assert client.models.delete(model).deleted


def counted(gateway: Gateway, name: str, **labels: str) -> float | None:
    """A metric's value; the answer may be ahead of it."""
    end = time.monotonic() + DEADLINE_SECONDS
    while (
        found := gateway.telemetry.registry.get_sample_value(name, {"namespace": "team-a"} | labels)
    ) is None:
        assert time.monotonic() < end, f"no {name} with {labels}"
        time.sleep(0.05)
    return found
