"""Models whose checkpoints have other shapes than Llama's are trained, and a server answers as they were trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.cluster.s3 import S3Endpoint
from dev.demo.data import upload
from tests.cluster.conftest import Cluster, tiny_job
from tests.support.tiny_model import make_tiny_of

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the libraries that make the tiny models
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

DTYPE = {"llama": "float32", "gemma3": "float32", "llama4_dense": "float32", "qwen3_5": "bfloat16"}
"""What the server of each family computes in."""


@pytest.fixture(scope="module")
def jobs(cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """A job of each family, side by side: they wait for each other's processors."""
    root = tmp_path_factory.mktemp("shapes")
    for family in DTYPE:
        upload(S3Endpoint(), make_tiny_of(family, root / family), f"models/{family}")
        cluster.kubectl.apply(_job(namespace, family))
    yield [_name(family) for family in DTYPE]


def _name(family: str) -> str:
    return family.replace("_", "-")


def _job(namespace: str, family: str) -> dict[str, Any]:
    job = tiny_job(namespace, _name(family), f"s3://models/{family}", maxSteps=8, learningRate="1e-2")
    job["spec"]["serving"] = {
        "resources": {"requests": {"cpu": "250m", "memory": "3Gi"}, "limits": {"memory": "6Gi"}},
        "engineArgs": {"max-model-len": "1024"},
    }
    return job


@pytest.mark.parametrize("family", DTYPE)
def test_the_server_answers_as_it_was_trained(
    cluster: Cluster, namespace: str, jobs: list[str], family: str
) -> None:
    name = _name(family)
    job = cluster.wait(namespace, name, "Served")
    canary = job["status"]["serving"]["canary"]
    assert (canary["verdict"], canary["digest"]) == ("Same", job["status"]["artifact"]["digest"]), canary
    args = cluster.kubectl.get("deployment", name, "-n", namespace)["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[args.index("--dtype") + 1] == DTYPE[family]
    cluster.kubectl("delete", "ftj", name, "-n", namespace)
