"""Service accounts on a real API server: their tokens, their rights, and requests as one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kubernetes.aio.client.configuration import Configuration

from tests.support.apiserver import Api

RBAC = "/apis/rbac.authorization.k8s.io/v1"
Rule = tuple[str, str, str]
"""Group, resource with its part, and verbs with spaces between."""


async def make_namespace(api: Api, name: str) -> None:
    """Create a namespace."""
    await api.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})


async def make_account(api: Api, namespace: str, name: str) -> None:
    """Create a service account."""
    await api.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}})


async def token_of(
    api: Api, namespace: str, name: str, *, audiences: Sequence[str] = (), seconds: int = 3600
) -> str:
    """A token of a service account, as ``kubectl create token`` makes it."""
    spec = {"audiences": list(audiences), "expirationSeconds": seconds}
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    answer = await api.request("POST", path, {"spec": spec})
    token: str = answer["status"]["token"]
    return token


async def grant(
    api: Api, account: tuple[str, str], *rules: Rule, namespace: str | None = None, name: str = "granted"
) -> None:
    """Give an account (namespace and name) rights in a namespace, or everywhere."""
    scope, prefix = (f"{RBAC}/namespaces/{namespace}", "") if namespace else (RBAC, "cluster")
    kind = "Role" if namespace else "ClusterRole"
    role = {
        "metadata": {"name": name},
        "rules": [
            {"apiGroups": [group], "resources": [resource], "verbs": verbs.split()}
            for group, resource, verbs in rules
        ],
    }
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
        "subjects": [{"kind": "ServiceAccount", "namespace": account[0], "name": account[1]}],
    }
    await api.request("POST", f"{scope}/{prefix}roles", role)
    await api.request("POST", f"{scope}/{prefix}rolebindings", binding)


async def take_back(api: Api, namespace: str, name: str = "granted") -> None:
    """Undo a grant in a namespace."""
    for kind in ("rolebindings", "roles"):
        await api.request("DELETE", f"{RBAC}/namespaces/{namespace}/{kind}/{name}")


def configuration_as(admin: Configuration, token: str) -> Configuration:
    """How the same API server is reached by whoever has this token."""
    made: Any = Configuration()
    made.host, made.ssl_ca_cert = admin.host, admin.ssl_ca_cert
    made.api_key = {"BearerToken": f"Bearer {token}"}
    found: Configuration = made
    return found
