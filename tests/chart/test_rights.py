"""Each verb of the operator's roles is one that it cannot do without, on a real API server.

The operator runs as its account while jobs meet what jobs meet. What it asks for has to be all that its roles
grant, and each of these requests has to be forbidden once its verb is taken out of the roles.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.chart import CHART
from dev.cluster.binaries import ensure_binaries
from dev.cluster.control_plane import ControlPlane
from dev.kubectl import Kubectl
from kubetune.cluster.kube.connection import KUBECONFIG, load_configuration
from kubetune.cluster.kube.resources import RESOURCES
from kubetune.facts.views import Kind
from tests.support import chart, golden, messages
from tests.support.apiserver import Api, ApiError, FakeKubelet
from tests.support.operator_process import operator_process

pytestmark = pytest.mark.apiserver

Json = dict[str, Any]
Right = tuple[str, str, str]
"""Group, resource with its part, and verb."""

TEAM = "team-a"
ACCOUNT = f"system:serviceaccount:{chart.NAMESPACE}:kubetune"
GROUPS = ("system:serviceaccounts", f"system:serviceaccounts:{chart.NAMESPACE}", "system:authenticated")
ROLES = "/apis/rbac.authorization.k8s.io/v1"
ROLE, LEASE_ROLE = (
    f"{ROLES}/clusterroles/kubetune",
    f"{ROLES}/namespaces/{chart.NAMESPACE}/roles/kubetune-lease",
)
MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Request:
    """Something that the operator asks for."""

    method: str
    path: str
    body: Json | None = None
    content: str = "application/json"


def _owned(kind: str, case: str) -> Json:
    """A child whose owner is kept as long as it is there (blockOwnerDeletion)."""
    todo = golden.load(case).plan
    found = next(dict(m) for m in (*todo.create_once, *todo.apply) if m["kind"] == kind)
    assert found["metadata"]["ownerReferences"][0]["blockOwnerDeletion"]
    return found


OWNS = ("kubetune.dev", "finetunejobs/finalizers", "update")

UNSEEN: dict[Right, Request] = {
    # An apply is a patch; that it may create what is missing is asked for beside.
    ("apps", "deployments", "create"): Request(
        "PATCH",
        f"/apis/apps/v1/namespaces/{TEAM}/deployments/intents-1?fieldManager=kubetune&force=true",
        _owned("Deployment", "deploying"),
        APPLY,
    ),
    # Asked for by an admission plugin, which OpenShift has turned on.
    OWNS: Request(
        "POST", f"/api/v1/namespaces/{TEAM}/configmaps", _owned("ConfigMap", "minimal-first-visit")
    ),
}
"""Rights that are no verbs of requests, with a request that needs them."""


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane.temporary(admission=["OwnerReferencesPermissionEnforcement"]) as started:
        programs = ensure_binaries()
        kubectl = Kubectl(
            program=programs.program("kubectl"), helm=programs.program("helm"), kubeconfig=started.kubeconfig
        )
        for namespace in (TEAM, chart.NAMESPACE):
            kubectl("create", "namespace", namespace)
        kubectl.run_helm("install", chart.RELEASE, CHART, "--namespace", chart.NAMESPACE)
        yield started


async def test_every_right_is_needed(plane: ControlPlane, tmp_path: Path) -> None:
    async with Api(await load_configuration({KUBECONFIG: str(plane.kubeconfig)})) as api:
        # The admission plugin learns within half a minute what a FineTuneJob is, and forbids meanwhile.
        await _until(lambda: _is_allowed(api, UNSEEN[OWNS]))
        await _live(plane, api, tmp_path)
        granted = {right for path in (ROLE, LEASE_ROLE) for right in _rights(await api.request("GET", path))}
        watches = {right for right in granted if right[2] == "watch"}
        with suppress(TimeoutError):  # a watch is recorded when it has ended, which is now
            await _until(lambda: _is_recorded(plane, watches), seconds=20)
        asked = _asked(plane)
        refused = [
            (entry["requestURI"], entry["responseStatus"].get("message"))
            for entry in asked
            if entry["responseStatus"]["code"] in (403, 422)
        ]
        assert refused == [], "by a role, or by a policy"
        witnesses = UNSEEN | {_right(entry): _request(entry) for entry in reversed(asked)}
        assert granted - witnesses.keys() == set(), "granted, and never asked for"
        assert witnesses.keys() - granted == set(), "asked for, and granted by somebody else"
        for path in (ROLE, LEASE_ROLE):
            role = await api.request("GET", path)
            for right in _rights(role):
                assert not await _is_forbidden(api, witnesses[right]), right
                await _set(api, path, _without(role, right))
                await _until(lambda right=right: _is_forbidden(api, witnesses[right]))
                await _set(api, path, role)
                await _until(lambda right=right: _is_allowed(api, witnesses[right]))


async def _live(plane: ControlPlane, api: Api, tmp_path: Path) -> None:
    """Run the operator while jobs meet all that it has rights for."""

    def starts(pod: Mapping[str, Any]) -> bool:
        return pod["metadata"]["labels"].get("kubetune.dev/finetunejob", "waits") != "waits"

    def script(pod: Mapping[str, Any]) -> tuple[int, str] | None:
        labels = pod["metadata"]["labels"]
        return None if labels["kubetune.dev/finetunejob"] == "again" else messages.ends_well(pod)

    async with FakeKubelet(api=api, script=script, starts=starts), _operator(plane, api, tmp_path):
        for name in ("served", "again", "waits", "taken"):
            await api.create_job(name, namespace=TEAM, **({"serving": {}} if name == "served" else {}))
        await asyncio.gather(_serves(plane, api), _loses_a_job(api), _waits(plane), _is_taken(api))


async def _serves(plane: ControlPlane, api: Api) -> None:
    """One whose server is made, and taken away."""
    path = f"/apis/apps/v1/namespaces/{TEAM}/deployments/served"
    await _until(lambda: _is_there(api, path))
    serving = {"spec": {"serving": None}}
    await api.request("PATCH", f"{_jobs()}/served", serving, content=MERGE)
    await _until(lambda: _is_gone(api, path))
    await _until_asked(plane, ("", "services", "delete"), ("", "configmaps", "delete"))


async def _loses_a_job(api: Api) -> None:
    """One whose Job somebody deletes: before it is made again, the FineTuneJob itself is read."""
    path = f"/apis/batch/v1/namespaces/{TEAM}/jobs/again-prepare"
    await _until(lambda: _is_there(api, path))
    first = (await api.request("GET", path))["metadata"]["uid"]
    await api.request("DELETE", path, {"propagationPolicy": "Background"})
    await _until(lambda: _is_another(api, path, first))


async def _waits(plane: ControlPlane) -> None:
    """One whose pod is not started: why is in Events."""
    await _until_asked(plane, ("", "events", "list"))


async def _is_taken(api: Api) -> None:
    """One whose children's names somebody else's objects have: whose they are is read."""
    children: list[tuple[str, Json]] = []
    await _until(lambda: _is_there(api, f"/apis/batch/v1/namespaces/{TEAM}/jobs/taken-prepare"))
    for kind in RESOURCES.keys() - {Kind.FINE_TUNE_JOB, Kind.POD}:
        path = RESOURCES[kind].path(TEAM)
        found = await api.items(f"{path}?labelSelector=kubetune.dev/finetunejob%3Dtaken")
        children += [(path, _somebody_elses(kind, child)) for child in found]
    await api.delete_job("taken", namespace=TEAM)
    for path, child in children:
        place = f"{path}/{child['metadata']['name']}"
        with suppress(ApiError):  # with its job
            await api.request("DELETE", place, {"propagationPolicy": "Background"})
        await _until(lambda place=place: _is_gone(api, place))
        await api.request("POST", path, child)
    await api.create_job("taken", namespace=TEAM)
    await _until(lambda: _says(api, "taken", "NameConflict"))


def _somebody_elses(kind: Kind, child: Json) -> Json:
    """The same without what makes it the operator's, and without what the API server gives."""
    spec = {
        name: value
        for name, value in child.get("spec", {}).items()
        if name not in ("clusterIP", "clusterIPs", "selector", "volumeName")
    }
    if "template" in spec:
        spec["template"] = {"spec": spec["template"]["spec"]}
    made = {
        "apiVersion": RESOURCES[kind].api_version,
        "kind": str(kind),
        "metadata": {"name": child["metadata"]["name"]},
    }
    return made | {"spec": spec} if spec else made


