"""Sources are read where they are said to be: no name and no link leads elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubetune_trainer.base.fetch import fetch_artifact, fetch_model
from kubetune_trainer.contract.config import AdoptedConfig, FileSource, ModelSource, PlatformConfig
from kubetune_trainer.contract.errors import InvalidInput
from kubetune_trainer.sources.locate import locate_data
from kubetune_trainer.sources.source import RemoteFile
from tests.support.trainer_configs import trainer_config

MODEL = ("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja")
ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "chat_template.jinja")


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    """A claim with a model, an adapter and rows; what lies beside it are other files of the pod."""
    for folder, names in (("model", MODEL), ("adapter", ADAPTER)):
        (tmp_path / "claim" / folder).mkdir(parents=True)
        for name in names:
            (tmp_path / "claim" / folder / name).write_text("{}")
    (tmp_path / "claim" / "rows.jsonl").write_text('{"text": "a row"}\n')
    (tmp_path / "secret").write_text("hf_token")
    return tmp_path / "claim"


def read_model(claim: Path) -> Any:
    source = ModelSource(uri="pvc://claim/model", mount=str(claim / "model"))
    return fetch_model(trainer_config(model=claim / "model").model_copy(update={"model": source}))


def read_artifact(claim: Path) -> Any:
    adopt = AdoptedConfig(uri="pvc://claim/adapter", mount=str(claim / "adapter"))
    return fetch_artifact(
        trainer_config(model=claim / "model"), adopt, lambda files, _: [f for f in files if f.name in ADAPTER]
    )


def read_rows(claim: Path) -> Any:
    source = FileSource(uri="pvc://claim/rows.jsonl", mount=str(claim / "rows.jsonl"))
    return locate_data(source, "train", platform=PlatformConfig())


READ: dict[str, tuple[Callable[[Path], Any], str]] = {
    **{f"model/{name}": (read_model, f"{name} of pvc://claim/model") for name in MODEL},
    **{f"adapter/{name}": (read_artifact, f"{name} of pvc://claim/adapter") for name in ADAPTER},
    "rows.jsonl": (read_rows, "rows.jsonl of pvc://claim/rows.jsonl"),
}


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("target", ["relative", "absolute", "/proc/self/environ"])
def test_a_link_out_of_a_claim_is_refused(claim: Path, name: str, target: str) -> None:
    read, called = READ[name]
    secret, folder = claim.parent / "secret", (claim / name).parent
    targets = {"relative": os.path.relpath(secret, folder), "absolute": str(secret)}
    (claim / name).unlink()
    (claim / name).symlink_to(targets.get(target, target))
    with pytest.raises(InvalidInput) as refused:
        read(claim)
    assert refused.value.message == f"{called} is a link that leads out of it: put the file itself there."


@pytest.mark.parametrize("name", READ)
def test_links_within_a_claim_are_as_good_as_files(claim: Path, name: str) -> None:
    """A cache of the hub, and the volumes that the kubelet makes of ConfigMaps, are full of them."""
    read, _ = READ[name]
    (claim / "..data").mkdir()
    os.replace(claim / name, claim / "..data" / "file")
    (claim / name).symlink_to(os.path.relpath(claim / "..data" / "file", (claim / name).parent))
    assert read(claim)


@pytest.mark.parametrize("name", ["..", "../x.json", "a/../../x.json", "/etc/passwd", "a/.."])
def test_a_file_that_a_source_names_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        RemoteFile(name=name, size=1, etag="")
    assert refused.value.message == (
        f"A source has a file named {name!r}, which leads out of its folder: remove it there."
    )


@pytest.mark.parametrize("name", ["x..json", "..data", "a/b.json", "pvc://claim/x.jsonl", "checkpoint-1/"])
def test_other_names_are_files(name: str) -> None:
    assert RemoteFile(name=name, size=1, etag="").name == name
