"""The gateway that the chart has installed, as its clients meet it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx
import openai

from tests.cluster.conftest import Cluster

NAME: Final = "kubetune-gateway"
SELECTOR: Final = "app.kubernetes.io/name=kubetune,app.kubernetes.io/component=gateway"


def token_of(cluster: Cluster, namespace: str) -> str:
    """Token of a service account that may do in its namespace what the role `edit` may."""
    kubectl = cluster.kubectl
    kubectl("create", "serviceaccount", "client", "-n", namespace)
    kubectl(
        *("create", "rolebinding", "client", "-n", namespace, "--clusterrole=edit"),
        f"--serviceaccount={namespace}:client",
    )
    return kubectl("create", "token", "client", "-n", namespace, "--duration=4h").strip()


@contextmanager
def client_at(url: str, key: str) -> Iterator[openai.OpenAI]:
    """OpenAI's own client, as somebody with this token."""
    with (
        httpx.Client(trust_env=False) as http,
        openai.OpenAI(base_url=f"{url}/v1", api_key=key, http_client=http) as client,
    ):
        yield client
