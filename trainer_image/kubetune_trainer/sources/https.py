"""Files on web servers: only those that the platform allows, without credentials.

A spec is written by people who may not reach every address that the cluster can: hosts are allowed by the
platform's settings, redirects stay among them, and what matches by a wildcard must have a public address.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit

from typing_extensions import override

from ..contract.config import PlatformConfig
from ..contract.errors import DataInvalid, Transient, first_line
from .source import DataFile, DataSource, RemoteFile, Role, field_of, sha256

SETTING = "settings.httpsDataHosts"
"""What the platform calls its list."""

_SECONDS = 60.0
"""For which a server may be silent."""

_PIECE = 1024 * 1024
_NO_HEAD = (403, 405, 501)
"""Answers of servers that give a file and do not describe it."""


class _NotAllowed(Exception):  # noqa: N818 - a sentence for the user, not an error of the network
    """A host or an address that may not be asked."""


class WebFiles:
    """The hosts that the platform allows, as one source sees them."""

    def __init__(self, role: Role, platform: PlatformConfig) -> None:
        self._role = role
        self._allowed = tuple(host.lower() for host in platform.https_data_hosts)
        self._most = platform.https_data_max_bytes
        context = ssl.create_default_context(cafile=platform.ca_bundle)
        self._opener = urllib.request.build_opener(_Redirects(self), _Handler(self, context))
        self._opener.addheaders = [("User-Agent", "kubetune"), ("Accept-Encoding", "identity")]

    def locate_file(self, uri: str) -> DataSource:
        """Find one file; raises DataInvalid where its host is not allowed."""
        try:
            self.require(uri)
        except _NotAllowed as error:
            raise DataInvalid(f"{field_of(self._role)} {uri}: {error}") from None
        return DataSource(
            contents=lambda: [self._described(uri)], fetch=lambda directory: [self._fetch(uri, directory)]
        )

    def require(self, url: str) -> None:
        """Raise _NotAllowed unless the URL is https at a host of the list."""
        parts = urlsplit(url)
        if parts.scheme != "https" or parts.username is not None:
            raise _NotAllowed("only https:// without a user name is fetched.")
        if not self._allowed:
            raise _NotAllowed(
                f"this platform allows no https:// sources. Its administrator lists hosts in {SETTING}; "
                "or put the file on a claim or into S3."
            )
        if not any(_matches(pattern, parts.hostname or "", parts.port or 443) for pattern in self._allowed):
            raise _NotAllowed(
                f"the host {parts.netloc} is not allowed by the platform ({SETTING} has "
                f"{', '.join(self._allowed[:5])})."
            )

    def by_name(self, host: str, port: int) -> bool:
        """Whether a host is in the list with its full name."""
        return any(_matches(pattern, host, port) for pattern in self._allowed if not pattern.startswith("*."))

    def _described(self, uri: str) -> RemoteFile:
        """What the server says of the file; without a strong etag nobody knows its content."""
        try:
            with self._asked(uri, "HEAD") as answer:
                etag = answer.headers.get("ETag", "")
                size = int(answer.headers.get("Content-Length") or 0)
        except _Unanswered:
            etag, size = "", 0
        return RemoteFile(name=uri, size=size, etag=etag.strip('"') if etag.startswith('"') else "")

    def _fetch(self, uri: str, directory: Path) -> DataFile:
        path = directory / "rows"  # what kind of file it is, the name says that messages call it by
        if not path.exists():
            directory.mkdir(parents=True, exist_ok=True)
            part = directory / "rows.part"
            with self._asked(uri, "GET") as answer, part.open("wb") as file:
                self._copy(answer, file, uri)
            part.replace(path)
        return DataFile(path=path, name=uri, sha256=sha256(path))

    def _copy(self, answer: Any, file: Any, uri: str) -> None:
        expected = int(answer.headers.get("Content-Length") or -1)
        size = 0
        if expected > self._most:
            raise self._too_large(uri)
        while piece := answer.read(_PIECE):
            size += len(piece)
            if size > self._most:
                raise self._too_large(uri)
            file.write(piece)
        if expected >= 0 and size != expected:
            raise Transient(f"{uri} arrived incomplete; it will be fetched again.")

    def _too_large(self, uri: str) -> DataInvalid:
        return DataInvalid(
            f"{field_of(self._role)} {uri} is larger than the {self._most:,} bytes that the platform allows "
            "(settings.httpsDataMaxBytes): give a smaller file, or put it on a claim or into S3."
        )

    @contextmanager
    def _asked(self, uri: str, method: str) -> Iterator[Any]:
        """Ask for a file; what the server refuses becomes a sentence."""
        request = urllib.request.Request(quote(uri, safe="/:%[]@!$&'()*+,;=~"), method=method)
        try:
            with self._opener.open(request, timeout=_SECONDS) as answer:
                yield answer
        except _NotAllowed as error:
            raise DataInvalid(f"{field_of(self._role)} {uri}: {error}") from None
        except HTTPError as error:
            error.close()
            if method == "HEAD" and error.code in _NO_HEAD:
                raise _Unanswered from None
            if error.code in (408, 425, 429) or error.code >= 500:
                raise Transient(f"{uri} cannot be read now: the server answers {error.code}.") from None
            raise DataInvalid(
                f"{uri} cannot be read: the server answers {error.code} {error.reason}. It is asked without "
                f"credentials. Correct {field_of(self._role)}."
            ) from None
        except (URLError, TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, URLError) else error
            if isinstance(reason, _NotAllowed):
                raise DataInvalid(f"{field_of(self._role)} {uri}: {reason}") from None
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise DataInvalid(
                    f"{uri} has a certificate that is not trusted ({reason.verify_message}): use a host with "
                    "a trusted one, or have its authority put into settings.caBundleConfigMap."
                ) from None
            what = first_line(reason) if isinstance(reason, BaseException) else str(reason)
            raise Transient(f"{uri} cannot be read now: {what}") from error


class _Unanswered(Exception):  # noqa: N818
    """The server does not describe files."""


def _matches(pattern: str, host: str, port: int) -> bool:
    """``example.com``, ``example.com:8443`` or ``*.example.com``, which means all below it."""
    name, _, wanted = pattern.partition(":")
    if port != int(wanted or 443):
        return False
    return host.endswith(name[1:]) if name.startswith("*.") else host == name


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects among the hosts that are allowed."""

    max_redirections = 5

    def __init__(self, files: WebFiles) -> None:
        self._files = files

    @override
    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        try:
            self._files.require(newurl)
        except _NotAllowed as error:
            fp.close()
            raise _NotAllowed(f"it redirects to {urlsplit(newurl).netloc}: {error}") from None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Connection(http.client.HTTPSConnection):
    """A connection whose address is looked at before anything is asked."""

    def __init__(self, host: str, *, files: WebFiles, **options: Any) -> None:
        super().__init__(host, **options)
        self._files = files

    @override
    def connect(self) -> None:
        super().connect()
        if self._tunnel_host is None:  # type: ignore[attr-defined]  # else the proxy connects
            require_address(self.sock, by_name=self._files.by_name(self.host, self.port))


def require_address(connected: socket.socket, *, by_name: bool) -> None:
    """Refuse a connection within the cluster or the network, unless the host is listed by its name."""
    address = ipaddress.ip_address(connected.getpeername()[0].partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    if address.is_link_local or not (by_name or address.is_global):
        connected.close()
        raise _NotAllowed(
            f"the host has the private address {address}, which only hosts with their full name in {SETTING} "
            "may."
        )


class _Handler(urllib.request.HTTPSHandler):
    def __init__(self, files: WebFiles, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._files = files
        self._own_context = context

    @override
    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(partial(_Connection, files=self._files), req, context=self._own_context)
