"""Speaks to a cluster through the real kubectl and helm: what the demo and the cluster tests share."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev import shell


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubectl:
    """kubectl and helm of one version, and the cluster they speak to."""

    program: Path
    helm: Path
    kubeconfig: Path

    @property
    def environment(self) -> str:
        """The line for a shell in which a person goes on with kubectl and helm."""
        folders = dict.fromkeys(str(program.parent) for program in (self.program, self.helm))
        path = ":".join(map(shlex.quote, folders))
        return f"export KUBECONFIG={shlex.quote(str(self.kubeconfig))} PATH={path}:$PATH"

    def __call__(self, *args: str | Path, stdin: str | None = None) -> str:
        """Run kubectl and return what it prints; CommandError when it fails."""
        return shell.output([self.program, "--kubeconfig", self.kubeconfig, *args], stdin=stdin)

    def run_helm(self, *args: str | Path) -> str:
        """Run helm and return what it prints."""
        return shell.output([self.helm, "--kubeconfig", self.kubeconfig, *args])

    def get(self, *args: str) -> Any:
        """Run ``kubectl get ... -o json`` and return the parsed object or list."""
        return json.loads(self("get", *args, "-o", "json"))

    def find(self, *args: str) -> Any | None:
        """Like ``get``, but None when the object does not exist."""
        text = self("get", *args, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def apply(self, *manifests: dict[str, Any]) -> None:
        """Apply objects server-side, unknown fields being errors."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self("apply", "--server-side", "--validate=strict", "-f", "-", stdin=json.dumps(items))

    @contextmanager
    def port_forward(self, namespace: str, target: str, port: int) -> Iterator[int]:
        """Forward a free local port to ``svc/<name>`` or ``pod/<name>`` in the block; yields the port."""
        argv = [
            self.program,
            "--kubeconfig",
            self.kubeconfig,
            "-n",
            namespace,
            "port-forward",
            target,
            f":{port}",
        ]
        process = subprocess.Popen(
            [str(part) for part in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"127\.0\.0\.1:(\d+)", line)
            if not found:
                raise shell.CommandError(f"kubectl port-forward {target} in {namespace}: {line.strip()}")
            yield int(found[1])
        finally:
            process.terminate()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def condition(job: dict[str, Any], type_: str) -> dict[str, Any]:
    """Return a condition of an object; an empty one when it is absent."""
    conditions = job.get("status", {}).get("conditions") or []  # null on what was only just made
    return next((dict(c) for c in conditions if c["type"] == type_), {})
