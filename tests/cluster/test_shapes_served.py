"""Models of several shapes are trained, and their servers answer as they were trained."""

from __future__ import annotations

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
"""Families of ``make_tiny_of``, and what their servers compute in."""


@pytest.fixture(scope="module")
def names(cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A job for each family, by its name; all side by side, since they wait more than they compute."""
    root = tmp_path_factory.mktemp("shapes")
    found = {family: family.replace("_", "-") for family in DTYPE}
    for family, name in found.items():
        model = make_tiny_of(family, root / name)
        _store_in_bfloat16(model)
        upload(S3Endpoint(), model, f"models/tiny-{name}")
        cluster.kubectl.apply(_job(namespace, name))
    return found


def _store_in_bfloat16(model: Path) -> None:
    """Store the weights as real checkpoints are, and as they are trained where processors compute in it."""
    import torch
    from safetensors.torch import load_file, save_file

    path = model / "model.safetensors"
    weights = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})


def _job(namespace: str, name: str) -> dict[str, Any]:
    job = tiny_job(namespace, name, f"s3://models/tiny-{name}", maxSteps=8, learningRate="1e-2")
    job["spec"]["serving"] = {
        "resources": {"requests": {"cpu": "200m", "memory": "3Gi"}, "limits": {"memory": "6Gi"}},
        "engineArgs": {"max-model-len": "1024"},
    }
    return job


@pytest.mark.parametrize("family", DTYPE)
def test_the_server_answers_as_it_was_trained(
    cluster: Cluster, namespace: str, names: dict[str, str], family: str
) -> None:
    name = names[family]
    status = cluster.wait(namespace, name, "Served")["status"]
    canary = status["serving"]["canary"]
    assert (canary["verdict"], canary["digest"]) == ("Same", status["artifact"]["digest"]), canary
    server = cluster.kubectl.get("deployment", name, "-n", namespace)
    (container,) = server["spec"]["template"]["spec"]["containers"]
    args = container["args"]
    assert args[args.index("--dtype") + 1] == DTYPE[family]
    cluster.kubectl("delete", "ftj", name, "-n", namespace, "--wait=false")
