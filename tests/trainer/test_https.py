"""Rows on web servers: what the platform allows is fetched, and nothing else is asked."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dev.cluster.pki import Authority, Identity
from kubetune_trainer.contract.config import FileSource, PlatformConfig
from kubetune_trainer.contract.errors import DataInvalid, Transient
from kubetune_trainer.sources.https import WebFiles, require_address
from kubetune_trainer.sources.locate import locate_data
from kubetune_trainer.sources.source import DataSource
from tests.support.prepare_runs import preparing
from tests.support.tiny_model import make_tiny_model

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # peft's
]

ROWS = b'{"text": "a"}\n' * 1000


@dataclass
class Web:
    """A server with a certificate for localhost."""

    port: int
    authority: Path
    answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    def file(self, path: str, content: bytes = ROWS, *, promised: int | None = None, **headers: str) -> None:
        """Serve a file."""

        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(200)
            request.send_header("Content-Length", str(len(content) if promised is None else promised))
            for name, value in headers.items():
                request.send_header(name, value)
            request.end_headers()
            if request.command == "GET":
                request.wfile.write(content)

        self.answers[path] = answer

    def status(self, path: str, code: int, **headers: str) -> None:
        """Answer with a status and nothing else."""

        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(code)
            for name, value in headers.items():
                request.send_header(name, value)
            request.send_header("Content-Length", "0")
            request.end_headers()

        self.answers[path] = answer

    def source(self, path: str = "/rows.jsonl", **fields: Any) -> DataSource:
        platform = {"https_data_hosts": (self.host,), "ca_bundle": str(self.authority), **fields}
        return locate_data(
            FileSource(uri=f"https://{self.host}{path}"), "train", platform=PlatformConfig(**platform)
        )

    def refusal(self, directory: Path, path: str = "/rows.jsonl", **fields: Any) -> str:
        with pytest.raises(DataInvalid) as caught:
            self.source(path, **fields).fetch(directory)
        assert not (directory / "rows").exists()
        return caught.value.message.replace(f"https://{self.host}", "URL").replace(str(self.port), "PORT")


@pytest.fixture
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    certificate, key = authority.issue(Identity(name="web", user="web", hosts=("localhost",)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(f"{self.command} {self.path}")
            state.headers.append(dict(self.headers))
            state.answers[self.path](self)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("localhost", 0), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    state = Web(port=server.server_port, authority=authority.certificate)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def test_file_of_an_allowed_host_is_fetched_and_its_digest_told(web: Web, tmp_path: Path) -> None:
    web.file("/a/my%20rows.jsonl", ETag='"v1"')
    source = web.source("/a/my rows.jsonl")
    assert [(file.size, file.etag) for file in source.contents()] == [(len(ROWS), "v1")]
    (file,) = source.fetch(tmp_path)
    assert file.path.read_bytes() == ROWS
    assert file.name == f"https://{web.host}/a/my rows.jsonl"
    assert file.sha256 == hashlib.sha256(ROWS).hexdigest()
    assert web.asked == ["HEAD /a/my%20rows.jsonl", "GET /a/my%20rows.jsonl"]
    assert not {"Authorization", "Cookie"} & {name for headers in web.headers for name in headers}
    assert source.fetch(tmp_path) == [file]  # it lies there already
    assert len(web.asked) == 2


def test_prepare_tells_the_digest_of_rows_from_a_web_server(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.file("/rows.jsonl")
    platform = {"https_data_hosts": (web.host,), "ca_bundle": str(web.authority)}
    model = make_tiny_model(tmp_path / "model")
    prepare = preparing(tmp_path, monkeypatch)
    result = prepare(model=model, train=f"https://{web.host}/rows.jsonl", platform=platform)
    assert result.summary.dataset.sha256 == hashlib.sha256(ROWS).hexdigest()


def test_content_is_unknown_without_a_strong_etag(web: Web) -> None:
    web.file("/rows.jsonl", ETag='W/"v1"')
    assert [file.etag for file in web.source().contents()] == [""]
    web.status("/rows.jsonl", 405)
    assert [file.etag for file in web.source().contents()] == [""]


def test_redirect_to_an_allowed_host_is_followed(web: Web, tmp_path: Path) -> None:
    web.status("/rows.jsonl", 302, Location="/stored/1?signature=x")
    web.file("/stored/1?signature=x")
    (file,) = web.source().fetch(tmp_path)
    assert file.name == f"https://{web.host}/rows.jsonl"
    assert file.path.read_bytes() == ROWS


REDIRECTS = {
    "another host": (
        "https://example.com/x",
        "it redirects to example.com: the host example.com is not allowed",
    ),
    "another port": (
        "https://localhost:1/x",
        "it redirects to localhost:1: the host localhost:1 is not allowed",
    ),
    "no TLS": (
        "http://localhost/x",
        "it redirects to localhost: only https:// without a user name is fetched.",
    ),
    "a file": ("file:///etc/passwd", "Redirection to url 'file:///etc/passwd' is not allowed"),
    "a password": ("https://a:b@localhost/x", "only https:// without a user name is fetched."),
}


@pytest.mark.parametrize("case", REDIRECTS)
def test_redirect_elsewhere_is_refused(web: Web, tmp_path: Path, case: str) -> None:
    location, message = REDIRECTS[case]
    web.status("/rows.jsonl", 302, Location=location)
    assert message in web.refusal(tmp_path)
    assert web.asked == ["GET /rows.jsonl"]


def test_host_that_is_not_allowed_is_not_asked(web: Web, tmp_path: Path) -> None:
    assert web.refusal(tmp_path, https_data_hosts=()) == (
        "dataset.train.uri URL/rows.jsonl: this platform allows no https:// sources. Its administrator lists "
        "hosts in settings.httpsDataHosts; or put the file on a claim or into S3."
    )
    assert web.refusal(tmp_path, https_data_hosts=("example.com", "localhost")) == (
        "dataset.train.uri URL/rows.jsonl: the host localhost:PORT is not allowed by the platform "
        "(settings.httpsDataHosts has example.com, localhost)."
    )
    assert web.asked == []


@pytest.mark.parametrize("promised", [None, 5])
def test_file_that_is_too_large_is_refused(web: Web, tmp_path: Path, promised: int | None) -> None:
    web.file("/rows.jsonl", promised=promised)
    message = web.refusal(tmp_path, https_data_max_bytes=4 if promised else 9999)
    assert "is larger than the" in message
    assert "settings.httpsDataMaxBytes" in message


ANSWERS = {
    404: (DataInvalid, "cannot be read: the server answers 404 Not Found. It is asked without credentials."),
    401: (
        DataInvalid,
        "cannot be read: the server answers 401 Unauthorized. It is asked without credentials.",
    ),
    429: (Transient, "cannot be read now: the server answers 429."),
    503: (Transient, "cannot be read now: the server answers 503."),
}


@pytest.mark.parametrize("code", ANSWERS)
def test_what_the_server_refuses_is_said(web: Web, tmp_path: Path, code: int) -> None:
    kind, message = ANSWERS[code]
    web.status("/rows.jsonl", code)
    with pytest.raises(kind) as caught:
        web.source().fetch(tmp_path)
    assert message in str(caught.value)


def test_file_that_arrives_incomplete_is_fetched_again(web: Web, tmp_path: Path) -> None:
    web.file("/rows.jsonl", promised=len(ROWS) + 1)
    with pytest.raises(Transient, match="arrived incomplete"):
        web.source().fetch(tmp_path)
    web.file("/rows.jsonl")
    assert [file.path.read_bytes() for file in web.source().fetch(tmp_path)] == [ROWS]


def test_certificate_of_an_unknown_authority_is_named(web: Web, tmp_path: Path) -> None:
    message = web.refusal(tmp_path, ca_bundle=None)
    assert message.startswith("URL/rows.jsonl has a certificate that is not trusted (")
    assert "settings.caBundleConfigMap" in message


HOSTS = {
    ("data.example.com", "https://data.example.com/x"): True,
    ("Data.Example.com", "https://DATA.example.com:443/x"): True,
    ("data.example.com", "https://data.example.com:8443/x"): False,
    ("data.example.com:8443", "https://data.example.com:8443/x"): True,
    ("*.example.com", "https://a.b.example.com/x"): True,
    ("*.example.com", "https://example.com/x"): False,
    ("*.example.com", "https://badexample.com/x"): False,
    ("example.com", "https://example.com.evil.net/x"): False,
    ("example.com", "https://example.com@evil.net/x"): False,
}


@pytest.mark.parametrize(("pattern", "url"), HOSTS)
def test_hosts_of_the_list(pattern: str, url: str) -> None:
    files = WebFiles("train", PlatformConfig(https_data_hosts=(pattern,)))
    if HOSTS[pattern, url]:
        files.require(url)
    else:
        with pytest.raises(Exception, match=r"is not allowed|without a user name"):
            files.require(url)


def test_private_address_needs_the_full_name_of_its_host() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as connected,
    ):
        require_address(connected, by_name=True)
        with pytest.raises(Exception, match=r"has the private address 127\.0\.0\.1"):
            require_address(connected, by_name=False)
        assert connected.fileno() == -1, "nothing more can be sent"
