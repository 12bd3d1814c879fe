"""The chart's ValidatingAdmissionPolicies on a real API server: what each lets pass, and what it says."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from kubernetes.aio.client.configuration import Configuration

from dev.chart import CHART
from dev.cluster.binaries import ensure_binaries
from dev.cluster.control_plane import ControlPlane
from dev.cluster.waiting import wait_for
from dev.kubectl import Kubectl
from kubetune.api.v1alpha1 import validate_spec
from kubetune.cluster.kube.connection import KUBECONFIG, load_configuration
from kubetune.cluster.kube.resources import of_manifest
from kubetune.spec.allowed import check_allowed, check_allowed_serving
from kubetune.spec.platform_policy import PlatformPolicy
from kubetune.spec.settings import JobSettings
from kubetune.vocabulary.errors import SpecError
from tests.support import chart, golden
from tests.support.apiserver import Api, ApiError

pytestmark = pytest.mark.apiserver

Json = dict[str, Any]

OPERATOR = f"system:serviceaccount:{chart.NAMESPACE}:kubetune"
TENANT = "tenant"
"""Somebody who may do everything in RBAC's eyes."""
TEAMS = ("team-a", "team-b", "team-c")
MINE = "registry.example.com"
VALUES = chart.CASES["policies"] | {
    # The golden cases' platform.
    "settings": chart.CASES["policies"]["settings"]
    | {
        "trainerImage": {"repository": f"{MINE}/kubetune/trainer"},
        "servingImage": {"repository": f"{MINE}/vllm/vllm-openai"},
        "servingCpuImage": {"repository": f"{MINE}/kubetune/serving-cpu"},
    }
}


SETTINGS = JobSettings.model_validate(golden.SETTINGS)


class Server:
    """An API server with the chart, and what it says to requests."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration

    async def refusal(
        self,
        manifest: Json,
        method: str = "POST",
        *,
        user: str,
        groups: Sequence[str] = (),
    ) -> str:
        """What is said to a user's request, which changes nothing; empty when it passes."""
        meta = manifest["metadata"]
        path = of_manifest(manifest).path(meta["namespace"], None if method == "POST" else meta["name"])
        body = None if method == "DELETE" else manifest
        async with Api(self.configuration) as api:
            try:
                await api.request(
                    method,
                    f"{path}?dryRun=All",
                    body,
                    user=user,
                    groups=["system:authenticated", *groups],
                )
            except ApiError as error:
                return error.body
        return ""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    programs = ensure_binaries()
    with ControlPlane.temporary() as plane:
        kubectl = Kubectl(
            program=programs.program("kubectl"), helm=programs.program("helm"), kubeconfig=plane.kubeconfig
        )
        for namespace in (*TEAMS, "other", chart.NAMESPACE):
            kubectl("create", "namespace", namespace)
        for team in TEAMS:
            kubectl("label", "namespace", team, "example.com/gpu-team=yes")
        kubectl("label", "namespace", "team-b", "kubetune.dev/max-gpus-per-job=2")
        kubectl(
            "create",
            "clusterrolebinding",
            TENANT,
            "--clusterrole=cluster-admin",
            "--group=system:authenticated",
        )
        values = tmp_path_factory.mktemp("values") / "values.json"
        values.write_text(json.dumps(VALUES))
        kubectl.run_helm("install", chart.RELEASE, CHART, "-n", chart.NAMESPACE, "--values", values)
        made = Server(asyncio.run(load_configuration({KUBECONFIG: str(plane.kubeconfig)})))
        wait_for("the policies", lambda: asyncio.run(_in_force(made)), seconds=60)
        yield made


async def _in_force(server: Server) -> bool:
    return all([case.says in await refused(server, case) for case in PROBES])


