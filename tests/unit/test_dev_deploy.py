"""Installing the chart: what is compared with what is there, and what belongs to others."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from dev import deploy, gateway, session
from dev.images.build import ImageRefs
from dev.kubectl import Kubectl
from dev.paths import REPOSITORY
from dev.target import Foreign, TargetError
from kubetune_gateway.process.settings import load
from tests.support import chart

IMAGES = ImageRefs(
    operator="r/operator:t1", trainer="r/trainer:t2", serving_cpu="r/serving-cpu:t3", gateway="r/gateway:t4"
)
VALUES = {
    "image": {"repository": "r/operator", "tag": "t1"},
    "settings": {
        "trainerImage": {"repository": "r/trainer", "tag": "t2"},
        "servingCpuImage": {"repository": "r/serving-cpu", "tag": "t3"},
    },
    "gateway": {"image": {"repository": "r/gateway", "tag": "t4"}},
}


@dataclass(frozen=True, kw_only=True)
class Installed(Kubectl):
    """A cluster with a release, whose operator is ready; remembers what helm was asked to change."""

    release: dict[str, Any]
    ready: tuple[str, ...] = ("kubetune",)
    upgrades: list[tuple[str | Path, ...]] = field(default_factory=list)

    @override
    def run_helm(self, *args: str | Path) -> str:
        match args[0]:
            case "upgrade":
                self.upgrades.append(args)
                return ""
            case "list":
                return json.dumps([{"name": "kubetune"}] if self.release else [])
            case _:
                return json.dumps(self.release)

    @override
    def find(self, *args: str) -> Any | None:
        return {"status": {"readyReplicas": int(args[1] in self.ready)}}


def cluster(**release: Any) -> Installed:
    return Installed(program=Path("kubectl"), helm=Path("helm"), kubeconfig=Path("config"), release=release)


def installed(
    *, description: str, values: dict[str, Any] | None = None, status: str = "deployed"
) -> Installed:
    return cluster(info={"status": status, "description": description}, config=values)


def this_chart() -> str:
    return f"chart {deploy.chart_digest(REPOSITORY / 'charts' / 'kubetune')}"


def test_the_same_chart_with_the_same_values_is_left_alone() -> None:
    there = installed(description=this_chart(), values=VALUES)
    deploy.install(there, IMAGES)
    assert there.upgrades == []


def test_with_the_gateways_values_it_is_waited_for_as_well() -> None:
    gateway = {"enabled": True, "storage": {"bucket": "clients"}}
    values = {**VALUES, "gateway": {**VALUES["gateway"], **gateway}}
    there = installed(description=this_chart(), values=values)
    deploy.install(there, IMAGES, gateway=gateway)
    assert len(there.upgrades) == 1
    there = replace(there, ready=("kubetune", "kubetune-gateway"), upgrades=[])
    deploy.install(there, IMAGES, gateway=gateway)
    assert there.upgrades == []


def test_the_local_clusters_gateway_makes_jobs_that_the_api_takes() -> None:
    data = chart.find(chart.render({"gateway": gateway.values()}), "ConfigMap", "kubetune-gateway-settings")[
        "data"
    ]
    assert load(data).models[gateway.MODEL].uri == "s3://models/SmolLM2-135M-Instruct"


@pytest.mark.parametrize(
    "change",
    [
        {"description": "chart 0123456789ab"},
        {"description": "Upgrade complete"},
        {"values": VALUES | {"image": {"repository": "r/operator", "tag": "t0"}}},
        {"values": None},
        {"status": "failed"},
    ],
    ids=["another chart", "by hand", "another image", "no values", "failed"],
)
def test_whatever_differs_is_installed_again(change: dict[str, Any]) -> None:
    there = installed(**{"description": this_chart(), "values": VALUES, **change})
    deploy.install(there, IMAGES)
    [upgrade] = there.upgrades
    assert upgrade[:2] == ("upgrade", "--install")
    assert upgrade[upgrade.index("--description") + 1] == this_chart()


def test_a_charts_digest_follows_from_names_and_contents(tmp_path: Path) -> None:
    template = tmp_path / "templates" / "a.yaml"
    template.parent.mkdir()
    template.write_text("a")
    first = deploy.chart_digest(tmp_path)
    assert deploy.chart_digest(tmp_path) == first
    template.write_text("b")
    second = deploy.chart_digest(tmp_path)
    template.rename(tmp_path / "templates" / "b.yaml")
    assert len({first, second, deploy.chart_digest(tmp_path)}) == 3


def test_values_that_others_have_set_are_all_but_the_images() -> None:
    values = {**VALUES, "settings": {**VALUES["settings"], "hfEndpoint": "https://m"}, "imageRegistry": "r"}
    found = deploy.Release(status="deployed", description="", values=values)
    assert found.foreign_values() == ["settings.hfEndpoint", "imageRegistry"]
    assert deploy.Release(status="deployed", description="", values=VALUES).foreign_values() == []


ELSEWHERE = Foreign(kubeconfig=Path("config"), registry="registry.example.com/ml")


def test_a_release_with_values_of_its_own_is_not_reset_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    there = installed(description="", values={**VALUES, "resources": {"limits": {"memory": "1Gi"}}})
    monkeypatch.delenv("KUBETUNE_REPLACE", raising=False)
    with pytest.raises(TargetError, match=r"resources\.limits\.memory.*KUBETUNE_REPLACE=1"):
        list(session.changes(there, ELSEWHERE))
    monkeypatch.setenv("KUBETUNE_REPLACE", "1")
    assert "its values resources.limits.memory reset" in list(session.changes(there, ELSEWHERE))[1]


def test_every_change_of_a_cluster_elsewhere_is_named() -> None:
    pushed, installs = session.changes(cluster(), ELSEWHERE)
    assert "registry.example.com/ml" in pushed
    assert installs.startswith("install the release kubetune into the namespace kubetune-system")
    [_, upgrades] = session.changes(installed(description="", values=VALUES), ELSEWHERE)
    assert upgrades.startswith("upgrade the release kubetune")
    assert "reset" not in upgrades