@asynccontextmanager
async def _operator(plane: ControlPlane, api: Api, tmp_path: Path) -> AsyncIterator[None]:
    """Run the operator of this checkout as the chart's account, with the chart's settings."""
    path = f"/api/v1/namespaces/{chart.NAMESPACE}/serviceaccounts/kubetune/token"
    token = (await api.request("POST", path, {"spec": {}}))["status"]["token"]
    config = yaml.safe_load(plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(config))
    with operator_process(kubeconfig, chart.variables(), log=tmp_path / "operator.log") as operator:
        await _until(lambda: asyncio.to_thread(operator.ready))
        yield


def _asked(plane: ControlPlane) -> list[Json]:
    """The operator's requests, oldest first."""
    entries = map(json.loads, plane.audit_log.read_text().splitlines())
    return [entry for entry in entries if entry["user"]["username"] == ACCOUNT and "objectRef" in entry]


def _right(entry: Json) -> Right:
    of = entry["objectRef"]
    return (
        of.get("apiGroup", ""),
        "/".join(filter(None, (of["resource"], of.get("subresource")))),
        entry["verb"],
    )


def _request(entry: Json) -> Request:
    """The same request, which is judged before its body is read."""
    method = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}.get(
        entry["verb"], "GET"
    )
    content = APPLY if "force=true" in entry["requestURI"] else MERGE
    return Request(method, entry["requestURI"], {} if method != "GET" else None, content)


