"""The hub client against a local server: pinning, fetching once, going on, every refusal as a sentence."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubetune_trainer.base.fetch import fetch_model
from kubetune_trainer.contract.config import FileSource, PlatformConfig, TrainerConfig
from kubetune_trainer.contract.errors import DataInvalid, ModelUnavailable, TrainerError, Transient
from kubetune_trainer.contract.layout import OUTPUT_VARIABLE
from kubetune_trainer.sources.hub import Hub
from kubetune_trainer.sources.locate import locate_data
from kubetune_trainer.sources.source import Credentials
from kubetune_trainer.store.manifest import list_files, read_manifest, sync_file, write_manifest
from tests.support.hub_server import TOKEN, HubServer, files_of, hub_server
from tests.support.tiny_model import make_tiny_model
from tests.support.trainer_configs import trainer_config

pytestmark = pytest.mark.trainer

MODEL = "hf://acme/tiny"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    (tmp_path / "output").mkdir()
    monkeypatch.setenv(OUTPUT_VARIABLE, str(tmp_path / "output"))
    for variable in ("HF_TOKEN", "MODEL_HF_TOKEN", "TRAIN_HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    with hub_server() as server:
        yield server


def config_for(
    hub: HubServer, model: str = MODEL, revision: str | None = None, **fields: Any
) -> TrainerConfig:
    return trainer_config(
        model=model,
        revision=revision,
        train="pvc://d/train.jsonl",
        platform=PlatformConfig(hf_endpoint=hub.endpoint),
        **fields,
    )


def refusal(config: TrainerConfig) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        fetch_model(config)
    assert TOKEN not in caught.value.message
    return caught.value


def test_branch_is_pinned_to_its_commit_and_only_what_is_needed_is_fetched(
    hub: HubServer, tiny: Path
) -> None:
    extra = {
        "README.md": b"#",
        "pytorch_model.bin": b"x",
        "onnx/model.onnx": b"x",
        "original/x.safetensors": b"x",
    }
    commit = hub.add("model", "acme/tiny", {**files_of(tiny), **extra})
    model = fetch_model(config_for(hub))
    assert model.revision == commit
    assert sorted(path.name for path in model.path.iterdir()) == sorted(
        ["MANIFEST.json", *(path.name for path in tiny.iterdir())]
    )
    assert (model.path / "model.safetensors").read_bytes() == (tiny / "model.safetensors").read_bytes()
    manifest = json.loads((model.path / "MANIFEST.json").read_text())
    assert (manifest["uri"], manifest["revision"]) == (MODEL, commit)


def test_second_job_finds_the_model_and_fetches_nothing(hub: HubServer, tiny: Path) -> None:
    hub.add("model", "acme/tiny", files_of(tiny))
    first = fetch_model(config_for(hub))
    hub.requests.clear()
    assert fetch_model(config_for(hub, name="other")) == first
    assert hub.downloads() == []


def test_moved_branch_gives_another_commit_in_a_directory_of_its_own(hub: HubServer, tiny: Path) -> None:
    files = files_of(tiny)
    old = hub.add("model", "acme/tiny", files)
    first = fetch_model(config_for(hub))
    new = hub.add("model", "acme/tiny", {**files, "generation_config.json": b"{}"})
    second = fetch_model(config_for(hub))
    pinned = fetch_model(config_for(hub, revision=old))
    assert (first.revision, second.revision, pinned.revision) == (old, new, old)
    assert first.path == pinned.path != second.path
    assert (second.path / "generation_config.json").read_bytes() == b"{}"


def test_download_that_breaks_off_goes_on_where_it_was(hub: HubServer, tiny: Path) -> None:
    large = bytes(range(256)) * (24 * 4096)  # 24 MiB: the client writes pieces of 10 MiB
    hub.add("model", "acme/tiny", {**files_of(tiny), "model-2.safetensors": large})
    hub.cut["model-2.safetensors"] = 1
    model = fetch_model(config_for(hub))
    assert (model.path / "model-2.safetensors").read_bytes() == large
    assert any(request.endswith("bytes=10485760-") for request in hub.requests)


def test_download_that_arrives_damaged_is_fetched_again(hub: HubServer, tiny: Path) -> None:
    hub.add("model", "acme/tiny", files_of(tiny))
    hub.damaged["model.safetensors"] = 1
    error = refusal(config_for(hub))
    assert isinstance(error, Transient)
    assert error.message == f"model.safetensors of {MODEL} arrived damaged; it will be fetched again."
    hub.requests.clear()
    model = fetch_model(config_for(hub))
    assert (model.path / "model.safetensors").read_bytes() == (tiny / "model.safetensors").read_bytes()
    assert hub.downloads() == ["model.safetensors"]


def test_data_that_arrives_damaged_is_fetched_again(hub: HubServer, tmp_path: Path) -> None:
    hub.add("dataset", "acme/rows", {"train.parquet": b"rows"})
    hub.damaged["train.parquet"] = 1
    with pytest.raises(Transient, match=r"train\.parquet of hf://acme/rows arrived damaged"):
        data(hub, "hf://acme/rows", tmp_path)


def test_prepare_that_was_killed_keeps_the_files_it_had(hub: HubServer, tiny: Path) -> None:
    hub.add("model", "acme/tiny", files_of(tiny))
    hub.cut["tokenizer.json"] = 100  # for ever: the client gives up
    with pytest.raises(Transient):
        fetch_model(config_for(hub))
    hub.cut.clear()
    hub.requests.clear()
    model = fetch_model(config_for(hub))
    assert "model.safetensors" not in hub.downloads()
    assert (model.path / "tokenizer.json").read_bytes() == (tiny / "tokenizer.json").read_bytes()
    assert [path.name for path in model.path.parent.iterdir()] == [model.path.name]


def test_jobs_that_fetch_at_the_same_time_share_one_good_copy(hub: HubServer, tiny: Path) -> None:
    hub.add("model", "acme/tiny", files_of(tiny))
    results: list[Any] = []
    jobs = [
        threading.Thread(target=lambda name=name: results.append(fetch_model(config_for(hub, name=name))))
        for name in ("one", "two", "three")
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert len({result.path for result in results}) == 1
    assert len(results) == 3
    path: Path = results[0].path
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert (path / "model.safetensors").read_bytes() == (tiny / "model.safetensors").read_bytes()


def test_copy_that_lost_a_file_is_fetched_again(hub: HubServer, tiny: Path) -> None:
    hub.add("model", "acme/tiny", files_of(tiny))
    first = fetch_model(config_for(hub))
    (first.path / "tokenizer.json").unlink()
    assert fetch_model(config_for(hub)).path == first.path
    assert (first.path / "tokenizer.json").exists()


def replace_the_template(path: Path) -> None:
    (path / "chat_template.jinja").write_text("{{ messages[0].content }} Obey.")


def add_a_file(path: Path) -> None:
    (path / "generation_config.json").write_text('{"eos_token_id": 1}')


def replace_weights(path: Path) -> None:
    weights = path / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)


def name_another_source(path: Path) -> None:
    manifest = json.loads((path / "MANIFEST.json").read_text())
    (path / "MANIFEST.json").write_text(json.dumps({**manifest, "uri": "hf://mallory/tiny"}))


@pytest.mark.parametrize("with_its_manifest", [False, True])
@pytest.mark.parametrize("plant", [replace_the_template, replace_weights, add_a_file, name_another_source])
def test_copy_that_somebody_planted_is_fetched_again(
    hub: HubServer, tiny: Path, plant: Callable[[Path], None], with_its_manifest: bool
) -> None:
    """Sizes and a manifest that fits say nothing: the hub's own digests are what counts."""
    hub.add("model", "acme/tiny", files_of(tiny))
    path = fetch_model(config_for(hub)).path
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    plant(path)
    if with_its_manifest and plant is not name_another_source:
        details = read_manifest(path).details
        write_manifest(path, [sync_file(path, name) for name in list_files(path)], details)
    fetch_model(config_for(hub, name="other"))
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def test_copy_that_is_damaged_again_is_fetched_again(hub: HubServer, tiny: Path) -> None:
    hub.add("model", "acme/tiny", files_of(tiny))
    model = fetch_model(config_for(hub))
    for _ in range(3):
        (model.path / "tokenizer.json").unlink()
        assert fetch_model(config_for(hub)) == model
        assert (model.path / "tokenizer.json").exists()
    assert [path.name for path in model.path.parent.iterdir()] == [model.path.name]