def job(
    *, namespace: str = "team-a", name: str = "tuned", annotations: Json | None = None, **spec: Any
) -> Json:
    return {
        "apiVersion": "kubetune.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations or {}},
        "spec": {
            "model": {"uri": "pvc://models/tiny"},
            "dataset": {"train": {"uri": "pvc://datasets/train.jsonl"}},
            "training": {"gpusPerNode": 0},
            **spec,
        },
    }


def child(kind: str, of: str = "two-nodes-gpu") -> Json:
    """What the operator makes in a golden case."""
    todo = golden.load(of).plan
    found = next(m for m in (*todo.create_once, *todo.apply) if m["kind"] == kind)
    return copy.deepcopy(dict(found))


def config_map() -> Json:
    return child("ConfigMap", "minimal-first-visit")


def changed(manifest: Json, change: Callable[[Json], object]) -> Json:
    change(manifest)
    return manifest


def pod_of(manifest: Json) -> Json:
    pod: Json = manifest["spec"]["template"]["spec"]
    return pod


def running(change: Callable[[Json, Json], object], kind: str = "Job") -> Json:
    """A child whose pod and container are changed."""
    return changed(child(kind, KINDS[kind]), lambda m: change(pod_of(m), pod_of(m)["containers"][0]))


KINDS = {
    "Job": "two-nodes-gpu",
    "Deployment": "deploying",
    "Service": "minimal-first-visit",
    "PersistentVolumeClaim": "minimal-first-visit",
    "ConfigMap": "minimal-first-visit",
    "NetworkPolicy": "minimal-first-visit",
}


def mounted(**volume: Any) -> Json:
    return running(lambda pod, _: pod["volumes"].append({"name": "mine", **volume}))


def token(**projection: Any) -> Json:
    return mounted(projected={"sources": [{"serviceAccountToken": {"path": "token", **projection}}]})


def of(kind: str, change: Callable[[Json], object]) -> Json:
    return changed(child(kind, KINDS[kind]), change)


def drop(*path: str) -> Callable[[Json], object]:
    def change(manifest: Json) -> None:
        for part in path[:-1]:
            manifest = manifest[part]
        del manifest[path[-1]]

    return change


def in_namespace(manifest: Json, namespace: str) -> Json:
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}


@dataclass(frozen=True)
class Case:
    """A request, and what is said to it; empty when it passes."""

    name: str
    manifest: Json
    says: str = ""
    user: str = TENANT
    groups: tuple[str, ...] = ()


def images(**of: str) -> Json:
    return {
        part: {**({"gpusPerNode": 0} if part == "training" else {}), "image": name}
        for part, name in of.items()
    }


def account(name: str) -> Json:
    return {"podTemplate": {"serviceAccountName": name}}


NOT_ALLOWED = "have the repository added to settings.allowedImages"
IMAGES = [
    Case("the platform's", job()),
    Case("a repository below", job(**images(training=f"{MINE}/ml/a/trainer:1"))),
    Case("by digest", job(**images(serving=f"{MINE}/ml/server:1@sha256:{'0' * 64}"))),
    Case("without registry", job(**images(training="python:3"))),
    Case("in full", job(**images(training="docker.io/library/python@sha256:1"))),
    Case("Docker's short form", job(**images(training="docker.io/python:3"))),
    Case("another", job(**images(training="evil.example.com/trainer")), NOT_ALLOWED),
    Case("a name that begins so", job(**images(training=f"{MINE}/ml-evil/trainer")), NOT_ALLOWED),
    Case(
        "a server's",
        job(**images(serving=f"{MINE}.evil.example.com/ml/x")),
        "be of registry.example.com.evil",
    ),
    Case("a port is no tag", job(**images(training="python:5000/python")), "be of python:5000/python"),
    Case("somebody's of the name", job(**images(training="evil/python")), "docker.io/evil/python"),
]

