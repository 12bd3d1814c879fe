"""Models of several shapes are trained, and their servers answer as they were trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dev.cluster.s3 import S3Endpoint
from dev.demo.data import upload
from tests.cluster.conftest import Cluster, tiny_job, until
from tests.support.tiny_model import make_tiny_of

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the libraries that make the tiny models
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

DTYPE = {"llama": "float32", "gemma3": "float32", "llama4_dense": "float32", "qwen3_5": "bfloat16"}
"""Families of ``make_tiny_of``, and what their servers compute in."""


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


def test_servers_answer_as_their_models_were_trained(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    """All jobs in one test: pods that go on between tests disturb those that want the cluster alone."""
    for family in DTYPE:
        name = _name(family)
        model = make_tiny_of(family, tmp_path / name)
        _store_in_bfloat16(model)
        upload(S3Endpoint(), model, f"models/tiny-{name}")
        cluster.kubectl.apply(_job(namespace, name))
    for family, dtype in DTYPE.items():
        name = _name(family)
        status = cluster.wait(namespace, name, "Served")["status"]
        canary = status["serving"]["canary"]
        assert (canary["verdict"], canary["digest"]) == ("Same", status["artifact"]["digest"]), (
            family,
            canary,
        )
        server = cluster.kubectl.get("deployment", name, "-n", namespace)
        (container,) = server["spec"]["template"]["spec"]["containers"]
        args = container["args"]
        assert args[args.index("--dtype") + 1] == dtype, family
        cluster.kubectl("delete", "ftj", name, "-n", namespace)
    until(lambda: not cluster.kubectl.get("pods", "-n", namespace)["items"], "the end of the pods")


def _name(family: str) -> str:
    return family.replace("_", "-")
