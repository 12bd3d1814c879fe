"""Where an artifact that is adopted comes from, what pins it, and what it says of conversations."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubetune_trainer.artifact.model_card import CARD_NAME
from kubetune_trainer.contract.messages import ArtifactSummary, ExitCode, Reason
from kubetune_trainer.store.manifest import read_manifest, verify_manifest
from tests.support import trained_elsewhere as elsewhere
from tests.support.chat_templates import CHATML
from tests.support.hub_server import HubServer, files_of, hub_server
from tests.support.object_store import ACCESS_KEY, SECRET_KEY, object_store
from tests.support.prepare_runs import Prepare, Prepared
from tests.support.tiny_model import write_chat_rows
from tests.support.training_runs import Volume, make_rows, train, training_config

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # peft's
]


@pytest.fixture(scope="session")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return elsewhere.trl(base, tmp_path_factory.mktemp("adapters") / "trl")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with hub_server() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


def artifact_of(prepared: Prepared) -> ArtifactSummary:
    artifact = prepared.summary.artifact
    assert artifact is not None
    verify_manifest(prepared.run.adapter, apart=(CARD_NAME,))
    return artifact


def test_what_was_adopted_from_a_claim_is_told(base: Path, adapter: Path, prepare: Prepare) -> None:
    prepared = prepare(model=base, adopt=adapter)
    artifact = artifact_of(prepared)
    assert artifact.source_digest is not None
    assert prepared.message.message == (
        f"the adapter in pvc://inputs/trl holds {artifact.source_digest}, and was checked against the base; "
        f"tiny-llama pinned at {prepared.summary.model.revision[:7]}"
    )
    assert (artifact.base_model, artifact.base_revision) == (
        "pvc://inputs/tiny-llama",
        prepared.summary.model.revision,
    )
    assert prepared.summary.dataset.train_rows == 0
    assert prepared.summary.plan.total_steps == 0
    card = (prepared.run.adapter / "README.md").read_text()
    assert f"| Digest of that folder | {artifact.source_digest} |" in card


def test_an_adapter_is_fetched_from_a_folder_of_a_hub_repository_at_a_revision(
    base: Path, adapter: Path, prepare: Prepare, hub: HubServer
) -> None:
    first = hub.add("model", "acme/adapter", files_of(adapter))
    hub.add("model", "acme/adapter", {"README.md": b""})
    prepared = prepare(model=base, adopt=f"hf://acme/adapter@{first}/checkpoint-10")
    from_claim = prepare(model=base, adopt=adapter / "checkpoint-10", name="from-claim")
    assert artifact_of(prepared).source_digest == artifact_of(from_claim).source_digest
    assert "checkpoint-10/optimizer.pt" not in hub.downloads()
    assert "adapter_model.safetensors" not in hub.downloads()


def test_an_adapter_is_fetched_from_a_bucket(
    base: Path, adapter: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with object_store() as server:
        server.buckets["adapters"] = {f"intents/{name}": body for name, body in files_of(adapter).items()}
        for name, value in (("ENDPOINT_URL", server.endpoint), ("ACCESS_KEY_ID", ACCESS_KEY)):
            monkeypatch.setenv(f"ARTIFACT_AWS_{name}", value)
        monkeypatch.setenv("ARTIFACT_AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        prepared = prepare(model=base, adopt="s3://adapters/intents")
        below = prepare(model=base, adopt="s3://adapters/intents/checkpoint-10", name="below")
        for name in files_of(adapter):
            if "/" not in name:
                del server.buckets["adapters"][f"intents/{name}"]
        alone = prepare(model=base, adopt="s3://adapters/intents", name="alone")
    assert artifact_of(prepared).source_digest != artifact_of(below).source_digest
    assert alone.message.message == (
        "artifact.uri s3://adapters/intents has nothing to adopt itself, but in checkpoint-5 and "
        "checkpoint-10. Name one, such as s3://adapters/intents/checkpoint-10."
    )


def test_what_is_missing_is_said_by_the_artifacts_own_field(
    base: Path, prepare: Prepare, hub: HubServer
) -> None:
    prepared = prepare(model=base, adopt="hf://acme/nothing")
    assert prepared.message.reason is Reason.MODEL_UNAVAILABLE
    assert "correct artifact.uri, or name a Secret with a token in artifact.credentials.secretName" in (
        prepared.message.message
    )


def test_a_digest_pins_what_the_folder_holds(
    base: Path, adapter: Path, tmp_path: Path, prepare: Prepare
) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(adapter, folder)
    held = artifact_of(prepare(model=base, adopt=folder)).source_digest
    pinned = {"uri": "pvc://inputs/adapter", "mount": str(folder), "digest": held}
    assert artifact_of(prepare(model=base, adopt=pinned, name="pinned")).source_digest == held
    elsewhere.change_tensors(folder, {n: 2 * t for n, t in elsewhere.tensors_of(folder).items()})
    changed = prepare(model=base, adopt=pinned, name="changed")
    assert changed.code == ExitCode.INVALID_INPUT
    now = artifact_of(prepare(model=base, adopt=folder, name="not-pinned")).source_digest
    assert changed.message.message == (
        f"artifact.uri pvc://inputs/adapter holds {now} now, and artifact.digest is {held}. Put the files "
        "back, or apply the job with the digest that they have now if the change is meant."
    )


def test_the_same_folder_is_not_adopted_twice_and_a_changed_one_is(
    base: Path, adapter: Path, tmp_path: Path, prepare: Prepare
) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(adapter, folder)
    first = prepare(model=base, adopt=folder)
    written = (first.run.adapter / "adapter_model.safetensors").stat().st_ino
    assert artifact_of(prepare(model=base, adopt=folder)) == artifact_of(first)
    assert (first.run.adapter / "adapter_model.safetensors").stat().st_ino == written
    elsewhere.change_tensors(folder, {n: 2 * t for n, t in elsewhere.tensors_of(folder).items()})
    second = prepare(model=base, adopt=folder)
    assert artifact_of(second).digest != artifact_of(first).digest


def test_an_artifact_that_somebody_edited_is_adopted_anew(
    base: Path, adapter: Path, prepare: Prepare
) -> None:
    first = prepare(model=base, adopt=adapter)
    digest = artifact_of(first).digest
    (first.run.adapter / "adapter_config.json").write_text("{}")
    assert artifact_of(prepare(model=base, adopt=adapter)).digest == digest


def test_rows_are_prepared_beside_an_artifact(
    base: Path, adapter: Path, tmp_path: Path, prepare: Prepare
) -> None:
    rows = write_chat_rows(tmp_path / "rows" / "train.jsonl")
    held_out = {"validation_fraction": "0.25"}
    prepared = prepare(model=base, adopt=adapter, train=rows, dataset=held_out)
    assert artifact_of(prepared).type == "LoRA"
    found = prepared.summary.dataset
    assert (found.train_rows, found.validation_rows) == (30, 10)
    assert prepared.run.train_rows.exists()
    assert artifact_of(
        prepare(model=base, adopt=adapter, train=rows, dataset={"validation_fraction": "0.25"})
    )


def test_chat_template_and_ends_of_the_folder_are_those_of_the_server(
    base: Path, adapter: Path, prepare: Prepare
) -> None:
    prepared = prepare(model=base, adopt=adapter)
    artifact = artifact_of(prepared)
    assert (artifact.chat_content, artifact.generation_config) == ("string", True)
    assert (prepared.run.adapter / "chat_template.jinja").read_text() == CHATML
    ends = json.loads((prepared.run.adapter / "generation_config.json").read_text())["eos_token_id"]
    tokens = json.loads((base / "tokenizer.json").read_text())["added_tokens"]
    named = {token["id"]: token["content"] for token in tokens}
    assert [named[end] for end in ends] == ["<|endoftext|>", "<|im_end|>"]


def test_a_chat_template_of_the_job_is_in_the_place_of_the_folders(
    base: Path, adapter: Path, prepare: Prepare
) -> None:
    template = CHATML.replace("SmolLM", "Tiny")
    prepared = prepare(model=base, adopt=adapter, dataset={"chat_template": template})
    assert artifact_of(prepared).chat_content == "string"
    assert (prepared.run.adapter / "chat_template.jinja").read_text() == template


def test_what_may_be_wrong_and_cannot_be_known_is_warned_of(
    base: Path, tmp_path: Path, prepare: Prepare
) -> None:
    from transformers import AutoTokenizer

    folder = elsewhere.lora(base, tmp_path / "adapter", base_name="acme/another-model")
    weights = elsewhere.tensors_of(folder)
    kept = {n: t for n, t in weights.items() if "layers.1.self_attn.q_proj" not in n}
    elsewhere.change_tensors(folder, kept)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|padding|>"]})
    tokenizer.save_pretrained(folder)
    assert artifact_of(prepare(model=base, adopt=folder)).warnings == (
        "The adapter names acme/another-model as its base, and spec.model is pvc://inputs/tiny-llama. Shapes "
        "fit; if it is not a copy of the same model, answers are wrong.",
        "The adapter leaves out layers, which stay as in the base: model.layers.*.self_attn.q_proj (1 of 2).",
        "The artifact's tokenizer has tokens that the base's has not (<|padding|>): the server reads and "
        "writes none of them.",
    )


@pytest.fixture(scope="module")
def published(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trained")
    volume = Volume(root / "output", training_config(epochs=1, checkpoint_every_steps=100))
    volume.prepare(base, make_rows(24), make_rows(12, seed=2))
    (pod,) = train(volume, root)
    assert pod.process.returncode == 0, pod.log
    return volume.run.adapter


def test_what_another_job_published_is_adopted_as_it_is(
    base: Path, published: Path, tmp_path: Path, prepare: Prepare, hub: HubServer
) -> None:
    digest = read_manifest(published).digest
    pinned = {"uri": "pvc://inputs/adapter", "mount": str(published), "digest": digest}
    artifact = artifact_of(mounted := prepare(model=base, adopt=pinned))
    assert (artifact.digest, artifact.source_digest) == (digest, digest)
    assert artifact.base_model == "pvc://inputs/tiny-llama"
    assert artifact.base_revision == mounted.summary.model.revision
    assert files_of(mounted.run.adapter) == files_of(published)
    hub.add("model", "acme/adapter", {**files_of(published), ".gitattributes": b""})
    fetched = prepare(model=base, adopt={"uri": "hf://acme/adapter", "digest": digest}, name="fetched")
    assert artifact_of(fetched).digest == digest
    assert artifact_of(prepare(model=base, adopt=pinned)) == artifact


def test_what_was_edited_after_it_was_published_is_any_folder(
    base: Path, published: Path, tmp_path: Path, prepare: Prepare
) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(published, folder)
    elsewhere.change_tensors(folder, {n: 2 * t for n, t in elsewhere.tensors_of(folder).items()})
    artifact = artifact_of(prepared := prepare(model=base, adopt=folder))
    assert artifact.source_digest != read_manifest(published).digest
    assert not (prepared.run.adapter / "canary.json").exists(), "it says what other weights answer"


@pytest.mark.parametrize("fields", [{"rank": "many"}, {"type": "Other"}, {"base_revision": None}])
def test_a_manifest_that_no_job_wrote_makes_a_folder_no_other(
    fields: dict[str, Any], base: Path, published: Path, tmp_path: Path, prepare: Prepare
) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(published, folder)
    path = folder / "MANIFEST.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    artifact = artifact_of(prepared := prepare(model=base, adopt=folder))
    assert artifact.source_digest != read_manifest(folder).digest
    assert not (prepared.run.adapter / "canary.json").exists()


def test_a_manifest_that_says_another_rank_than_the_weights_have_is_refused(
    base: Path, published: Path, tmp_path: Path, prepare: Prepare
) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(published, folder)
    path = folder / "MANIFEST.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rank": 8}))
    prepared = prepare(model=base, adopt=folder)
    assert prepared.message.reason is Reason.ADAPTER_INVALID
    assert "is not what its MANIFEST.json says" in prepared.message.message


def test_prompts_of_an_evaluation_are_counted_with_the_template_of_the_artifact(
    base: Path, tmp_path: Path, prepare: Prepare
) -> None:
    folder = elsewhere.lora(base, tmp_path / "adapter")
    rows = write_chat_rows(tmp_path / "rows" / "test.jsonl", count=12)
    evaluation = {
        "data": {"source": {"uri": "pvc://inputs/test.jsonl", "mount": str(rows)}},
        "metrics": [{"type": "ExactMatch", "name": "ExactMatch"}],
    }
    plain = prepare(model=base, adopt=folder, evaluation=evaluation).summary.evaluation
    added = " or so"
    elsewhere.tokenizer_files(base, folder, template=CHATML.replace("SmolLM", f"SmolLM{added}"))
    own = prepare(model=base, adopt=folder, evaluation=evaluation, name="own").summary.evaluation
    assert plain is not None
    assert own is not None
    assert own.prompt_tokens["Tuned"] == plain.prompt_tokens["Tuned"] + len(added)