NO_ACCOUNT = "podTemplate.serviceAccountName may not be"
ACCOUNTS = [
    Case("listed", job(podTemplate={"serviceAccountName": "nlp"})),
    Case("by its beginning", job(training={"gpusPerNode": 0, **account("trainer-a")})),
    Case("of the namespace", job(namespace="team-b", **account("trainer-b"))),
    Case("another", job(**account("default")), f"{NO_ACCOUNT} default in namespace team-a"),
    Case("of a server", job(serving=account("admin")), f"{NO_ACCOUNT} admin"),
    Case(
        "of another namespace",
        job(namespace="team-b", **account("nlp")),
        "policies.serviceAccounts.byNamespace",
    ),
]

DEVICES = {"limits": {"nvidia.com/mig-1g.10gb": "5"}}
MOST = "a job may have at most"
GPUS = [
    Case("as many", job(training={"gpusPerNode": 4, "nodes": 2})),
    Case("of a server", job(serving={"gpus": 4, "replicas": 2})),
    Case("few in a namespace of few", job(namespace="team-b", training={"gpusPerNode": 2})),
    Case(
        "no devices",
        job(training={"gpusPerNode": 0, "resources": {"limits": {"cpu": "64", "memory": "1Ti"}}}),
    ),
    Case("some devices", job(training={"gpusPerNode": 0, "resources": DEVICES})),
    Case("on too many nodes", job(training={"gpusPerNode": 4, "nodes": 4}), f"is 16, and {MOST} 8 GPUs"),
    Case("of too many servers", job(serving={"gpus": 4, "replicas": 3}), f"is 12, and {MOST} 8 GPUs"),
    Case(
        "a namespace's own", job(namespace="team-b", training={"gpusPerNode": 4}), f"is 4, and {MOST} 2 GPUs"
    ),
    Case(
        "of a server that says none", job(training={"gpusPerNode": 1}, serving={}), "serving.gpus is left out"
    ),
    Case(
        "other devices on all nodes",
        job(training={"gpusPerNode": 0, "nodes": 2, "batchSize": 2, "resources": DEVICES}),
        "training.resources asks for more than 8",
    ),
    Case(
        "a server's",
        job(serving={"gpus": 0, "replicas": 2, "resources": {"requests": {"amd.com/gpu": "1k"}}}),
        "serving.resources asks for more than 8",
    ),
]

PROMOTED = {"kubetune.dev/promote": "I know better."}
PROMOTIONS = [
    Case("other annotations", job(annotations={"example.com/note": "x"})),
    Case("by a user", job(annotations=PROMOTED), user="jane"),
    Case("by a group", job(annotations=PROMOTED), user="joe", groups=("reviewers",)),
    Case("by another", job(annotations=PROMOTED), "tenant may not set the annotation kubetune.dev/promote"),
]

PLANTED = "tenant may not set the label"
MANAGED = {"app.kubernetes.io/managed-by": "kubetune"}
OURS = {"kubetune.dev/finetunejob": "tuned"}


def labelled(kind: str, labels: Json, *, template: bool = False) -> Json:
    made = in_namespace(child(kind, KINDS[kind]), "team-c")
    del made["metadata"]["ownerReferences"]
    mine = {"example.com/app": "x"}
    if "template" in made["spec"]:
        made["spec"]["template"]["metadata"]["labels"] = mine | (labels if template else {})
        if kind == "Deployment":
            made["spec"]["selector"] = {"matchLabels": mine}
    made["metadata"]["labels"] = {} if template else labels
    return made


def claim(labels: Json) -> Json:
    made = of("PersistentVolumeClaim", lambda m: m["metadata"].update(labels=labels))
    return in_namespace(made, "team-c")


