"""NetworkPolicies of jobs: whom they let in and where pods get, and when they are made and go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kubetune.children.network import build_pods_policy, build_server_policy, build_sources_policy
from kubetune.facts.views import Kind
from kubetune.servers.intent import intent_of
from kubetune.spec.platform_policy import NetworkPolicies
from kubetune.stages.isolation import isolation
from kubetune.vocabulary.names import ROLE_SERVING, Names
from tests.support import golden

OPERATOR = {
    "podSelector": {"matchLabels": {"app": "operator"}},
    "namespaceSelector": {"matchLabels": {"a": "b"}},
}
PROMETHEUS = {
    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
    "namespaceSelector": {},
}
PLATFORM = NetworkPolicies.model_validate({"operator": OPERATOR})
JOB = {"kubetune.dev/finetunejob": "intents-1"}
TRAINERS = {
    "matchLabels": JOB,
    "matchExpressions": [{"key": "kubetune.dev/role", "operator": "DoesNotExist"}],
}


def test_pods_of_the_trainer_are_reached_by_each_other_and_their_metrics_by_their_readers() -> None:
    assert build_pods_policy(golden.load("minimal-first-visit").job, PLATFORM)["spec"] == {
        "podSelector": TRAINERS,
        "ingress": [
            {"from": [{"podSelector": TRAINERS}]},
            {"from": [OPERATOR, PROMETHEUS], "ports": [{"protocol": "TCP", "port": 9400}]},
        ],
        "egress": [
            {"to": [{"podSelector": {"matchLabels": JOB}}]},
            {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]},
        ],
        "policyTypes": ["Ingress", "Egress"],
    }


def test_a_gateway_reads_what_the_operator_reads() -> None:
    gateway = {
        "podSelector": {"matchLabels": {"app": "gateway"}},
        "namespaceSelector": {"matchLabels": {"a": "b"}},
    }
    platform = NetworkPolicies.model_validate({"operator": OPERATOR, "gateway": gateway, "metricsFrom": []})
    readers = [OPERATOR, gateway]
    pods = build_pods_policy(golden.load("minimal-first-visit").job, platform)["spec"]
    assert pods["ingress"][1] == {"from": readers, "ports": [{"protocol": "TCP", "port": 9400}]}
    server = build_server_policy(with_spec("serving", serving={}).job, platform, role=ROLE_SERVING)["spec"]
    assert server["ingress"][0]["from"] == [{"podSelector": TRAINERS}, *readers, {"podSelector": {}}]


def test_without_readers_nobody_else_comes_in() -> None:
    spec = build_pods_policy(
        golden.load("minimal-first-visit").job, NetworkPolicies.model_validate({"metricsFrom": []})
    )["spec"]
    assert spec["ingress"] == [{"from": [{"podSelector": TRAINERS}]}]  # a rule from nobody is one from all


def test_prepare_gets_to_sources_but_not_to_where_clouds_tell_credentials() -> None:
    policy = build_sources_policy(with_spec("minimal-first-visit").job, PLATFORM)
    assert policy is not None
    assert policy["spec"] == {
        "podSelector": {
            "matchLabels": JOB,
            "matchExpressions": [{"key": "kubetune.dev/stage", "operator": "In", "values": ["prepare"]}],
        },
        "egress": [
            {
                "to": [
                    {"namespaceSelector": {}},
                    {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}},
                    {"ipBlock": {"cidr": "::/0", "except": ["fd00:ec2::/32"]}},
                ]
            }
        ],
        "policyTypes": ["Egress"],
    }


def with_spec(name: str, **spec: Any) -> golden.Case:
    case = golden.load(name)
    return replace(case, raw={**case.raw, "spec": {**case.raw["spec"], **spec}})


def test_who_fetches_nothing_gets_nowhere() -> None:
    mounted = with_spec(
        "minimal-first-visit",
        model={"uri": "pvc://m/a"},
        dataset={"train": {"uri": "configMap://rows/a.jsonl"}},
    )
    assert build_sources_policy(mounted.job, PLATFORM) is None


def test_an_evaluator_gets_out_only_to_judges() -> None:
    unjudged = with_spec("evaluating", evaluation={"metrics": [{"type": "ExactMatch"}]})
    for case, stages in ((golden.load("evaluating"), ["prepare", "evaluate"]), (unjudged, ["prepare"])):
        policy = build_sources_policy(case.job, PLATFORM)
        assert policy is not None
        assert policy["spec"]["podSelector"]["matchExpressions"][0]["values"] == stages


@pytest.mark.parametrize(
    ("allow_from", "peers"),
    [
        (None, [{"podSelector": {}}]),
        ([], []),
        ([{"namespaceSelector": {}}], [{"namespaceSelector": {}}]),
        (
            [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}],
            [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}],
        ),
    ],
)
def test_a_server_is_reached_by_whom_the_spec_names(allow_from: Any, peers: list[Any]) -> None:
    serving = {"gpus": 0} | ({} if allow_from is None else {"allowFrom": allow_from})
    job = with_spec("serving", serving=serving).job
    assert build_server_policy(job, PLATFORM, role=ROLE_SERVING)["spec"] == {
        "podSelector": {"matchLabels": {**JOB, "kubetune.dev/role": "serving"}},
        "ingress": [
            {
                "from": [{"podSelector": TRAINERS}, OPERATOR, PROMETHEUS, *peers],
                "ports": [{"protocol": "TCP", "port": 8000}],
            }
        ],
        "egress": [],
        "policyTypes": ["Ingress", "Egress"],
    }


def test_others_who_may_reach_a_server_do_not_roll_it() -> None:
    def intent(case: golden.Case) -> str | None:
        serving, artifact = case.job.spec.serving, case.observed.artifact
        return intent_of(case.job, serving, artifact, case.settings, planned_gpus=0)

    before = golden.load("serving")
    serving = {**before.raw["spec"]["serving"], "allowFrom": []}
    assert intent(before) is not None
    assert intent(before) == intent(with_spec("serving", serving=serving))


def test_a_policy_that_says_something_else_is_made_before_the_old_one_goes() -> None:
    case = with_spec("serving", serving={"gpus": 0})
    job, observed = case.job, case.observed
    old = build_server_policy(job, NetworkPolicies(), role=ROLE_SERVING)["metadata"]["name"]
    first = isolation(job, observed, PLATFORM)
    made = [manifest["metadata"]["name"] for manifest in first.create_once]
    assert (len(made), first.delete) == (2, ())  # of pods and of the server: both name the operator
    views = [golden.parse_child(manifest) for manifest in first.create_once]
    then = replace(observed, present={**observed.present, **{(view.kind, view.name): view for view in views}})
    second = isolation(job, then, PLATFORM)
    assert second.create_once == ()
    assert old in [doomed.name for doomed in second.delete]
    assert not {doomed.name for doomed in second.delete} & set(made)


def test_turned_off_there_are_none() -> None:
    case = golden.load("serving")
    there = {name for kind, name in case.observed.present if kind is Kind.NETWORK_POLICY}
    todo = isolation(case.job, case.observed, NetworkPolicies(enabled=False))
    assert there
    assert (todo.create_once, {doomed.name for doomed in todo.delete}) == ((), there)


@pytest.mark.parametrize(
    ("name", "is_ours"),
    [
        ("intents-1-network-pods-0123456789abcdef", True),
        ("intents-1-network-pods-0123456789abcde", False),
        ("intents-1-network-0123456789abcdef", False),
        ("other-intents-1-network-pods-0123456789abcdef", False),
        ("intents-1-network", False),
    ],
)
def test_ours_are_known_by_their_names(name: str, is_ours: bool) -> None:
    assert Names("intents-1").is_network(name) == is_ours
