"""docs/first-steps.md, typed as it stands: every command of it, in its order, each twice.

What is not as for a reader:

- What the page marks as not run is not run: building the images, and copying to a bucket.
- The values file that `make images` writes has the values of the release that is there.
- The local cluster has no model hub, and no busybox. Where the commands run is a copy of charts/ and of
  examples/ in which `first-1` has HF_ENDPOINT, for a server with the demo's model, and asks for less, since
  other tests run beside it; the pod `datasets` has the trainer's image. Limits are the defaults.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.cluster.lock import locked
from dev.cluster.network import NODE_ADDRESS
from dev.deploy import NAMESPACE, RELEASE
from dev.images.model import ensure_demo_model
from dev.kubectl import Kubectl
from dev.paths import REPOSITORY
from tests.cluster.conftest import Cluster, tiny_job
from tests.support.first_steps import Commands, commands
from tests.support.hub_server import files_of, hub_server

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
RUN = [block for block in commands() if block.not_run is None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Somebody with a shell in the folder of a checkout, and kubectl set to a namespace."""

    folder: Path
    environment: dict[str, str]

    def type(self, text: str) -> tuple[int, str, str]:
        """Type commands that all have to succeed; returns exit code, output and complaints."""
        # Files, and a group of processes: one that is left behind must not keep pipes open.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            shell = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", text],
                cwd=self.folder,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            try:
                code = shell.wait()
            finally:
                end_group(shell.pid)
            out.seek(0)
            err.seek(0)
            return code, out.read(), err.read()


def end_group(leader: int) -> None:
    """End all that a shell has left behind."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGTERM)


@pytest.fixture(scope="module")
def reader(cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("charts", "examples"):
        shutil.copytree(REPOSITORY / name, folder / name)
    values = cluster.kubectl.run_helm("get", "values", RELEASE, "--namespace", NAMESPACE, "-o", "yaml")
    [named] = [found[1] for block in RUN if (found := re.search(r"--values (\S+)", block.text))]
    (folder / named).parent.mkdir()
    (folder / named).write_text(values)
    trainer = yaml.safe_load(values)["settings"]["trainerImage"]
    replace_image(folder / "examples" / "datasets-claim.yaml", "{repository}:{tag}".format_map(trainer))
    with hub_server(NODE_ADDRESS) as hub:
        hub.add("model", MODEL, files_of(ensure_demo_model()))
        adapt(folder / "examples" / "minimal.yaml", hub.endpoint)
        kubectl = cluster.kubectl
        yield Reader(
            folder=folder,
            environment={
                "PATH": f"{kubectl.program.parent}:{kubectl.helm.parent}:{os.environ['PATH']}",
                "KUBECONFIG": str(kubeconfig(kubectl, namespace, folder / "kubeconfig")),
                "NO_PROXY": "localhost",
            },
        )


def kubeconfig(kubectl: Kubectl, namespace: str, path: Path) -> Path:
    """A copy of the cluster's kubeconfig that is set to a namespace."""
    config = yaml.safe_load(kubectl("config", "view", "--raw"))
    for context in config["contexts"]:
        context["context"]["namespace"] = namespace
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config))
    return path


def adapt(manifest: Path, hub: str) -> None:
    job = yaml.safe_load(manifest.read_text())
    requests = {"cpu": "250m", "memory": "2Gi"}
    job["spec"]["training"]["resources"] = {"requests": requests, "limits": {"memory": "4Gi"}}
    job["spec"]["serving"]["resources"] = {"requests": requests, "limits": {"memory": "8Gi"}}
    job["spec"]["podTemplate"] = {"env": [{"name": "HF_ENDPOINT", "value": hub}]}
    manifest.write_text(json.dumps(job))  # which is YAML, and quotes every text


def replace_image(manifest: Path, image: str) -> None:
    text = manifest.read_text()
    assert text.count("image: busybox ") == 1
    manifest.write_text(text.replace("image: busybox ", f"image: {image} "))


@pytest.mark.parametrize("block", RUN, ids=lambda block: block.section)
def test_every_command_does_what_the_page_says_and_may_be_typed_again(
    reader: Reader, block: Commands
) -> None:
    with ExitStack() as stack:
        if "helm " in block.text:  # no other test installs meanwhile
            stack.enter_context(locked("start by the tests"))
        code, printed, complaints = reader.type(block.text)
        assert (code, block.shows(printed)) == (0, True), printed + complaints
        code, printed, complaints = reader.type(block.text)
        assert code == 0, printed + complaints


def test_the_last_answer_is_that_of_the_tuned_model(reader: Reader) -> None:
    [asked] = [block for block in RUN if "/v1/chat/completions" in block.text]
    assert "for model in HuggingFaceTB/SmolLM2-135M-Instruct first-1; do" in asked.text
    assert (asked.output or "").splitlines()[-1] == '"content":"images"'


def test_a_job_finds_what_was_copied_to_the_claim(
    cluster: Cluster, namespace: str, tiny_uri: str, reader: Reader
) -> None:
    [copied] = [block for block in RUN if "datasets-claim.yaml" in block.text]
    code, printed, complaints = reader.type(copied.text)
    assert code == 0, printed + complaints
    job: dict[str, Any] = tiny_job(namespace, "from-claim", tiny_uri, maxSteps=1)
    job["spec"]["dataset"]["train"] = {"uri": "pvc://datasets/triage/train.jsonl"}
    cluster.kubectl.apply(job)
    cluster.wait(namespace, "from-claim", "Prepared")
    cluster.kubectl("delete", "ftj", "from-claim", "-n", namespace)