def test_half_a_download_of_a_branch_that_has_moved_is_removed(hub: HubServer, tiny: Path) -> None:
    hub.add("model", "acme/tiny", files_of(tiny))
    before = fetch_model(config_for(hub)).path
    for job in ("job", "other-job"):  # as a prepare that is killed leaves it
        shutil.copytree(before, before.with_name(f"0123456789abcdef.partial-{job}"))
    hub.add("model", "acme/tiny", {**files_of(tiny), "generation_config.json": b"{}"})
    after = fetch_model(config_for(hub)).path
    left = {path.name for path in after.parent.iterdir()}
    assert left == {before.name, after.name, "0123456789abcdef.partial-other-job"}


def test_missing_repository_names_the_field_and_the_secret(hub: HubServer) -> None:
    assert refusal(config_for(hub)).message == (
        "The model hf://acme/tiny does not exist, or is private: correct model.uri, or name a Secret with a "
        "token in model.credentials.secretName."
    )


def test_missing_revision_is_named(hub: HubServer, tiny: Path) -> None:
    hub.add("model", "acme/tiny", files_of(tiny))
    error = refusal(config_for(hub, revision="v9"))
    assert isinstance(error, ModelUnavailable)
    assert error.message == "The model hf://acme/tiny has no revision v9. Correct the revision."


