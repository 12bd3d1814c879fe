"""A real API server denies: who did it is known by its words, and lifting a policy is enough."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from dev.cluster.control_plane import ControlPlane
from dev.cluster.pki import Authority, Identity
from kubetune.cluster.kube.client import ApiKube
from kubetune.cluster.kube.connection import KUBECONFIG, load_configuration
from kubetune.facts.views import Kind
from kubetune.vocabulary.errors import Invalid, KubeTuneError, MissingPermission, Rejected, WebhookFailed
from tests.support import messages
from tests.support.apiserver import Api, ApiError, FakeKubelet, condition
from tests.support.operator_process import operator_process

pytestmark = pytest.mark.apiserver

_REGISTRATION = "/apis/admissionregistration.k8s.io/v1"
SETTINGS = {"KUBETUNE_TRAINER_IMAGE": "trainer:1", "KUBETUNE_SERVING_IMAGE": "serving:1"}


@pytest.fixture(scope="module")
def control_plane() -> Iterator[ControlPlane]:
    with ControlPlane.temporary() as running_plane:
        yield running_plane


@asynccontextmanager
async def _client(kubeconfig: Path) -> AsyncIterator[ApiKube]:
    kube = ApiKube(await load_configuration({KUBECONFIG: str(kubeconfig)}), on_request=lambda *_: None)
    try:
        yield kube
    finally:
        await kube.close()


async def _deny(api: Api, name: str, resource: tuple[str, str], *, expression: str, reason: str) -> str:
    """Make a policy and its binding; return the binding's path."""
    group, plural = resource
    rule = {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [plural]}
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": expression, "message": "not on Fridays", "reason": reason}],
    }
    manifest = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    policies = f"{_REGISTRATION}/validatingadmissionpolicies"
    bindings = f"{_REGISTRATION}/validatingadmissionpolicybindings"
    async with asyncio.timeout(60):
        while True:
            with suppress(ApiError):  # just after its start the API server takes none
                kind = {"kind": "ValidatingAdmissionPolicy", "spec": spec}
                await api.request("POST", policies, {**manifest, **kind})
                break
            await asyncio.sleep(0.5)
    bound = {"policyName": name, "validationActions": ["Deny"]}
    kind = {"kind": "ValidatingAdmissionPolicyBinding", "spec": bound}
    await api.request("POST", bindings, {**manifest, **kind})
    return f"{bindings}/{name}"


async def _refusal(kube: ApiKube, name: str) -> KubeTuneError:
    """What is said to a ConfigMap of this name, once policies and webhooks have come into force."""
    meta = {"namespace": "default", "name": name}
    async with asyncio.timeout(60):
        while True:
            try:
                raw = await kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})
            except KubeTuneError as error:
                return error
            await kube.delete(Kind.CONFIG_MAP, "default", name, uid=raw["metadata"]["uid"])
            await asyncio.sleep(0.5)


@pytest.mark.parametrize("reason", ["Forbidden", "Invalid", "RequestEntityTooLarge"])
async def test_a_policy_denies_whatever_its_reason(control_plane: ControlPlane, reason: str) -> None:
    configuration = await load_configuration({KUBECONFIG: str(control_plane.kubeconfig)})
    name = reason.lower()
    async with Api(configuration) as api, _client(control_plane.kubeconfig) as kube:
        only = f"object.metadata.name != '{name}'"
        binding = await _deny(api, name, ("", "configmaps"), expression=only, reason=reason)
        error = await _refusal(kube, name)
        assert type(error) is Rejected
        assert "denied request: not on Fridays" in str(error)
        await api.request("DELETE", binding)


