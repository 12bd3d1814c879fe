"""The example that pushes a result: its command, run by the locked client against a hub on this machine."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.paths import REPOSITORY
from tests.support.http_server import serving

EXAMPLE = REPOSITORY / "examples" / "push-to-hub.yaml"


class _Hub(BaseHTTPRequestHandler):
    """As much of the hub as an upload of small files meets."""

    committed: dict[str, bytes]
    created: list[Any]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._send({"id": "my-org/banking-intents-1", "sha": "0" * 40, "siblings": []})

    def do_POST(self) -> None:
        if self.headers.get("Authorization") != "Bearer hf_write":
            self._send({"error": "Invalid credentials"}, status=401)
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            self.created.append(json.loads(body))
            self._send({"url": self._url})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            self._send(
                {"files": [{**file, "uploadMode": "regular", "shouldIgnore": False} for file in files]}
            )
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.committed[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self._send({"success": True, "commitOid": "1" * 40, "commitUrl": f"{self._url}/commit/1"})
        else:  # the model card's header
            self._send({"warnings": [], "errors": []})

    @property
    def _url(self) -> str:
        return f"http://{self.headers['Host']}/my-org/banking-intents-1"

    def _send(self, answer: Any, status: int = 200) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.mark.slow
def test_the_command_of_the_example_pushes_every_file_of_the_folder(tmp_path: Path) -> None:
    [container] = yaml.safe_load(EXAMPLE.read_text())["spec"]["template"]["spec"]["containers"]
    files = {
        "README.md": b"---\nlibrary_name: peft\n---\n\n# banking-intents-1\n",
        "MANIFEST.json": b"{}",
        "adapter_model.safetensors": b"\x00" * 16,
    }
    folder = tmp_path / "adapter"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    command, *arguments = [
        str(folder) if word.startswith("/claim/") else word for word in container["command"]
    ]

    class Hub(_Hub):
        committed: dict[str, bytes] = {}
        created: list[Any] = []

    with serving(Hub) as endpoint:
        subprocess.run(
            [Path(sys.executable).with_name(command), *arguments],
            check=True,
            capture_output=True,
            timeout=120,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "HF_ENDPOINT": endpoint,
                "HF_HUB_DISABLE_XET": "1",  # needs a second service, for large files
                **{variable["name"]: "hf_write" for variable in container["env"]},
            },
        )
    repository = {
        "organization": "my-org",
        "name": "banking-intents-1",
        "type": "model",
        "visibility": "private",
    }
    assert Hub.created == [repository]
    assert Hub.committed == files
    assert sorted(path.name for path in folder.iterdir()) == sorted(files)  # the claim is mounted read-only