def pod(labels: Json) -> Json:
    container = {"name": "x", "image": "x"}
    meta = {"name": "x", "namespace": "team-c", "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [container]}}


CONTROLLER = "system:serviceaccount:kube-system:"
LABELS = [
    Case("none", claim({"example.com/app": "x"})),
    Case(
        "of another manager",
        claim({"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/name": "kubetune"}),
    ),
    Case("by administrators", claim(OURS), user="root", groups=("system:masters",)),
    Case("by a restore", claim(OURS), user="system:serviceaccount:backup:backup"),
    Case("of a pod by the Job controller", pod(OURS), user=f"{CONTROLLER}job-controller"),
    Case("of a pod by the ReplicaSet controller", pod(OURS), user=f"{CONTROLLER}replicaset-controller"),
    Case("of a pod by a controller without account", pod(OURS), user="system:kube-controller-manager"),
    Case("of a claim", claim(OURS), f"{PLANTED} kubetune.dev/finetunejob"),
    Case("of a claim's manager", claim(MANAGED), f"{PLANTED} app.kubernetes.io/managed-by"),
    Case("of a pod", pod(OURS | {"kubetune.dev/role": "serving"}), PLANTED),
    Case(
        "of a StatefulSet's pod",
        pod(OURS),
        "may not set the label",
        user=f"{CONTROLLER}statefulset-controller",
    ),
    Case("of a Job", labelled("Job", OURS), PLANTED),
    Case("of a NetworkPolicy", labelled("NetworkPolicy", OURS), PLANTED),
    Case("of a Job's pods", labelled("Job", OURS, template=True), PLANTED),
    Case("of a Deployment's pods", labelled("Deployment", OURS, template=True), PLANTED),
]

OPERATORS = [
    Case("a token of an allowed audience", token(audience="sts.example.com")),
    Case("a volume of an allowed driver", mounted(csi={"driver": "secrets-store.csi.k8s.io"})),
    Case(
        "an image that jobs may name", running(lambda _, c: c.update(image=f"{MINE}/ml/x@sha256:{'0' * 64}"))
    ),
    Case(
        "a container that says it again", running(lambda _, c: c["securityContext"].update(runAsNonRoot=True))
    ),
    Case(
        "system calls of a container",
        running(lambda _, c: c["securityContext"].update(seccompProfile={"type": "Unconfined"})),
        "restricted",
    ),
    Case(
        "no profile",
        running(lambda p, _: p["securityContext"].update(appArmorProfile={"type": "Unconfined"})),
        "restricted",
    ),
    Case(
        "settings of the kernel",
        running(lambda p, _: p["securityContext"].update(sysctls=[{"name": "kernel.msgmax", "value": "1"}])),
        "restricted",
    ),
    Case("another namespace", in_namespace(config_map(), "other"), "lacks the label"),
    Case("no owner", of("ConfigMap", drop("metadata", "ownerReferences")), "is owned by a FineTuneJob"),
    Case(
        "another owner",
        of(
            "ConfigMap",
            lambda m: m["metadata"]["ownerReferences"][0].update(kind="Job", apiVersion="batch/v1"),
        ),
        "is owned by a FineTuneJob",
    ),
    Case(
        "an owner that controls nothing",
        of("ConfigMap", lambda m: m["metadata"]["ownerReferences"][0].update(controller=False)),
        "is owned by a FineTuneJob",
    ),
    Case(
        "a claim of another name",
        of("PersistentVolumeClaim", lambda m: m["metadata"].update(name="x")),
        "owned by",
    ),
    Case(
        "no label",
        of("ConfigMap", lambda m: m["metadata"]["labels"].pop("kubetune.dev/finetunejob")),
        "owned by",
    ),
    Case(
        "another manager",
        of("ConfigMap", drop("metadata", "labels", "app.kubernetes.io/managed-by")),
        "its labels",
    ),
    Case(
        "another's name",
        of("ConfigMap", lambda m: m["metadata"].update(name="kube-root-ca.crt")),
        "name of its",
    ),
    Case("a pod", in_namespace(pod({}), "team-a"), "makes no pods"),
    Case("a network of the node", running(lambda p, _: p.update(hostNetwork=True)), "name of a node"),
    Case("processes of the node", running(lambda p, _: p.update(hostPID=True)), "name of a node"),
    Case("memory of the node", running(lambda p, _: p.update(hostIPC=True)), "name of a node"),
    Case("a node", running(lambda p, _: p.update(nodeName="x"), "Deployment"), "name of a node"),
    Case(
        "a port of the node",
        running(lambda _, c: c["ports"][0].update(hostPort=80), "Deployment"),
        "of a node",
    ),
    Case("root", running(lambda p, _: p["securityContext"].update(runAsNonRoot=False)), "restricted"),
    Case(
        "a root of the container",
        running(lambda _, c: c["securityContext"].update(runAsUser=0)),
        "restricted",
    ),
    Case(
        "privileges",
        running(lambda _, c: c["securityContext"].update(allowPrivilegeEscalation=True)),
        "restricted",
    ),
    Case(
        "capabilities",
        running(lambda _, c: c["securityContext"]["capabilities"].update(add=["SYS_ADMIN"])),
        "restr",
    ),
    Case("all capabilities", running(lambda _, c: c["securityContext"].pop("capabilities")), "restricted"),
    Case("system calls", running(lambda p, _: p["securityContext"].pop("seccompProfile")), "restricted"),
    Case(
        "a first container with privileges",
        running(
            lambda p, c: p.update(
                initContainers=[{**c, "name": "x", "securityContext": {"privileged": True}}]
            )
        ),
        "restricted",
    ),
    Case(
        "an annotation for a profile",
        of(
            "Job",
            lambda m: m["spec"]["template"]["metadata"].update(
                annotations={"container.apparmor.security.beta.kubernetes.io/trainer": "unconfined"}
            ),
        ),
        "no annotation that takes a profile",
    ),
    Case(
        "other pods",
        of("Job", lambda m: m["spec"]["template"]["metadata"].update(labels={})),
        "have its labels",
    ),
    Case("a path of the node", mounted(hostPath={"path": "/"}), "nothing of a node"),
    Case("a share", mounted(nfs={"server": "x", "path": "/"}), "nothing of a node"),
    Case("another driver", mounted(csi={"driver": "evil.csi.example.com"}), "settings.allowedCsiDrivers"),
    Case(
        "the token",
        running(lambda p, _: p.update(automountServiceAccountToken=True)),
        "allowedTokenAudiences",
    ),
    Case(
        "the token by default",
        running(lambda p, _: p.pop("automountServiceAccountToken")),
        "allowedTokenAudiences",
    ),
    Case("the token as file", token(), "settings.allowedTokenAudiences"),
    Case(
        "another audience", token(audience="https://kubernetes.default.svc"), "settings.allowedTokenAudiences"
    ),
    Case(
        "another image",
        running(lambda _, c: c.update(image="evil.example.com/x:1")),
        "settings.allowedImages",
    ),
    Case(
        "another image first",
        running(
            lambda p, c: p.update(initContainers=[{**c, "name": "x", "image": f"{MINE}/vllm/vllm-openai2"}])
        ),
        "settings.allowedImages",
    ),
    Case(
        "a way in from outside",
        of("Service", lambda m: m["spec"].update(externalIPs=["192.0.2.1"])),
        "from within",
    ),
    Case(
        "somebody's pods", of("Service", lambda m: m["spec"].update(selector={"app": "bank"})), "from within"
    ),
    Case(
        "a way out",
        of("Service", lambda m: m.update(spec={"type": "ExternalName", "externalName": "x.y"})),
        "within",
    ),
    Case(
        "somebody's policy",
        of("NetworkPolicy", lambda m: m["spec"].update(podSelector={})),
        "NetworkPolicies that the operator",
    ),
    Case(
        "somebody's volume",
        of("PersistentVolumeClaim", lambda m: m["spec"].update(volumeName="x")),
        "are empty",
    ),
    Case(
        "a copy of a claim",
        of(
            "PersistentVolumeClaim",
            lambda m: m["spec"].update(dataSource={"kind": "PersistentVolumeClaim", "name": "x"}),
        ),
        "are empty",
    ),
]

TABLES = {
    "images": IMAGES,
    "service-accounts": ACCOUNTS,
    "gpus": GPUS,
    "promote": PROMOTIONS,
    "labels": LABELS,
    "operator": [Case(case.name, case.manifest, case.says, OPERATOR) for case in OPERATORS],
}


def assert_said(said: str, says: str) -> None:
    """Compare; nothing said is that it passed."""
    assert (said == "") == (says == ""), said
    assert says in said


PROBES = [next(case for case in cases if case.says) for cases in TABLES.values()]
"""One refusal of each policy: just after an install the API server has none in force."""


async def refused(server: Server, case: Case) -> str:
    return await server.refusal(case.manifest, user=case.user, groups=case.groups)


@pytest.mark.parametrize(
    ("policy", "case"),
    [
        pytest.param(policy, case, id=f"{policy}: {case.name}")
        for policy, cases in TABLES.items()
        for case in cases
    ],
)
async def test_a_policy_lets_pass_and_refuses(server: Server, policy: str, case: Case) -> None:
    said = await refused(server, case)
    assert_said(said, case.says)
    assert not said or f"ValidatingAdmissionPolicy 'kubetune-{policy}" in said


@pytest.mark.parametrize("name", golden.cases())
async def test_all_that_the_operator_makes_passes(server: Server, name: str) -> None:
    todo = golden.load(name).plan
    for manifest in (*todo.create_once, *todo.apply):
        assert await server.refusal(dict(manifest), user=OPERATOR) == ""


@pytest.mark.parametrize("case", IMAGES, ids=lambda case: case.name)
def test_the_operator_agrees_about_images(case: Case) -> None:
    allowed = PlatformPolicy(allowed_images=tuple(VALUES["settings"]["allowedImages"]))
    told = ""
    try:
        made = validate_spec(changed(copy.deepcopy(case.manifest), lambda m: m["metadata"].update(uid="u")))
        check_allowed(made, allowed, SETTINGS)
        check_allowed_serving(made, allowed, SETTINGS)
    except SpecError as error:
        told = str(error)
    assert (told == "") == (case.says == ""), told


async def test_the_operator_changes_and_deletes_only_what_a_job_owns(server: Server) -> None:
    async with Api(server.configuration) as api:
        owner = await api.request("POST", JOBS, job(name="owner"))
        made = config_map()
        made["metadata"]["ownerReferences"][0] |= {"name": "owner", "uid": owner["metadata"]["uid"]}
        made["metadata"] |= {
            "name": "owner-config",
            "labels": MANAGED | {"kubetune.dev/finetunejob": "owner"},
        }
        theirs = copy.deepcopy(made)
        del theirs["metadata"]["ownerReferences"], theirs["metadata"]["labels"]
        theirs["metadata"]["name"] = "owner-bank"
        unlabelled = copy.deepcopy(made)
        del unlabelled["metadata"]["labels"]
        unlabelled["metadata"]["name"] = "owner-guard"
        for manifest in (made, theirs, unlabelled):
            await api.request("POST", MAPS, {**manifest, "immutable": False})
    taken = changed(copy.deepcopy(made), lambda manifest: manifest["metadata"].update(name="owner-bank"))
    labelled_again = changed(
        copy.deepcopy(made), lambda manifest: manifest["metadata"].update(name="owner-guard")
    )
    only = "changes and deletes only what a FineTuneJob owns"
    for manifest, method, says in (
        (made, "PUT", ""),
        (labelled_again, "PUT", ""),
        (taken, "PUT", only),
        (unlabelled, "PUT", "has its name as label"),
        (made, "DELETE", ""),
        (unlabelled, "DELETE", ""),
        (theirs, "DELETE", only),
    ):
        said = await server.refusal(manifest, method, user=OPERATOR)
        assert_said(said, says)


async def test_labels_that_are_there_may_stay_and_go(server: Server) -> None:
    labels = OURS | MANAGED
    made = claim(labels)
    async with Api(server.configuration) as api:
        await api.request("POST", "/api/v1/namespaces/team-c/persistentvolumeclaims", made)
    noted = changed(claim(labels), lambda manifest: manifest["metadata"]["annotations"].update(x="y"))
    for manifest, says in (
        (noted, ""),
        (claim({}), ""),
        (claim(labels | {"kubetune.dev/finetunejob": "other"}), PLANTED),
        (claim(labels | {"kubetune.dev/stage": "train"}), f"{PLANTED} kubetune.dev/stage"),
    ):
        said = await server.refusal(manifest, "PUT", user=TENANT)
        assert_said(said, says)


async def test_a_job_that_was_there_can_be_edited_but_not_go_further(server: Server) -> None:
    async with Api(server.configuration) as api:
        made = await api.request("POST", JOBS, job(name="before", serving={"gpus": 8}))
        await _limit(server, api, "4", f"is 8, and {MOST} 4 GPUs")
        for change, says in (
            (lambda m: m["metadata"].update(labels={"x": "y"}), ""),
            (lambda m: m["spec"]["serving"].update(gpus=2), ""),
            (lambda m: m["spec"]["serving"].update(replicas=2), f"is 16, and {MOST} 4 GPUs"),
        ):
            assert_said(await server.refusal(edited(made, change), "PUT", user=TENANT), says)
        await _limit(server, api, "many", '"many\\", which is no number of GPUs')
        await _limit(server, api, None, "")


async def test_who_promotes_is_asked_when_the_annotation_changes(server: Server) -> None:
    async with Api(server.configuration) as api:
        made = await api.request(
            "POST", JOBS, job(name="promoted", annotations=PROMOTED), user="jane", groups=ALL
        )
    for change, says in (
        (lambda m: m["metadata"].update(labels={"x": "y"}), ""),
        (lambda m: m["metadata"].update(annotations={}), ""),
        (
            lambda m: m["metadata"].update(annotations={"kubetune.dev/promote": "So do I."}),
            "may not set the annotation",
        ),
    ):
        said = await server.refusal(edited(made, change), "PUT", user=TENANT)
        assert_said(said, says)


async def test_the_api_server_finds_no_fault_in_the_expressions(server: Server) -> None:
    found: dict[str, Json] = {}
    async with Api(server.configuration) as api, asyncio.timeout(60):
        while not found or not all("observedGeneration" in status for status in found.values()):
            await asyncio.sleep(0.2)
            items = await api.items("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies")
            found = {item["metadata"]["name"]: item.get("status", {}) for item in items}
    assert sorted(found) == sorted(f"kubetune-{name}" for name in TABLES)
    assert {name: status["typeChecking"] for name, status in found.items() if status["typeChecking"]} == {}


JOBS = "/apis/kubetune.dev/v1alpha1/namespaces/team-a/finetunejobs"
MAPS = "/api/v1/namespaces/team-a/configmaps"
ALL = ("system:authenticated",)


def edited(made: Json, change: Callable[[Json], object]) -> Json:
    return changed(copy.deepcopy(made), change)


async def _limit(server: Server, api: Api, value: str | None, says: str) -> None:
    """Label the namespace, and return when a job of eight GPUs is told so."""
    body = {"metadata": {"labels": {"kubetune.dev/max-gpus-per-job": value}}}
    await api.request("PATCH", "/api/v1/namespaces/team-a", body, content="application/merge-patch+json")
    said = "not asked yet"
    async with asyncio.timeout(30):
        while says not in said or (said == "") != (says == ""):
            await asyncio.sleep(0.2)
            said = await server.refusal(job(name="new", serving={"gpus": 8}), user=TENANT)
