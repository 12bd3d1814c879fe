"""Which cluster is worked on, and what is asked before another's is changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from typing_extensions import override

from dev import target
from dev.kubectl import Kubectl
from dev.target import Foreign, TargetError

VARIABLES = ("KUBETUNE_KUBECONFIG", "KUBETUNE_REGISTRY", "KUBETUNE_YES")


class Cluster(Kubectl):
    """Says where it is, whatever is asked."""

    @override
    def __call__(self, *args: str | Path, stdin: str | None = None) -> str:
        return "https://api.example.com:6443"


CLUSTER = Cluster(program=Path("/a b/kubectl"), helm=Path("/bin/helm"), kubeconfig=Path("/my config"))


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_a_registry_alone_leaves_the_cluster_the_local_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBETUNE_REGISTRY", "registry.example.com/ml/")
    assert target.foreign() is None
    assert target.registry() == "registry.example.com/ml"


def test_a_kubeconfig_takes_a_registry_and_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "config"
    monkeypatch.setenv("KUBETUNE_KUBECONFIG", str(config))
    with pytest.raises(TargetError, match="KUBETUNE_REGISTRY is not"):
        target.foreign()
    monkeypatch.setenv("KUBETUNE_REGISTRY", "registry.example.com")
    with pytest.raises(TargetError, match="not a file"):
        target.foreign()
    config.touch()
    assert target.foreign() == Foreign(kubeconfig=config, registry="registry.example.com")


def test_every_change_is_named_and_nobody_there_means_no(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TargetError, match="KUBETUNE_YES=1"):
        target.confirm(CLUSTER, ["add this", "change that"])
    said = capsys.readouterr().err
    assert "https://api.example.com:6443" in said
    assert "- add this\n- change that" in said
    monkeypatch.setenv("KUBETUNE_YES", "1")
    target.confirm(CLUSTER, ["add this"])


def test_the_line_for_a_shell_survives_spaces() -> None:
    assert CLUSTER.environment == "export KUBECONFIG='/my config' PATH='/a b':/bin:$PATH"
