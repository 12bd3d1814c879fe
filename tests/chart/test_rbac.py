"""Operator and gateway may do what their code does, and no more."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import yaml

from dev.chart import CHART
from kubetune.cluster.kube.resources import LEASES, RESOURCES, of_manifest
from kubetune.cluster.watch import WATCHED
from kubetune_gateway.contracts import Resource, Verb
from tests.support import chart, golden

RULES = CHART / "templates" / "rbac"
GATEWAY_RULES = CHART / "templates" / "gateway" / "rbac.yaml"
READ = {"get", "list", "watch"}

ALLOWED: dict[tuple[str, str], set[str]] = {
    ("kubetune.dev", "finetunejobs"): READ,
    ("kubetune.dev", "finetunejobs/status"): {"patch"},
    ("kubetune.dev", "finetunejobs/finalizers"): {"update"},
    ("batch", "jobs"): READ | {"create"},
    ("", "pods"): {"list", "watch"},
    ("", "configmaps"): {"get", "list", "create", "delete"},
    ("", "services"): {"get", "list", "create", "delete"},
    ("apps", "deployments"): READ | {"create", "patch", "delete"},
    ("", "persistentvolumeclaims"): {"get", "list", "create"},
    ("networking.k8s.io", "networkpolicies"): {"get", "list", "create", "delete"},
    ("", "events"): {"list"},
    ("events.k8s.io", "events"): {"create"},
}

GATEWAY = {("kubetune.dev", "finetunejobs"): READ | {"create", "patch", "delete"}}

LEASE = [
    {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "resourceNames": ["kubetune"],
        "verbs": ["get", "update"],
    },
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
]
"""In one namespace, beside the rules for jobs."""


@pytest.mark.parametrize("case", chart.CASES)
def test_the_operators_rules_are_these(case: str) -> None:
    roles = operator_roles(chart.render(chart.CASES[case]))
    assert roles
    for role in roles:
        assert grants(role) == ALLOWED


def test_the_operator_may_use_its_own_lease_and_no_other() -> None:
    role = chart.find(chart.render(), "Role", "kubetune-lease")
    assert (role["metadata"]["namespace"], role["rules"]) == (chart.NAMESPACE, LEASE)
    role = chart.find(chart.render(chart.CASES["replicated"]), "Role", "kubetune-lease")
    named = {**LEASE[0], "resourceNames": ["tuner"]}
    assert (role["metadata"]["namespace"], role["rules"]) == ("team-a", [named, LEASE[1]])
    assert (LEASES.group, LEASES.plural) == ("coordination.k8s.io", "leases")


def test_the_rules_cover_what_the_code_watches_and_lists() -> None:
    for kind, resource in RESOURCES.items():
        assert "list" in ALLOWED[resource.group, resource.plural]
        assert ("watch" in ALLOWED[resource.group, resource.plural]) == (kind in WATCHED)
    event = of_manifest({"kind": "Event", "apiVersion": "events.k8s.io/v1"})
    assert "create" in ALLOWED[event.group, event.plural]


def test_the_rules_cover_what_plans_write_and_no_more() -> None:
    plans = [golden.load(name).plan for name in golden.cases()]
    applied = {manifest["kind"] for todo in plans for manifest in todo.apply}
    created = applied | {manifest["kind"] for todo in plans for manifest in todo.create_once}
    deleted = {doomed.kind for todo in plans for doomed in todo.delete}
    for verb, kinds in (("patch", applied), ("create", created), ("delete", deleted)):
        granted = {kind for kind, of in RESOURCES.items() if verb in ALLOWED[of.group, of.plural]}
        assert granted == kinds, verb


@pytest.mark.parametrize("case", chart.CASES)
def test_nobody_gets_secrets_or_wildcards(case: str) -> None:
    objects = chart.render(chart.CASES[case])
    for role in [*chart.of_kind(objects, "ClusterRole"), *chart.of_kind(objects, "Role")]:
        for (group, resource), verbs in grants(role).items():
            assert "*" not in {group, resource, *verbs}
            assert resource.split("/")[0] not in {"secrets", "roles", "rolebindings"}
            assert resource != "serviceaccounts" or verbs == {"get"}  # their tokens are made by others
            assert not resource.startswith("serviceaccounts/")
            assert not verbs & {"escalate", "bind", "impersonate"}


def test_every_verb_has_its_reason_beside_it() -> None:
    for path in (*RULES.iterdir(), GATEWAY_RULES):
        lines = path.read_text().splitlines()
        verbs = [i for i, line in enumerate(lines) if line.strip().startswith("verbs:")]
        for start in verbs:
            assert lines[start].strip() == "verbs:", f"{path.name}:{start + 1}: one verb a line"
            for line in lines[start + 1 :]:
                if not line.strip().startswith("- ") or "apiGroups" in line:
                    break
                assert " # " in line, f"{path.name}: {line.strip()} has no reason"


def test_cluster_mode_has_no_role_in_a_namespace_but_for_the_lease() -> None:
    objects = chart.render()
    for kind in ("Role", "RoleBinding"):
        assert [item["metadata"]["name"] for item in chart.of_kind(objects, kind)] == ["kubetune-lease"]
    assert len(chart.of_kind(objects, "ClusterRoleBinding")) == 1


def test_namespaced_mode_has_no_right_elsewhere_but_for_the_lease() -> None:
    objects = chart.render(chart.CASES["namespaced"])
    assert chart.of_kind(objects, "ClusterRoleBinding") == []
    for kind in ("Role", "RoleBinding"):
        found = [
            (item["metadata"]["namespace"], item["metadata"]["name"]) for item in chart.of_kind(objects, kind)
        ]
        assert found == [
            (chart.NAMESPACE, "kubetune-lease"),
            ("team-a", "kubetune"),
            ("team-b", "kubetune"),
        ]


@pytest.mark.parametrize("case", chart.CASES)
def test_bindings_name_the_account_of_whom_they_are_for_and_an_existing_role(case: str) -> None:
    objects = chart.render(chart.CASES[case])
    accounts = {component(item): item["metadata"] for item in chart.of_kind(objects, "ServiceAccount")}
    for deployment in chart.of_kind(objects, "Deployment"):
        account = accounts[component(deployment)]
        assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == account["name"]
    for binding in [*chart.of_kind(objects, "ClusterRoleBinding"), *chart.of_kind(objects, "RoleBinding")]:
        account = accounts[component(binding)]
        subject = {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
        assert binding["subjects"] == [subject]
        chart.find(objects, binding["roleRef"]["kind"], binding["roleRef"]["name"])


def test_people_who_view_may_read_and_people_who_edit_may_write() -> None:
    objects = chart.render()
    view, edit = (chart.find(objects, "ClusterRole", f"kubetune-{name}") for name in ("view", "edit"))
    assert aggregated(view) == {"view", "edit", "admin"}
    assert aggregated(edit) == {"edit", "admin"}
    write = {"create", "update", "patch", "delete", "deletecollection"}
    assert grants(view) == {
        ("kubetune.dev", "finetunejobs"): READ,
        ("kubetune.dev", "finetunejobs/status"): READ,
        ("kubetune.dev", "finetunejobs/files"): {"get", "list"},
    }
    assert grants(edit) == {
        ("kubetune.dev", "finetunejobs"): write,
        ("kubetune.dev", "finetunejobs/files"): {"create", "update", "delete"},
        ("kubetune.dev", "finetunejobs/completions"): {"create", "get", "list", "update", "delete"},
    }


def test_the_chart_can_be_installed_without_rights_on_the_cluster() -> None:
    objects = chart.render(
        {
            "settings": {"watchNamespaces": [chart.NAMESPACE]},
            "crds": {"enabled": False},
            "rbac": {"aggregate": False},
            "policies": {"operator": {"enabled": False}, "labels": {"enabled": False}},
        }
    )
    assert {item["metadata"].get("namespace") for item in objects} == {chart.NAMESPACE}


def test_roles_can_be_left_to_others() -> None:
    account = {"create": False, "name": "mine"}
    gateway = {**chart.CASES["gateway"]["gateway"], "serviceAccount": account}
    objects = chart.render({"rbac": {"create": False}, "serviceAccount": account, "gateway": gateway})
    for kind in ("ServiceAccount", "ClusterRoleBinding", "RoleBinding", "Role"):
        assert chart.of_kind(objects, kind) == []
    assert operator_roles(objects) == []
    for deployment in chart.of_kind(objects, "Deployment"):
        assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == "mine"


def test_the_gateways_rights_are_these_where_it_serves() -> None:
    for case, kind, namespaces, has_keys in (
        ("gateway", "ClusterRole", [None], True),
        ("whole-gateway", "Role", ["team-b"], False),
    ):
        objects = chart.render(chart.CASES[case])
        roles = [
            role for role in chart.of_kind(objects, kind) if role["metadata"]["name"] == "kubetune-gateway"
        ]
        assert [role["metadata"].get("namespace") for role in roles] == namespaces
        for role in roles:
            assert grants(role) == GATEWAY | ({("", "serviceaccounts"): {"get"}} if has_keys else {})
        assert grants(chart.find(objects, "ClusterRole", "kubetune-callers")) == {
            ("authentication.k8s.io", "tokenreviews"): {"create"},
            ("authorization.k8s.io", "subjectaccessreviews"): {"create"},
        }


def test_the_gateway_has_a_lease_of_its_own_beside_it() -> None:
    role = chart.find(chart.render(chart.CASES["gateway"]), "Role", "kubetune-recorder")
    named = {**LEASE[0], "resourceNames": ["kubetune-gateway"]}
    assert (role["metadata"]["namespace"], role["rules"]) == (chart.NAMESPACE, [named, LEASE[1]])


def test_what_the_gateway_asks_about_is_what_the_roles_of_people_name() -> None:
    view, edit = (chart.find(chart.render(), "ClusterRole", f"kubetune-{name}") for name in ("view", "edit"))
    whole = {**grants(view)}
    for right, verbs in grants(edit).items():
        whole[right] = whole.get(right, set()) | verbs
    for resource in get_args(Resource):
        assert whole["kubetune.dev", resource] >= set(get_args(Verb))


def operator_roles(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = [*chart.of_kind(objects, "ClusterRole"), *chart.of_kind(objects, "Role")]
    own = [role for role in found if not aggregated(role) and component(role) == "operator"]
    return [role for role in own if role["metadata"]["name"] != "kubetune-lease"]


def component(item: dict[str, Any]) -> str:
    return str(item["metadata"]["labels"]["app.kubernetes.io/component"])


def aggregated(role: dict[str, Any]) -> set[str]:
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    return {label.removeprefix(prefix) for label in role["metadata"]["labels"] if label.startswith(prefix)}


def grants(role: dict[str, Any]) -> dict[tuple[str, str], set[str]]:
    return {
        (group, resource): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def test_rules_are_yaml_with_comments() -> None:
    text = chart.render_files()["templates/rbac/operator.yaml"]
    assert list(yaml.safe_load_all(text))
    assert "# the only thing that is written on a FineTuneJob" in text
