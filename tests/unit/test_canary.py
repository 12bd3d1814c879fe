"""The canary: what is said of a server by its log-probabilities, and how it is asked."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from kubetune_guard.asgi import Message, Receive, Scope, Send
from kubetune_guard.canary import RECORD, WEIGHTS, Served, SilentError, prove, read
from kubetune_guard.middleware import Guard
from kubetune_guard.verdict import TOLERATED, TOLERATED_ROUNDED, Distance, Question, Record, decide

BASE = (-9.0, -7.5, -11.25, -4.0)
TUNED = (-0.5, -0.25, -1.0, -3.0)
RECORD_OF_LLAMA = Record(
    "LlamaForCausalLM",
    tuple(
        Question((1, 2 + i), 5, base, tuned) for i, (base, tuned) in enumerate(zip(BASE, TUNED, strict=True))
    ),
)


def moved(row: tuple[float, ...], *by: float) -> tuple[float, ...]:
    """The row with its first entries changed."""
    return tuple(x + d for x, d in zip(row, (*by, *(0.0,) * (len(row) - len(by))), strict=True))


def record(architecture: str = "LlamaForCausalLM", *, learned: float | None = None) -> Record:
    """What training wrote; ``learned`` for an adapter that changed every answer by so much."""
    questions = RECORD_OF_LLAMA.questions
    if learned is not None:
        questions = tuple(replace(q, tuned=q.base + learned) for q in questions)
    return Record(architecture, questions)


def test_what_is_tolerated_is_this() -> None:
    assert {dtype: Distance(median=1e-3, largest=1e-3) for dtype in ("float32", "float")} == TOLERATED
    assert Distance(median=0.01, largest=0.5) == TOLERATED_ROUNDED


@pytest.mark.parametrize(
    ("dtype", "tuned", "base", "verdict", "says"),
    [
        pytest.param("float32", TUNED, BASE, "Same", "0 at most", id="exactly"),
        pytest.param("float32", moved(TUNED, 5e-5, -5e-5), moved(BASE, 4e-5), "Same", "5e-05", id="engines"),
        pytest.param("float32", moved(TUNED, 0.0011), BASE, "Mismatch", "0.0011", id="off in float32"),
        pytest.param("float", moved(TUNED, 0.0011), BASE, "Mismatch", "0.0011", id="off in float"),
        pytest.param("bfloat16", moved(TUNED, 0.38, 0.005), BASE, "Same", "0.38", id="rounded"),
        pytest.param("auto", moved(TUNED, 0.38, 0.005), BASE, "Same", "0.38", id="of unknown dtype"),
        pytest.param("bfloat16", moved(TUNED, 0.51), BASE, "Mismatch", "0.51", id="one far off"),
        pytest.param("bfloat16", moved(TUNED, 0.1, 0.1, 0.1), BASE, "Mismatch", "0.1", id="all a little off"),
        pytest.param("float32", BASE, BASE, "Mismatch", "no effect", id="the base under the name"),
        pytest.param("bfloat16", BASE, BASE, "Mismatch", "no effect", id="the base, rounded"),
        pytest.param(
            "bfloat16", moved(BASE, 0.3, 0.005), BASE, "Mismatch", "no effect", id="nearly the base"
        ),
        pytest.param("float32", TUNED, moved(BASE, 0.2), "Mismatch", "not the base", id="another base"),
        pytest.param("float32", TUNED, None, "Same", "0 at most", id="a full fine-tune"),
        pytest.param("float32", BASE, None, "Mismatch", "served model", id="a full fine-tune's base"),
        pytest.param("float32", moved(TUNED, math.nan), BASE, "Mismatch", "no numbers", id="NaN"),
        pytest.param("float32", TUNED, moved(BASE, -math.inf), "Mismatch", "no numbers", id="infinite"),
    ],
)
def test_a_verdict(
    dtype: str, tuned: tuple[float, ...], base: tuple[float, ...] | None, verdict: str, says: str
) -> None:
    found = decide(record(), dtype=dtype, tuned=tuned, base=base)
    assert found.verdict == verdict, found
    assert says in found.message
    json.dumps(found.manifest(), allow_nan=False)


@pytest.mark.parametrize(
    "architecture", ["MixtralForCausalLM", "Qwen3MoeForCausalLM", "DeepseekV3ForCausalLM"]
)
def test_experts_that_an_adapter_may_have_moved_prove_nothing(architecture: str) -> None:
    found = decide(record(architecture), dtype="bfloat16", tuned=moved(TUNED, 2.0), base=moved(BASE, 0.7))
    assert found.verdict == "Unproven"
    assert "0.7" in found.message
    assert "2 at most" in found.message
    without_effect = decide(record(architecture), dtype="bfloat16", tuned=BASE, base=BASE)
    assert without_effect.verdict == "Mismatch"


@pytest.mark.parametrize(("dtype", "learned"), [("float32", 0.0005), ("bfloat16", 0.005)])
def test_what_changed_nothing_cannot_be_proven(dtype: str, learned: float) -> None:
    what = record(learned=learned)
    tuned = [q.tuned for q in what.questions]
    assert decide(what, dtype=dtype, tuned=tuned, base=BASE).verdict == "Unproven"
    assert decide(what, dtype=dtype, tuned=moved(TUNED, 3.0), base=BASE).verdict == "Mismatch"


def test_noise_between_what_was_learned_and_what_is_tolerated_is_no_missing_adapter() -> None:
    what = record(learned=0.51)
    tuned = [q.tuned - 0.005 for q in what.questions]
    assert decide(what, dtype="bfloat16", tuned=tuned, base=[*BASE]).verdict == "Same"


@dataclass
class Engine:
    """Stands for vLLM: a log-probability for each model and prompt."""

    known: dict[str, dict[tuple[int, ...], Any]]
    status: int = 200
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert (scope["method"], scope["path"], scope["app"]) == ("POST", "/v1/completions", "the app")
        body = json.loads((await receive())["body"])
        await asyncio.sleep(0)
        self.asked.append(body)
        if body["prompt"] == "Hello":
            await _reply(send, self.status, {"choices": [{"text": "a"}]})
            return
        value = self.known[body["model"]][tuple(body["prompt"])]
        if isinstance(value, Exception):
            raise value
        if isinstance(value, str):
            await _reply(send, 400, {"error": {"message": value}})
            return
        await _reply(send, 200, {"choices": [{"logprobs": {"token_logprobs": [value]}}]})


async def _reply(send: Send, status: int, content: Any) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    body = json.dumps(content).encode()
    await send({"type": "http.response.body", "body": body[:5], "more_body": True})
    await send({"type": "http.response.body", "body": body[5:]})


def _write(folder: Path, **fields: Any) -> None:
    questions = [
        {"prompt": list(q.prompt), "token": q.token, "base": q.base, "tuned": q.tuned}
        for q in RECORD_OF_LLAMA.questions
    ]
    content = {
        "version": 1,
        "dtype": "float32",
        "architecture": "LlamaForCausalLM",
        "model_dtype": "bfloat16",
        "questions": questions,
    }
    (folder / RECORD).write_text(json.dumps(content | fields))


def _engine(tuned: tuple[Any, ...] = TUNED, base: tuple[Any, ...] = BASE) -> Engine:
    prompts = [q.prompt for q in RECORD_OF_LLAMA.questions]
    return Engine(
        {"job": dict(zip(prompts, tuned, strict=True)), "base": dict(zip(prompts, base, strict=True))}
    )


def _served(folder: Path, base: str | None = "base") -> Served:
    return Served("job", base, "float32", folder, "sha256:a")


SCOPE: Scope = {"type": "http", "method": "GET", "path": "/kubetune/started", "app": "the app", "headers": []}


async def test_a_server_is_asked_for_one_forced_token_at_a_time(tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"weights")
    engine = _engine()
    said = await prove(engine, SCOPE, _served(tmp_path))
    assert (said["verdict"], said["digest"]) == ("Same", "sha256:a")
    assert said["weights"] == f"sha256:{hashlib.sha256(b'weights').hexdigest()}"
    first, *others = engine.asked
    assert first == {"model": "job", "prompt": "Hello", "max_tokens": 1}
    assert [each["model"] for each in others] == ["job"] * 4 + ["base"] * 4
    assert others[0] == {
        "model": "job",
        "prompt": [1, 2],
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": 0,
        "allowed_token_ids": [5],
    }


async def test_a_full_fine_tune_has_no_base_to_ask_and_no_adapter_to_digest(tmp_path: Path) -> None:
    _write(tmp_path)
    engine = _engine()
    said = await prove(engine, SCOPE, _served(tmp_path, base=None))
    assert (said["verdict"], said["weights"]) == ("Same", None)
    assert {each["model"] for each in engine.asked} == {"job"}


@pytest.mark.parametrize(("model", "verdict"), [("base", "Same"), ("job", "Mismatch")])
async def test_a_server_of_the_base_alone_must_answer_as_the_base_did(
    tmp_path: Path, model: str, verdict: str
) -> None:
    _write(tmp_path)
    served = replace(_served(tmp_path, base=None), model=model, is_base=True)
    assert (await prove(_engine(), SCOPE, served))["verdict"] == verdict


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"version": 2}, "version 2"),
        ({"questions": []}, "0 questions"),
        ({"questions": [{"prompt": [1]}]}, "token"),
        ({"questions": None}, "cannot be read"),
        ({"questions": [{"prompt": [1], "token": 2, "base": float("nan"), "tuned": 0}]}, "not finite"),
    ],
)
async def test_a_record_that_cannot_be_read_proves_nothing(
    tmp_path: Path, fields: dict[str, Any], says: str
) -> None:
    _write(tmp_path, **fields)
    said = await prove(_engine(), SCOPE, _served(tmp_path))
    assert said["verdict"] == "Unproven"
    assert says in said["message"]


async def test_an_artifact_without_a_record_is_unproven_once_it_answers(tmp_path: Path) -> None:
    engine = _engine()
    said = await prove(engine, SCOPE, _served(tmp_path))
    assert said["verdict"] == "Unproven"
    assert said["message"] == (
        "The artifact has no canary.json: an earlier version trained it. Train again to have it proven."
    )
    assert len(engine.asked) == 1


async def test_an_artifact_that_was_adopted_says_why_it_is_unproven(tmp_path: Path) -> None:
    (tmp_path / "MANIFEST.json").write_text(json.dumps({"source_digest": "sha256:0", "files": []}))
    said = await prove(_engine(), SCOPE, _served(tmp_path))
    assert (said["verdict"], said["message"]) == (
        "Unproven",
        "The artifact has no canary.json: it was trained elsewhere and adopted, and nobody measured what it "
        "answers.",
    )


@pytest.mark.parametrize("wrong", ["prompt is too long", RuntimeError("gone"), [1]])
async def test_questions_that_are_not_answered_prove_nothing(tmp_path: Path, wrong: Any) -> None:
    _write(tmp_path)
    said = await prove(_engine(tuned=(wrong, *TUNED[1:])), SCOPE, _served(tmp_path))
    assert said["verdict"] == "Unproven"


async def test_a_probability_that_is_no_number_is_a_mismatch(tmp_path: Path) -> None:
    _write(tmp_path)
    words = "Out of range float values are not JSON compliant: nan"
    said = await prove(_engine(tuned=(words, *TUNED[1:])), SCOPE, _served(tmp_path))
    assert said["verdict"] == "Mismatch"


async def test_a_server_that_completes_nothing_gets_no_verdict(tmp_path: Path) -> None:
    _write(tmp_path)
    engine = _engine()
    engine.status = 404
    with pytest.raises(SilentError, match="HTTP 404"):
        await prove(engine, SCOPE, _served(tmp_path))


@pytest.mark.parametrize(
    ("fields", "rounded"),
    [({}, False), ({"stored_dtype": "bfloat16"}, False), ({"stored_dtype": "float32"}, True)],
)
def test_the_record_is_read_as_training_writes_it(
    tmp_path: Path, fields: dict[str, Any], rounded: bool
) -> None:
    _write(tmp_path, **fields)
    assert read(tmp_path / RECORD) == replace(RECORD_OF_LLAMA, rounded=rounded)


def test_a_base_that_is_served_from_finer_weights_than_it_was_trained_with_may_be_off_by_rounding() -> None:
    served = moved(TUNED, 0.2, 0.005)
    assert decide(record(), dtype="float32", tuned=served, base=BASE).verdict == "Mismatch"
    rounded = replace(record(), rounded=True)
    assert decide(rounded, dtype="float32", tuned=served, base=BASE).verdict == "Same"


async def _get(guard: Guard, path: str) -> tuple[int, Any]:
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("nothing is read of a GET")

    async def send(message: Message) -> None:
        sent.append(message)

    await guard({**SCOPE, "path": path}, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


async def _until_told(guard: Guard, path: str) -> tuple[int, Any]:
    while True:
        status, body = await _get(guard, path)
        if status == 200 or "being asked" not in body["error"]["message"]:
            return status, body
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(("tuned", "verdict", "started"), [(TUNED, "Same", 200), (BASE, "Mismatch", 503)])
async def test_only_a_server_that_is_not_a_mismatch_has_started(
    tmp_path: Path, tuned: tuple[float, ...], verdict: str, started: int
) -> None:
    _write(tmp_path)
    engine = _engine(tuned=tuned)
    guard = Guard(engine, limit=1, served=_served(tmp_path))
    assert (await _get(guard, "/kubetune/started"))[0] == 503
    status, said = await _until_told(guard, "/kubetune/canary")
    assert (status, said["verdict"]) == (200, verdict)
    assert (await _get(guard, "/kubetune/started"))[0] == started
    number = len(engine.asked)
    await _get(guard, "/kubetune/canary")
    assert len(engine.asked) == number


async def test_a_server_that_does_not_answer_yet_is_asked_anew(tmp_path: Path) -> None:
    _write(tmp_path)
    engine = _engine()
    engine.status = 500
    guard = Guard(engine, limit=1, served=_served(tmp_path))
    status, said = await _until_told(guard, "/kubetune/started")
    assert (status, "HTTP 500" in said["error"]["message"]) == (503, True)
    engine.status = 200
    assert (await _until_told(guard, "/kubetune/started"))[0] == 200
