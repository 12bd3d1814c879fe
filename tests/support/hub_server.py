"""A local HTTP server that speaks as much of the hub's API as the real huggingface_hub client needs.

Error codes and headers are those that the hub sends.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.support.http_server import serving

TOKEN = "hf_good_token_for_tests"


@dataclass
class Repo:
    """A repository: files by commit, commits by branch."""

    commits: dict[str, dict[str, bytes]]
    branches: dict[str, str]
    gated: bool = False
    """Nobody has accepted its terms: anyone may list the files, no one may download them."""
    private: bool = False

    def resolve(self, revision: str) -> str | None:
        commit = self.branches.get(revision, revision)
        return commit if commit in self.commits else None


@dataclass
class HubServer:
    """What the server holds, and what it was asked."""

    endpoint: str = ""
    repos: dict[tuple[str, str], Repo] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    """``METHOD path [range]`` of every request."""
    cut: dict[str, int] = field(default_factory=dict)
    """How many more downloads of a file end after half of it."""
    damaged: dict[str, int] = field(default_factory=dict)
    """How many more downloads of a file have another byte."""
    failing: int | None = None
    """Status that every request gets."""
    failing_files: int | None = None
    """Status that every request for a file gets."""

    def add(self, kind: str, name: str, files: dict[str, bytes], **fields: Any) -> str:
        """Commit files to ``main``; returns the commit."""
        repo = self.repos.setdefault((kind, name), Repo(commits={}, branches={}, **fields))
        content = json.dumps(
            {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}, sort_keys=True
        )
        commit = hashlib.sha1(content.encode()).hexdigest()
        repo.commits[commit] = dict(files)
        repo.branches["main"] = commit
        return commit

    def downloads(self) -> list[str]:
        """Names of the files that were downloaded, in order."""
        return [
            line.split("/resolve/")[1].split("/", 1)[1]
            for line in self.requests
            if line.startswith("GET ") and "/resolve/" in line
        ]


def files_of(directory: Path) -> dict[str, bytes]:
    """A directory as the files of a repository."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@contextmanager
def hub_server(host: str = "127.0.0.1") -> Iterator[HubServer]:
    """Run a server on a free port of one interface."""
    state = HubServer()

    class Handler(_Handler):
        hub = state

    with serving(Handler, host) as state.endpoint:
        yield state


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        asked = self.headers.get("Range")
        self.hub.requests.append(f"{self.command} {path}{f' {asked}' if asked else ''}")
        if self.hub.failing:
            self._error(self.hub.failing, "", "The server is not well")
            return
        if path.startswith("/api/"):
            _, _, kinds, org, name, *rest = path.split("/")
            self._info(kinds.removesuffix("s"), f"{org}/{name}", rest[1] if len(rest) > 1 else "main", body)
            return
        kind, parts = "model", path.strip("/").split("/")
        if parts[0] == "datasets":
            kind, parts = "dataset", parts[1:]
        self._file(kind, "/".join(parts[:2]), parts[3], "/".join(parts[4:]), body)

    def _repo(self, kind: str, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        repo = self.hub.repos.get((kind, name))
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and token != TOKEN:
            self._error(401, "", "Invalid credentials in Authorization header")
            return None
        if repo is None or (repo.private and not token):
            self._error(404 if token else 401, "RepoNotFound", "Repository not found")
            return None
        commit = repo.resolve(revision)
        if commit is None:
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return commit, repo.commits[commit]

    def _info(self, kind: str, name: str, revision: str, body: bool) -> None:
        found = self._repo(kind, name, revision)
        if found is None:
            return
        commit, files = found
        siblings = [
            {
                "rfilename": path,
                "size": len(data),
                "blobId": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(),  # as git names it
                **(
                    {"lfs": {"sha256": _sha256(data), "size": len(data), "pointerSize": 130}}
                    if _lfs(path)
                    else {}
                ),
            }
            for path, data in files.items()
        ]
        self._send(
            json.dumps({"id": name, "sha": commit, "siblings": siblings, "tags": []}).encode(), body=body
        )

    def _file(self, kind: str, name: str, revision: str, path: str, body: bool) -> None:
        found = self._repo(kind, name, revision)
        if found is None:
            return
        commit, files = found
        if self.hub.repos[kind, name].gated:  # the list of files is public even then
            token = self.headers.get("Authorization")
            message = f"Access to model {name} is restricted."
            self._error(403 if token else 401, "GatedRepo", message)
            return
        if self.hub.failing_files:
            self._error(self.hub.failing_files, "", "The server is not well")
            return
        if path not in files:
            self._error(404, "EntryNotFound", "Entry not found")
            return
        data = files[path]
        headers = {"ETag": f'"{_sha256(data)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if body and self.hub.cut.get(path, 0) > 0:
            self.hub.cut[path] -= 1
            self._send(data, headers=headers, body=body, cut=True)
            return
        if body and self.hub.damaged.get(path, 0) > 0:
            self.hub.damaged[path] -= 1
            data = data[:-1] + bytes([data[-1] ^ 1])
        begin = 0
        if asked := self.headers.get("Range"):
            begin = int(asked.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        self._send(data[begin:], status=206 if begin else 200, headers=headers, body=body)

    def _error(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self._send(
            json.dumps({"error": message}).encode(),
            status=status,
            headers=headers,
            body=self.command == "GET",
        )

    def _send(
        self,
        data: bytes,
        *,
        body: bool,
        status: int = 200,
        headers: dict[str, str] | None = None,
        cut: bool = False,
    ) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.close_connection = True


def _lfs(path: str) -> bool:
    return path.endswith((".safetensors", ".bin", ".parquet"))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