def _rights(role: Json) -> list[Right]:
    return [
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]


def _without(role: Json, right: Right) -> Json:
    """The role without one verb of one resource."""
    group, resource, verb = right
    rules = copy.deepcopy(role["rules"])
    for rule in rules:
        if (rule["apiGroups"], rule["resources"]) == ([group], [resource]):
            rule["verbs"] = [kept for kept in rule["verbs"] if kept != verb]
    return {**role, "rules": [rule for rule in rules if rule["verbs"]]}


async def _set(api: Api, path: str, role: Json) -> None:
    await api.request("PATCH", path, {"rules": role["rules"]}, content=MERGE)


async def _is_forbidden(api: Api, request: Request) -> bool:
    """Whether the operator may not send this; a watch ends at once, and nothing is changed."""
    more = "timeoutSeconds=1" if request.method == "GET" else "dryRun=All"
    path = f"{request.path}{'&' if '?' in request.path else '?'}{more}"
    content = request.content if request.method == "PATCH" else "application/json"
    try:
        await api.request(request.method, path, request.body, content=content, user=ACCOUNT, groups=GROUPS)
    except ApiError as error:
        return error.status == 403
    except json.JSONDecodeError:  # the events of a watch
        return False
    return False


async def _is_allowed(api: Api, request: Request) -> bool:
    return not await _is_forbidden(api, request)


def _jobs() -> str:
    return RESOURCES[Kind.FINE_TUNE_JOB].path(TEAM)


async def _until(look: Callable[[], Awaitable[bool]], *, seconds: float = 90) -> None:
    async with asyncio.timeout(seconds):
        while not await look():  # noqa: ASYNC110 - nothing would set an event
            await asyncio.sleep(0.1)


async def _until_asked(plane: ControlPlane, *rights: Right) -> None:
    await _until(lambda: _is_recorded(plane, {*rights}))


async def _is_recorded(plane: ControlPlane, rights: set[Right]) -> bool:
    return rights <= {_right(entry) for entry in _asked(plane)}


async def _is_there(api: Api, path: str) -> bool:
    return not await _is_gone(api, path)


async def _is_gone(api: Api, path: str) -> bool:
    return await _uid(api, path) is None


async def _is_another(api: Api, path: str, uid: str) -> bool:
    return await _uid(api, path) not in (None, uid)


async def _uid(api: Api, path: str) -> str | None:
    try:
        found: str = (await api.request("GET", path))["metadata"]["uid"]
    except ApiError as error:
        assert error.status == 404  # noqa: PT017 - it comes or goes
        return None
    return found


async def _says(api: Api, name: str, reason: str) -> bool:
    said = (await api.job(name, namespace=TEAM)).get("status", {}).get("conditions", ())
    return any(condition["reason"] == reason for condition in said)