async def test_a_webhook_denies_with_any_code_and_may_be_away(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    response: dict[str, Any] = {}

    async def review(request: web.Request) -> web.Response:
        asked = (await request.json())["request"]["uid"]
        answer = {"uid": asked, "allowed": False, **response}
        return web.json_response(
            {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}
        )

    authority = Authority(tmp_path / "pki")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(Identity(name="hook", user="hook", hosts=["127.0.0.1"])))
    app = web.Application()
    app.router.add_post("/", review)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    hook = {
        "name": "deny.example.com",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 2,
        "clientConfig": {
            "url": f"https://127.0.0.1:{runner.addresses[0][1]}/",
            "caBundle": base64.b64encode(authority.certificate.read_bytes()).decode(),
        },
        "rules": [rule],
        "matchConditions": [{"name": "ours", "expression": "object.metadata.name == 'hooked'"}],
    }
    manifest = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "deny"},
        "webhooks": [hook],
    }
    configuration = await load_configuration({KUBECONFIG: str(control_plane.kubeconfig)})
    async with Api(configuration) as api, _client(control_plane.kubeconfig) as kube:
        await api.request("POST", f"{_REGISTRATION}/validatingwebhookconfigurations", manifest)
        assert type(await _refusal(kube, "hooked")) is Rejected
        for code in (400, 401, 403, 404, 409, 422, 429, 500, 503):
            response["status"] = {"code": code, "message": "not today"}
            error = await _refusal(kube, "hooked")
            assert type(error) is Rejected
            assert f'{code} admission webhook "deny.example.com" denied the request: not today' in str(error)
        await runner.cleanup()
        assert type(await _refusal(kube, "hooked")) is WebhookFailed
        await api.request("DELETE", f"{_REGISTRATION}/validatingwebhookconfigurations/deny")


async def test_its_own_rules_and_rights_are_told_from_both(control_plane: ControlPlane) -> None:
    def job(container: dict[str, Any]) -> dict[str, Any]:
        pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i", **container}]}
        meta = {"namespace": "default", "name": "wrong"}
        spec = {"template": {"spec": pod}}
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec}

    wrong = {"resources": {"requests": {"example.com/x": "1"}}}, {"command": "no list"}
    async with _client(control_plane.kubeconfig) as kube:
        for container in wrong:
            with pytest.raises(Invalid):
                await kube.create(job(container))
            with pytest.raises(Invalid):
                await kube.apply(job(container))
    account = Identity(name="nobody", user="system:serviceaccount:kubetune:operator")
    async with _client(control_plane.instance.kubeconfig(account)) as kube:
        with pytest.raises(MissingPermission, match='cannot create resource "jobs" in API group "batch"'):
            await kube.create(job({}))
        with pytest.raises(MissingPermission, match='cannot list resource "pods"'):
            await kube.list(Kind.POD, "default", selector="")


async def test_a_status_that_is_pruned_keeps_its_version(control_plane: ControlPlane) -> None:
    """By which it is known that nobody else wrote."""
    configuration = await load_configuration({KUBECONFIG: str(control_plane.kubeconfig)})
    async with Api(configuration) as api, _client(control_plane.kubeconfig) as kube:
        with suppress(ApiError):  # it is there
            await api.install_crd()
        raw = await api.create_job("pruned")
        uid = raw["metadata"]["uid"]
        status = {"observedGeneration": 1, "unheardOf": "x"}
        first = await kube.patch_status("default", "pruned", uid=uid, status=status)
        assert first["status"] == {"observedGeneration": 1}
        again = await kube.patch_status("default", "pruned", uid=uid, status=status)
        assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        await api.delete_job("pruned")


async def test_a_job_whose_pods_a_policy_denies_goes_on_when_it_is_lifted(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    configuration = await load_configuration({KUBECONFIG: str(control_plane.kubeconfig)})
    async with Api(configuration) as api, FakeKubelet(api=api, script=messages.ends_well):
        with suppress(ApiError):  # it is there
            await api.install_crd()
        only = "!object.metadata.name.startsWith('denied-')"
        binding = await _deny(api, "no-jobs", ("batch", "jobs"), expression=only, reason="Invalid")
        await asyncio.sleep(5)  # nothing tells that it is in force
        with operator_process(control_plane.kubeconfig, SETTINGS, log=tmp_path / "operator.log"):
            await api.create_job("denied")
            await _until(api, "Reconciling", reason="PodRejected")
            said = condition(await api.job("denied"), "Reconciling")
            assert "denied request: not on Fridays" in said["message"]
            assert not condition(await api.job("denied"), "Stalled")
            await api.request("DELETE", binding)
            await _until(api, "Trained", reason="Completed")


async def _until(api: Api, type_: str, *, reason: str) -> None:
    async with asyncio.timeout(180):
        while condition(await api.job("denied"), type_).get("reason") != reason:  # noqa: ASYNC110
            await asyncio.sleep(0.5)
