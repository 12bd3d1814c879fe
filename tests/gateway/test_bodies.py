"""Bodies of requests on a real port: as they come, within their limits, and nothing of them left behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kubetune_gateway.limits.kinds import Limits
from kubetune_gateway.store.bucket import PART_BYTES
from tests.support import openai_gateway, s3_server
from tests.support.openai_gateway import FREE, Gateway
from tests.support.raw_http import Answer, chunk, connected, head
from tests.support.s3_server import S3Server

pytestmark = [s3_server.needed, pytest.mark.slow]

MIB = 1024**2
FORM = "multipart/form-data; boundary=edge"
SMALL = Limits(
    requests_per_minute=10**6,
    burst=10**6,
    json_bytes=1000,
    file_bytes=3 * MIB,
    part_bytes=MIB,
    body_seconds=1,
    pause_seconds=1,
)
JOBS, FILES = "/v1/fine_tuning/jobs", "/v1/files"


def field(name: str, value: str) -> bytes:
    return f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def file(content: bytes) -> bytes:
    return (
        b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
        + content
        + b"\r\n"
    )


END = b"--edge--\r\n"
PURPOSE = field("purpose", "fine-tune")


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server.running(tmp_path_factory.mktemp("s3"), "clients") as found:
        yield found


@pytest.fixture(scope="module")
def gateway(s3: S3Server) -> Iterator[Gateway]:
    with openai_gateway.running(s3, limits=FREE) as found:
        yield found


@pytest.fixture(scope="module")
def strict(s3: S3Server) -> Iterator[Gateway]:
    with openai_gateway.running(s3, limits=SMALL) as found:
        yield found


def left(s3: S3Server) -> list[Path]:
    """All that there is in the bucket, also of uploads that S3 knows to be under way."""
    return [path for path in s3.folder.rglob("*") if path.is_file()]


@pytest.fixture(autouse=True)
def empty(s3: S3Server) -> None:
    for path in left(s3):
        path.unlink()


def nothing_is_left(s3: S3Server) -> bool:
    end = time.monotonic() + 60
    while left(s3):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def post(url: str, body: bytes, *, kind: str = FORM, path: str = FILES) -> httpx.Response:
    headers = {"authorization": "Bearer token-of-team-a", "content-type": kind}
    return httpx.post(url.removesuffix("/v1") + path, content=body, headers=headers, trust_env=False)


def listed(gateway: Gateway) -> list[Any]:
    headers = {"authorization": "Bearer token-of-team-a"}
    found: list[Any] = httpx.get(f"{gateway.url}/files", headers=headers, trust_env=False).json()["data"]
    return found


@pytest.mark.parametrize("parts", [[PURPOSE, file(b"{}\n")], [file(b"{}\n"), PURPOSE]])
def test_fields_come_before_or_after_the_file(gateway: Gateway, parts: list[bytes]) -> None:
    answer = post(gateway.url, b"".join(parts) + END)
    assert (answer.status_code, answer.json()["purpose"], answer.json()["bytes"]) == (200, "fine-tune", 3)


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (PURPOSE + file(b"") + END, FORM, "invalid_file"),
        (PURPOSE + END, FORM, "missing_file"),
        (file(b"x" * 100) + END, FORM, "invalid_purpose"),
        (file(b"x" * 100) + field("purpose", "batch") + END, FORM, "invalid_purpose"),
        (field("purpose", "batch") + file(b"x" * 100) + END, FORM, "invalid_purpose"),
        (PURPOSE + file(b"x") + field("expires_after[anchor]", "now") + END, FORM, "invalid_value"),
        (PURPOSE + file(b"x") + field("expires_after[seconds]", "9" * 5000) + END, FORM, "invalid_body"),
        (PURPOSE + file(b"x") + file(b"x") + END, FORM, "invalid_body"),
        (PURPOSE + file(b"x" * 3 * PART_BYTES)[:-2], FORM, "invalid_body"),
        (b'{"purpose": "fine-tune"}', "application/json", "invalid_body"),
        (PURPOSE + file(b"x") + END, "multipart/form-data", "invalid_body"),
    ],
)
def test_what_is_no_file_is_refused_and_leaves_nothing(
    s3: S3Server, gateway: Gateway, body: bytes, kind: str, code: str
) -> None:
    answer = post(gateway.url, body, kind=kind)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert nothing_is_left(s3)


@pytest.mark.parametrize(
    ("path", "length", "code"),
    [
        (FILES, 4 * MIB + 1, "file_too_large"),
        ("/openai/v1/files", 4 * MIB + 1, "file_too_large"),
        ("/v1/uploads/upload_a/parts", 2 * MIB + 1, "file_too_large"),
        (JOBS, 1001, "request_too_large"),
        ("/v1/chat/completions", 8 * MIB + 1, "request_too_large"),
        (JOBS, 10**15, "request_too_large"),
    ],
)
def test_a_body_that_says_to_be_too_long_is_refused_unread(
    strict: Gateway, path: str, length: int, code: str
) -> None:
    with connected(strict.url) as made:
        made.send(head("POST", path, length=length, content_type=FORM))
        answer = made.answer()
        assert (answer.status, answer.error()["code"]) == (413, code)
        assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(("path", "kind"), [(FILES, FORM), (JOBS, "application/json")])
def test_a_body_that_does_not_say_how_long_it_is_is_counted(
    s3: S3Server, strict: Gateway, path: str, kind: str
) -> None:
    with connected(strict.url) as made:
        made.send(head("POST", path, content_type=kind) + chunk(PURPOSE) + chunk(file(b"x")[:-2]))
        for _ in range(6):
            made.send(chunk(b"x" * MIB))
        answer = made.answer()
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert nothing_is_left(s3)


def test_who_may_not_sees_that_while_the_body_is_still_sent(gateway: Gateway) -> None:
    with connected(gateway.url) as made:
        made.send(head("POST", FILES, token="nobodys", length=5 * MIB, content_type=FORM))
        made.send(b"x" * 4 * MIB)
        answer = made.answer()
    assert (answer.status, answer.headers["connection"]) == (401, "close")


@pytest.mark.parametrize(
    ("path", "body"), [(JOBS, b'{"model":'), (FILES, PURPOSE + file(b"x" * MIB)[:-2])], ids=["json", "file"]
)
def test_a_body_that_stands_still_is_given_up(s3: S3Server, strict: Gateway, path: str, body: bytes) -> None:
    with connected(strict.url) as made:
        made.send(head("POST", path, length=2 * MIB if path == FILES else 900, content_type=FORM) + body)
        answer = made.answer()
        assert (answer.status, answer.error()["code"]) == (408, "body_too_slow")
        assert path == FILES or made.is_closed()
    assert nothing_is_left(s3)


def test_a_client_that_goes_away_leaves_nothing_and_its_file_is_not_listed(
    s3: S3Server, gateway: Gateway
) -> None:
    with connected(gateway.url) as made:
        made.send(head("POST", FILES, content_type=FORM) + chunk(PURPOSE) + chunk(file(b"x")[:-2]))
        made.send(chunk(b"x" * 3 * PART_BYTES))
        end = time.monotonic() + 60
        while not left(s3):
            assert time.monotonic() < end
            time.sleep(0.01)
    assert nothing_is_left(s3)
    assert listed(gateway) == []


NESTED = b"[" * 100_000
BAD = {
    "nothing": b"",
    "no JSON": b"{",
    "another kind": b"[]",
    "null": b"null",
    "two": b"{}{}",
    "UTF-16": '{"model": "a"}'.encode("utf-16"),
    "Latin-1": '{"model": "\u00e4"}'.encode("latin-1"),
    "a mark before": b"\xef\xbb\xbf{}",
    "half a character": b'{"model": "\\ud800", "training_file": "file-a"}',
    "depth": b'{"model": ' + NESTED + b"}",
    "depth where nobody looks": b'{"more": ' + NESTED + b"}",
    "a huge number": b'{"model": "a", "training_file": "b", "seed": ' + b"9" * 100_000 + b"}",
    "no number": b'{"model": "a", "training_file": "b", "seed": NaN}',
    "no rate": b'{"model": "gpt-4o-mini", "training_file": "b",'
    b' "hyperparameters": {"learning_rate_multiplier": Infinity}}',
    "a huge rate": b'{"model": "gpt-4o-mini", "training_file": "b",'
    b' "hyperparameters": {"learning_rate_multiplier": 1e999}}',
    "a long key": b'{"model": "a", "training_file": "b", "metadata": {"' + b"k" * 100_000 + b'": 1}}',
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
@pytest.mark.parametrize("path", [JOBS, "/v1/uploads", "/v1/uploads/upload_a/complete"])
def test_what_is_no_good_json_is_the_clients_fault(gateway: Gateway, path: str, body: bytes) -> None:
    answer = post(gateway.url, body, kind="application/json", path=path)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_value"
    assert len(answer.content) < 2000


def test_of_two_keys_alike_the_later_one_counts(gateway: Gateway) -> None:
    answer = post(
        gateway.url,
        b'{"purpose": "batch", "purpose": "fine-tune", "bytes": 1, "filename": "a", "mime_type": ""}',
        kind="application/json",
        path="/v1/uploads",
    )
    assert (answer.status_code, answer.json()["purpose"]) == (200, "fine-tune")


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "PATCH", "PROPFIND", "TRACE"])
def test_a_method_that_there_is_not_is_answered_with_those_that_there_are(
    gateway: Gateway, method: str
) -> None:
    with connected(gateway.url) as made:
        made.send(head(method, "/v1/uploads", length=0))
        if method == "HEAD":
            answer = Answer(405, {}, b"")
            assert made.socket.recv(12) == b"HTTP/1.1 405"
        else:
            answer = made.answer()
            assert answer.error()["code"] == "method_not_allowed"
            assert answer.headers["allow"] == "POST"
    assert answer.status == 405


@pytest.mark.parametrize("path", ["/v1/files/", "/", "/v1/files/%2e%2e/x/y", "/v1/files/a%00b", "/v1//files"])
def test_what_is_nowhere_is_not_found(gateway: Gateway, path: str) -> None:
    with connected(gateway.url) as made:
        made.send(head("GET", path, length=0))
        answer = made.answer()
    assert (answer.status, answer.error()["type"]) == (404, "invalid_request_error")