def test_gated_repository_asks_for_a_token(hub: HubServer, tiny: Path) -> None:
    hub.add("model", "acme/tiny", files_of(tiny), gated=True)
    assert refusal(config_for(hub)).message == (
        "The model hf://acme/tiny is gated: accept its terms on the hub, and name a Secret with your token "
        "in model.credentials.secretName."
    )


def test_gated_repository_names_the_terms_when_the_token_has_not_accepted_them(
    hub: HubServer, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("model", "acme/tiny", files_of(tiny), gated=True)
    monkeypatch.setenv("MODEL_HF_TOKEN", TOKEN)
    assert refusal(config_for(hub)).message == (
        "The model hf://acme/tiny is gated, and the token in the Secret of model.credentials.secretName "
        "gives no access: accept its terms on the hub with that token's account."
    )


@pytest.mark.parametrize("variable", ["MODEL_HF_TOKEN", "HF_TOKEN"])
def test_token_from_the_environment_opens_a_private_repository(
    hub: HubServer, tiny: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    commit = hub.add("model", "acme/tiny", files_of(tiny), private=True)
    monkeypatch.setenv(variable, TOKEN)
    assert fetch_model(config_for(hub)).revision == commit


def test_wrong_token_is_refused_without_being_quoted(
    hub: HubServer, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("model", "acme/tiny", files_of(tiny))
    monkeypatch.setenv("MODEL_HF_TOKEN", "hf_expired_token")
    error = refusal(config_for(hub))
    assert isinstance(error, ModelUnavailable)
    assert "hf_expired_token" not in error.message
    assert (
        "(status 401): the token in the Secret of model.credentials.secretName is not accepted"
        in error.message
    )


def test_hub_that_is_not_well_is_tried_again(hub: HubServer) -> None:
    hub.failing = 500
    error = refusal(config_for(hub))
    assert isinstance(error, Transient)
    assert error.message == "The model hf://acme/tiny cannot be read now: the hub answers with status 500."


def test_download_that_fails_on_the_hub_is_tried_again(hub: HubServer, tiny: Path) -> None:
    hub.add("model", "acme/tiny", files_of(tiny))
    hub.failing_files = 503  # the client itself tries for 20 seconds
    error = refusal(config_for(hub))
    assert isinstance(error, Transient)
    assert error.message.startswith("The model hf://acme/tiny cannot be read now: ")


def test_hub_that_cannot_be_reached_is_tried_again(hub: HubServer) -> None:
    config = config_for(hub)
    closed = config.model_copy(update={"platform": PlatformConfig(hf_endpoint="http://127.0.0.1:9")})
    assert isinstance(refusal(closed), Transient)


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_hub_that_never_answers_is_tried_again(hub: HubServer, kind: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        asked = Hub(Credentials("model"), endpoint, answer_seconds=0.5)
        with pytest.raises(Transient) as caught:
            asked.list_files("acme/tiny", kind, None)
    assert caught.value.message == (
        f"The {kind} hf://acme/tiny cannot be read now: the hub, or a proxy before it, has not answered in "
        "time."
    )


FILES: dict[str, tuple[dict[str, bytes], str]] = {
    "pickled weights only": (
        {"config.json": b"{}", "pytorch_model.bin": b"x"},
        "has its weights only as pytorch_model.bin, which can run code when loaded: convert to safetensors",
    ),
    "llama.cpp's weights only": (
        {"config.json": b"{}", "tiny-Q4_K_M.gguf": b"x"},
        "spec.model.uri: hf://acme/tiny is quantised (gguf). Use a repository with 16-bit weights",
    ),
    "llama.cpp's weights alone": (
        {"tiny-Q4_K_M.gguf": b"x", "README.md": b"x"},
        "spec.model.uri: hf://acme/tiny is quantised (gguf). Use a repository with 16-bit weights",
    ),
    "no weights": ({"config.json": b"{}"}, "has no weights (*.safetensors)"),
    "an adapter": (
        {"adapter_config.json": b"{}", "adapter_model.safetensors": b"x"},
        "is an adapter, not a base model. Name its base model in model.uri.",
    ),
    "no configuration": ({"model.safetensors": b"x"}, "has no config.json; it has model.safetensors."),
}


@pytest.mark.parametrize("case", FILES)
def test_repository_that_is_no_model_is_refused_before_anything_is_fetched(hub: HubServer, case: str) -> None:
    files, message = FILES[case]
    hub.add("model", "acme/tiny", files)
    error = refusal(config_for(hub))
    assert isinstance(error, ModelUnavailable)
    assert message in error.message
    assert hub.downloads() == []


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("hf://tiny", "must be hf://organisation/name, not hf://tiny"),
        ("hf://acme/tiny/sub", "must be hf://organisation/name, without a path"),
        ("hf://acme/ti ny", "must be hf://organisation/name"),
    ],
)
def test_uri_of_a_model_is_organisation_and_name(hub: HubServer, uri: str, message: str) -> None:
    assert message in refusal(config_for(hub, uri)).message


def data(hub: HubServer, uri: str, tmp_path: Path, role: Any = "train") -> list[tuple[str, bytes]]:
    source = locate_data(FileSource(uri=uri), role, platform=PlatformConfig(hf_endpoint=hub.endpoint))
    files = source.fetch(tmp_path / "scratch")
    return [(file.name, file.path.read_bytes()) for file in files]


LAYOUT = {
    "README.md": b"#",
    "data/train-00000-of-00002.jsonl": b"1",
    "data/train-00001-of-00002.jsonl": b"2",
    "data/test.jsonl": b"3",
    "extra/special.csv": b"4",
}

CHOICES: dict[str, tuple[str, str, list[bytes]]] = {
    "the training files": ("hf://acme/rows", "train", [b"1", b"2"]),
    "test files where there are no validation files": ("hf://acme/rows", "validation", [b"3"]),
    "a named file": ("hf://acme/rows/extra/special.csv", "train", [b"4"]),
    "a named split": ("hf://acme/rows/test", "train", [b"3"]),
    "a branch": ("hf://acme/rows@main/data/test.jsonl", "train", [b"3"]),
}


HASHED = [
    "data/train_sft-00000-of-00003-f4b1c2a9d0e38576.jsonl",
    "data/train_sft-00001-of-00003-0c9d8e7f6a5b4c3d.jsonl",
    "data/train_sft-00002-of-00003-a1b2c3d4e5f60718.jsonl",
]

SPLITS: dict[str, tuple[list[str], str, list[str] | str]] = {
    "one split of several, when it is called train": (
        ["data/train-00000-of-00001.jsonl", "data/train_gen-00000-of-00001.jsonl"],
        "hf://acme/rows",
        ["data/train-00000-of-00001.jsonl"],
    ),
    "no mixture of splits": (
        ["data/train_gen-00000-of-00001.jsonl", "data/train_sft-00000-of-00001.jsonl"],
        "hf://acme/rows",
        "hf://acme/rows has several splits that may be meant: data/train_gen and data/train_sft. Name one of "
        "them in dataset.train.uri, such as hf://acme/rows/data/train_gen.",
    ),
    "the split that is named": (
        ["data/train_gen-00000-of-00001.jsonl", "data/train_sft-00000-of-00001.jsonl"],
        "hf://acme/rows/train_sft",
        ["data/train_sft-00000-of-00001.jsonl"],
    ),
    "the split that is named with its directory": (
        ["train-00000-of-00001.jsonl", "data/train-00000-of-00001.jsonl", "de/train.jsonl"],
        "hf://acme/rows/de/train",
        ["de/train.jsonl"],
    ),
    "no mixture of directories": (
        ["train.jsonl", "data/train.jsonl"],
        "hf://acme/rows",
        "hf://acme/rows has several splits that may be meant: data/train.jsonl and train.jsonl. Name one of "
        "them in dataset.train.uri, such as hf://acme/rows/data/train.jsonl.",
    ),
    "all files of a split, whose names end in a hash": (
        HASHED,
        "hf://acme/rows",
        HASHED,
    ),
    "all files of the split that is named, whose names end in a hash": (
        [*HASHED, "data/train_gen-00000-of-00001-0a1b2c3d4e5f6071.jsonl"],
        "hf://acme/rows/train_sft",
        HASHED,
    ),
    "a split whose name has a dot": (
        ["data/train_v1.5-00000-of-00001.jsonl", "data/train_v2-00000-of-00001.jsonl"],
        "hf://acme/rows/train_v1.5",
        ["data/train_v1.5-00000-of-00001.jsonl"],
    ),
    "files whose endings are in upper case, or compressed": (
        ["data/train-00000-of-00002.JSONL.gz", "data/train-00001-of-00002.JSONL.gz", "dataset_infos.json"],
        "hf://acme/rows",
        ["data/train-00000-of-00002.JSONL.gz", "data/train-00001-of-00002.JSONL.gz"],
    ),
    "the files in a folder that is called like the split": (
        ["data/train/part-0.jsonl", "data/train/part-1.jsonl", "data/test/part-0.jsonl"],
        "hf://acme/rows",
        ["data/train/part-0.jsonl", "data/train/part-1.jsonl"],
    ),
    "the files in the folder that is named": (
        ["deep/a/0001.parquet", "deep/a/0002.parquet", "deep/b/0001.parquet"],
        "hf://acme/rows/deep/a",
        ["deep/a/0001.parquet", "deep/a/0002.parquet"],
    ),
    "no files of a folder that may be different things": (
        ["raw/questions.jsonl", "raw/answers.jsonl"],
        "hf://acme/rows/raw",
        "hf://acme/rows has no files raw* in its root or in data/; it has raw/answers.jsonl and "
        "raw/questions.jsonl. Name the file in dataset.train.uri: hf://acme/rows/path/file.jsonl.",
    ),
    "the split of the configuration that is named": (
        [
            "de/train-00000-of-00001.parquet",
            "en/train-00000-of-00001.parquet",
            "en/test-00000-of-00001.parquet",
        ],
        "hf://acme/rows/en",
        ["en/train-00000-of-00001.parquet"],
    ),
    "the split that is named, of the configuration that is named": (
        ["data/de/test.csv", "data/en/test.csv", "data/en/train.csv"],
        "hf://acme/rows/en/test",
        ["data/en/test.csv"],
    ),
    "the split of the only configuration": (
        ["main/train-00000-of-00001.parquet", "main/test-00000-of-00001.parquet"],
        "hf://acme/rows",
        ["main/train-00000-of-00001.parquet"],
    ),
    "no mixture of configurations": (
        ["de/train-00000-of-00001.parquet", "en/train-00000-of-00001.parquet"],
        "hf://acme/rows",
        "hf://acme/rows has several splits that may be meant: de/train and en/train. Name one of them in "
        "dataset.train.uri, such as hf://acme/rows/de/train.",
    ),
    "the only one that begins like it": (["train_v2.csv"], "hf://acme/rows", ["train_v2.csv"]),
    "one format of several": (["train.parquet", "train.csv"], "hf://acme/rows", ["train.csv"]),
    "no split that lacks files": (
        ["train-00000-of-00003.csv", "train-00002-of-00003.csv"],
        "hf://acme/rows",
        "hf://acme/rows has 2 of the 3 files of train.",
    ),
}


@pytest.mark.parametrize("case", SPLITS)
def test_dataset_uri_means_one_split(hub: HubServer, tmp_path: Path, case: str) -> None:
    files, uri, expected = SPLITS[case]
    hub.add("dataset", "acme/rows", {name: name.encode() for name in files})
    if isinstance(expected, str):
        with pytest.raises(DataInvalid) as caught:
            data(hub, uri, tmp_path)
        assert caught.value.message == expected
    else:
        assert [name for name, _ in data(hub, uri, tmp_path)] == [
            f"hf://acme/rows/{name}" for name in expected
        ]


@pytest.mark.parametrize("case", CHOICES)
def test_dataset_uri_means(hub: HubServer, tmp_path: Path, case: str) -> None:
    uri, role, expected = CHOICES[case]
    hub.add("dataset", "acme/rows", LAYOUT)
    assert [content for _, content in data(hub, uri, tmp_path, role)] == expected


def test_files_of_a_dataset_are_named_in_full(hub: HubServer, tmp_path: Path) -> None:
    hub.add("dataset", "acme/rows", LAYOUT)
    assert [name for name, _ in data(hub, "hf://acme/rows", tmp_path)] == [
        "hf://acme/rows/data/train-00000-of-00002.jsonl",
        "hf://acme/rows/data/train-00001-of-00002.jsonl",
    ]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("hf://acme/rows/data/none.jsonl", "has no file data/none.jsonl; it has"),
        ("hf://acme/rows/dev", r"has no files dev\* in its root or in data/; it has"),
        ("hf://acme/rows@v2", "The dataset hf://acme/rows has no revision v2"),
        (
            "hf://acme/none",
            "The dataset hf://acme/none does not exist, or is private.*train.credentials.secretName",
        ),
    ],
)
def test_dataset_that_is_not_there_is_named(hub: HubServer, tmp_path: Path, uri: str, message: str) -> None:
    hub.add("dataset", "acme/rows", LAYOUT)
    with pytest.raises(DataInvalid, match=message):
        data(hub, uri, tmp_path)


def test_token_of_the_dataset_is_its_own(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("dataset", "acme/rows", LAYOUT, private=True)
    monkeypatch.setenv("MODEL_HF_TOKEN", TOKEN)
    with pytest.raises(DataInvalid, match="is private"):
        data(hub, "hf://acme/rows", tmp_path)
    monkeypatch.setenv("TRAIN_HF_TOKEN", TOKEN)
    assert len(data(hub, "hf://acme/rows", tmp_path)) == 2
