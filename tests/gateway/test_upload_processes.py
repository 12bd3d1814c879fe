"""Uploads to processes that are measured and killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from tests.support import gateway_process, s3_server
from tests.support.gateway_process import GatewayProcess
from tests.support.s3_server import S3Server

pytestmark = [s3_server.needed, pytest.mark.slow]

MIB = 1024**2
BEGIN = (
    b'--edge\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    b'--edge\r\nContent-Disposition: form-data; name="file"; filename="rows.jsonl"\r\n\r\n'
)
END = b"\r\n--edge--\r\n"
HEADERS = {
    "authorization": "Bearer token-of-team-a",
    "content-type": "multipart/form-data; boundary=edge",
}


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    with s3_server.running(tmp_path, "clients") as found:
        yield found


@pytest.fixture
def gateway(s3: S3Server) -> Iterator[GatewayProcess]:
    with gateway_process.running(s3) as found:
        yield found


def client(gateway: GatewayProcess) -> openai.OpenAI:
    return openai.OpenAI(base_url=gateway.url, api_key="token-of-team-a", max_retries=0)


def form(mebibytes: int) -> Iterator[bytes]:
    yield BEGIN
    piece = b"x" * (MIB - 1) + b"\n"
    for _ in range(mebibytes):
        yield piece
    yield END


def test_the_largest_file_goes_through_little_memory(s3: S3Server, gateway: GatewayProcess) -> None:
    length = len(BEGIN) + 512 * MIB + len(END)
    answer = httpx.post(
        f"{gateway.url}/files",
        content=form(512),
        headers=HEADERS | {"content-length": str(length)},
        timeout=600,
        trust_env=False,
    )
    assert (answer.status_code, answer.json()["bytes"]) == (200, 512 * MIB)
    [stored] = (s3.folder / "clients").rglob("content.jsonl")
    assert stored.stat().st_size == 512 * MIB
    stored.unlink()  # tmp_path stays for a while
    assert gateway.peak_bytes() < 200 * MIB


def test_a_replica_that_is_killed_tells_of_no_file_and_another_takes_it(
    s3: S3Server, gateway: GatewayProcess
) -> None:
    with gateway_process.running(s3) as other:

        def killed_on_the_way() -> Iterator[bytes]:
            for number, piece in enumerate(form(200)):
                if number == 100:
                    end = time.monotonic() + 60
                    while not [path for path in s3.folder.rglob("*") if path.is_file()]:
                        assert time.monotonic() < end
                        time.sleep(0.01)
                    gateway.kill()
                yield piece

        with pytest.raises(httpx.TransportError):
            httpx.post(
                f"{gateway.url}/files",
                content=killed_on_the_way(),
                headers=HEADERS,
                timeout=60,
                trust_env=False,
            )
        with client(gateway) as gone, pytest.raises(openai.APIConnectionError):
            gone.files.list()
        with client(other) as one:
            assert one.files.list().data == []
            made = one.files.create(file=("rows.jsonl", b"{}\n"), purpose="fine-tune")
            assert [file.id for file in one.files.list()] == [made.id]


def test_a_replica_that_is_killed_between_parts_is_not_missed(s3: S3Server, gateway: GatewayProcess) -> None:
    with gateway_process.running(s3) as other, client(gateway) as first, client(other) as second:
        upload = first.uploads.create(bytes=8, filename="a", mime_type="", purpose="fine-tune")
        one = first.uploads.parts.create(upload.id, data=b"rows")
        gateway.kill()
        two = second.uploads.parts.create(upload.id, data=b"sown")
        done = second.uploads.complete(upload.id, part_ids=[one.id, two.id])
        assert done.file is not None
        assert second.files.content(done.file.id).read() == b"rowssown"
