"""A real API server with the CRD, and what these tests ask of it."""

from __future__ import annotations

import base64
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from dev.cluster.binaries import ensure_binaries
from dev.cluster.control_plane import ControlPlane

Json = dict[str, Any]

REPOSITORY = Path(__file__).parents[2]
CRD = REPOSITORY / "crds" / "kubetune.dev_finetunejobs.yaml"
JOBS = "/apis/kubetune.dev/v1alpha1/namespaces/default/finetunejobs"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_STRICT = {"fieldValidation": "Strict"}


@dataclass(frozen=True)
class ApiServer:
    """A real API server that knows FineTuneJobs. Unknown fields are errors in every write."""

    http: httpx.Client
    kubeconfig: Path

    def refusal(self, job: Json, old: Json | None = None) -> str | None:
        """Why a create, or an update of ``old``, is refused; None when admitted. Leaves nothing behind."""
        if old is None:
            return _refusal(self.http.post(JOBS, json=job, params={**_STRICT, "dryRun": "All"}))
        created = self.create(old)
        path = f"{JOBS}/{created['metadata']['name']}"
        job = job | {
            "metadata": job["metadata"] | {"resourceVersion": created["metadata"]["resourceVersion"]}
        }
        try:
            return _refusal(self.http.put(path, json=job, params={**_STRICT, "dryRun": "All"}))
        finally:
            self.delete(created)

    def create(self, job: Json) -> Json:
        """Create a FineTuneJob for good."""
        response = self.http.post(JOBS, json=job, params=_STRICT)
        assert response.is_success, response.text
        created: Json = response.json()
        return created

    def write_status(self, job: Json, status: Json) -> Json:
        """Put a status and return the object."""
        path = f"{JOBS}/{job['metadata']['name']}/status"
        response = self.http.put(path, json=job | {"status": status}, params=_STRICT)
        assert response.is_success, response.text
        written: Json = response.json()
        return written

    def delete(self, job: Json) -> None:
        """Delete a FineTuneJob."""
        self.http.delete(f"{JOBS}/{job['metadata']['name']}").raise_for_status()

    def kubectl(self, *arguments: str) -> str:
        """Run the real kubectl; its error is the test's."""
        program = ensure_binaries().program("kubectl")
        command = [str(program), f"--kubeconfig={self.kubeconfig}", *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout


def _refusal(response: httpx.Response) -> str | None:
    if response.is_success:
        return None
    assert response.status_code in (400, 422), response.text
    message: str = response.json()["message"]
    return message


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with ControlPlane.temporary() as control_plane:
        folder = tmp_path_factory.mktemp("client")
        with _client(control_plane.kubeconfig, folder) as http:
            _install(http)
            yield ApiServer(http=http, kubeconfig=control_plane.kubeconfig)


def _client(kubeconfig: Path, folder: Path) -> httpx.Client:
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    certificate, key = folder / "client.crt", folder / "client.key"
    certificate.write_bytes(base64.b64decode(user["client-certificate-data"]))
    key.write_bytes(base64.b64decode(user["client-key-data"]))
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    context.load_cert_chain(certificate, key)
    return httpx.Client(base_url=cluster["server"], verify=context, timeout=60, trust_env=False)


def _install(http: httpx.Client) -> None:
    response = http.post(_DEFINITIONS, json=yaml.safe_load(CRD.read_text()), params=_STRICT)
    assert response.is_success, response.text
    deadline = time.monotonic() + 60
    while not http.get(JOBS).is_success:
        assert time.monotonic() < deadline, "the CRD is not served"
        time.sleep(0.1)
