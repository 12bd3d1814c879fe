"""Object storage against a local server: data files, models fetched once, and every refusal as a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kubetune_trainer.base.fetch import PinnedModel, fetch_model
from kubetune_trainer.contract.config import FileSource, PlatformConfig
from kubetune_trainer.contract.errors import DataInvalid, ModelUnavailable, TrainerError, Transient
from kubetune_trainer.contract.layout import OUTPUT_VARIABLE
from kubetune_trainer.sources.locate import locate_data
from tests.support.hub_server import files_of
from tests.support.object_store import ACCESS_KEY, SECRET_KEY, ObjectStoreServer, object_store
from tests.support.tiny_model import make_tiny_model
from tests.support.trainer_configs import trainer_config

pytestmark = pytest.mark.trainer


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStoreServer]:
    (tmp_path / "output").mkdir()
    monkeypatch.setenv(OUTPUT_VARIABLE, str(tmp_path / "output"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # else it looks for a cloud machine's identity
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with object_store() as server:
        for role in ("MODEL", "TRAIN"):
            monkeypatch.setenv(f"{role}_AWS_ENDPOINT_URL", server.endpoint)
            monkeypatch.setenv(f"{role}_AWS_REGION", "eu-test-1")
            monkeypatch.setenv(f"{role}_AWS_ACCESS_KEY_ID", ACCESS_KEY)
            monkeypatch.setenv(f"{role}_AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        yield server


def data(uri: str, tmp_path: Path) -> bytes:
    source = locate_data(FileSource(uri=uri), "train", platform=PlatformConfig())
    (file,) = source.fetch(tmp_path / "scratch")
    assert file.name == uri
    return file.path.read_bytes()


def model(job: str = "job") -> PinnedModel:
    return fetch_model(trainer_config(model="s3://models/base/tiny", train="pvc://d/train.jsonl", name=job))


def test_data_file_is_fetched(store: ObjectStoreServer, tmp_path: Path) -> None:
    store.buckets["rows"] = {"banking/train.jsonl": b"content"}
    assert data("s3://rows/banking/train.jsonl", tmp_path) == b"content"


def test_prefix_is_fetched_as_a_model_once(store: ObjectStoreServer, tiny: Path) -> None:
    store.buckets["models"] = {f"base/tiny/{name}": content for name, content in files_of(tiny).items()}
    store.buckets["models"] |= {
        "base/tiny/": b"",
        "base/tiny/original/x.safetensors": b"x",
        "base/other/y": b"y",
    }
    first = model()
    assert {path.name for path in first.path.iterdir()} == {path.name for path in tiny.iterdir()} | {
        "MANIFEST.json"
    }
    assert (first.path / "model.safetensors").read_bytes() == (tiny / "model.safetensors").read_bytes()
    store.requests.clear()
    assert model("other") == first
    assert store.requests == ["GET models/"], "a list, and no download"


def test_other_content_is_another_revision(store: ObjectStoreServer, tiny: Path) -> None:
    store.buckets["models"] = {f"base/tiny/{name}": content for name, content in files_of(tiny).items()}
    first = model()
    store.buckets["models"]["base/tiny/generation_config.json"] = b"{}"
    second = model()
    assert first.revision != second.revision
    assert first.path != second.path
    assert first.path.exists()


REFUSED: dict[str, tuple[str, str]] = {
    "a missing object": (
        "s3://rows/none.jsonl",
        "s3://rows/none.jsonl does not exist. Correct dataset.train.uri",
    ),
    "a missing bucket": (
        "s3://nothing/train.jsonl",
        "s3://nothing/train.jsonl does not exist. Correct dataset.train.uri",
    ),
    "a prefix": (
        "s3://rows/banking",
        "s3://rows/banking is a prefix, not an object: dataset.train.uri must name a file",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_data_that_is_not_there_is_named(store: ObjectStoreServer, tmp_path: Path, case: str) -> None:
    uri, message = REFUSED[case]
    store.buckets["rows"] = {"banking/train.jsonl": b"content"}
    with pytest.raises(DataInvalid) as caught:
        data(uri, tmp_path)
    assert message in caught.value.message


def test_missing_prefix_of_a_model_is_named(store: ObjectStoreServer) -> None:
    store.buckets["models"] = {}
    with pytest.raises(ModelUnavailable, match=r"s3://models/base/tiny does not exist\. Correct model\.uri"):
        model()


def test_wrong_key_names_the_secret_and_quotes_no_credential(
    store: ObjectStoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.buckets["rows"] = {"train.jsonl": b"content"}
    monkeypatch.setenv("TRAIN_AWS_ACCESS_KEY_ID", "stranger")
    with pytest.raises(DataInvalid) as caught:
        data("s3://rows/train.jsonl", tmp_path)
    assert caught.value.message == (
        "s3://rows/train.jsonl may not be read: the server says forbidden. "
        "Check the Secret that dataset.train.credentials.secretName names, and its rights."
    )


def test_no_credentials_at_all_name_the_secret(
    store: ObjectStoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in (
        "TRAIN_AWS_ACCESS_KEY_ID",
        "TRAIN_AWS_SECRET_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(
        DataInvalid, match=r"no credentials were given\. Check the Secret that dataset\.train\."
    ):
        data("s3://rows/train.jsonl", tmp_path)


@pytest.mark.parametrize("how", ["it answers with errors", "nobody listens"])
def test_store_that_is_not_well_is_tried_again(
    store: ObjectStoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    store.failing = True
    if how == "nobody listens":
        monkeypatch.setenv("TRAIN_AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(TrainerError) as caught:
        data("s3://rows/train.jsonl", tmp_path)
    assert isinstance(caught.value, Transient)
    assert caught.value.message.startswith("s3://rows/train.jsonl cannot be read now:")
