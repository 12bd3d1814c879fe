"""A local HTTP server that speaks as much of S3 as reading needs: head, get, list, and its error codes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.support.http_server import serving

ACCESS_KEY = "reader"
SECRET_KEY = "secret-of-the-reader"


@dataclass
class ObjectStoreServer:
    """Buckets with objects, and what was asked."""

    endpoint: str = ""
    buckets: dict[str, dict[str, bytes]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    failing: bool = False


@contextmanager
def object_store() -> Iterator[ObjectStoreServer]:
    """Run a server on a free port of the loopback interface."""
    state = ObjectStoreServer()

    class Handler(_Handler):
        store = state

    with serving(Handler) as state.endpoint:
        yield state


class _Handler(BaseHTTPRequestHandler):
    store: ObjectStoreServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        url = urlsplit(self.path)
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        self.store.requests.append(f"{self.command} {bucket}/{key}")
        objects = self.store.buckets.get(bucket)
        if self.store.failing:
            self._error(503, "ServiceUnavailable")
        elif f"Credential={ACCESS_KEY}/" not in (self.headers.get("Authorization") or ""):
            self._error(403, "AccessDenied")
        elif objects is None:
            self._error(404, "NoSuchBucket")
        elif not key:
            self._list(bucket, objects, {name: values[0] for name, values in parse_qs(url.query).items()})
        elif key not in objects:
            self._error(404, "NoSuchKey")
        else:
            self._object(objects[key])

    def _object(self, data: bytes) -> None:
        headers = {
            "ETag": f'"{hashlib.md5(data).hexdigest()}"',
            "Last-Modified": "Tue, 01 Sep 2026 10:00:00 GMT",
        }
        status, begin, end = 200, 0, len(data)
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            begin, end = int(first), min(len(data), int(last) + 1 if last else len(data))
            status, headers["Content-Range"] = 206, f"bytes {begin}-{end - 1}/{len(data)}"
        self._send(status, data[begin:end], headers)

    def _list(self, bucket: str, objects: dict[str, bytes], query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        contents, folders = "", set()
        for key, data in sorted(objects.items()):
            if not key.startswith(prefix):
                continue
            rest = key[len(prefix) :]
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.split(delimiter)[0] + delimiter)
                continue
            contents += (
                f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size>"
                f'<ETag>"{hashlib.md5(data).hexdigest()}"</ETag>'
                "<LastModified>2026-09-01T10:00:00.000Z</LastModified></Contents>"
            )
        common = "".join(
            f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in sorted(folders)
        )
        listed = f"<Name>{bucket}</Name><IsTruncated>false</IsTruncated>{contents}{common}"
        body = f"<ListBucketResult>{listed}</ListBucketResult>"
        self._send(200, body.encode(), {"Content-Type": "application/xml"})

    def _error(self, status: int, code: str) -> None:
        body = f"<Error><Code>{code}</Code><Message>{code} was refused</Message></Error>"
        self._send(status, body.encode(), {"Content-Type": "application/xml"})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)
