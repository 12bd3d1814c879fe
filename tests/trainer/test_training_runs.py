"""Whole attempts on two real processes: parity, resume, and how each failure ends."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from kubetune_trainer.artifact.model_card import CARD_NAME
from kubetune_trainer.artifact.publish import verified_artifact
from kubetune_trainer.contract.messages import Progress, Reason, TrainSummary
from kubetune_trainer.data import row_files
from kubetune_trainer.data.sampler import Batching
from kubetune_trainer.store import passes
from kubetune_trainer.store.manifest import read_manifest, verify_manifest
from tests.support.tiny_model import VOCABULARY, make_tiny_model, tiny_tokenizer
from tests.support.training_runs import (
    Pod,
    Volume,
    fault,
    faults,
    get,
    make_rows,
    pods,
    train,
    training_config,
    wait_until,
)

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the libraries that make the tiny model
]

FLOAT32 = {"KUBETUNE_DTYPE": "float32"}
DROPOUT = {"rank": 4, "alpha": 8, "dropout": "0.1"}
LEARNED = ("loss", "grad_norm", "learning_rate", "mean_token_accuracy", "tokens")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base model."""
    return make_tiny_model(tmp_path_factory.mktemp("model"))


def volume(root: Path, model: Path, **training: object) -> Volume:
    """A prepared volume: 30 rows are not a multiple of any global batch used here."""
    made = Volume(root / "output", training_config(**training))
    made.prepare(model, make_rows(30), make_rows(9, seed=2))
    return made


def succeed(made: Volume, scratch: Path, *, nodes: int = 1, ranks: int = 1) -> list[Pod]:
    """Run an attempt that must complete."""
    ended = train(made, scratch, nodes=nodes, ranks=ranks)
    assert [pod.process.returncode for pod in ended] == [0] * nodes, ended[0].log
    return ended


def steps_of(made: Volume) -> list[list[float | None]]:
    """Everything that was learned at each step."""
    return [[line.get(key) for key in LEARNED] for line in made.records() if "loss" in line]


# One global batch of 12 rows is one forward pass on one rank.
PARITY = {"batch_size": 12, "epochs": 3, "checkpoint_every_steps": 100}


@pytest.fixture(scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Volume:
    """The curve that others are compared with."""
    made = volume(tmp_path_factory.mktemp("one"), model, **PARITY)
    made.environment = FLOAT32
    succeed(made, made.root / "scratch")
    return made


FEW_TOKENS = 100
"""Of a pass: the longest row has 48, so that a step takes several of few rows each."""


@pytest.mark.parametrize(("stage", "nodes", "ranks"), [(2, 1, 2), (3, 2, 1)])
def test_two_processes_learn_in_small_passes_what_one_does_at_once(
    tmp_path: Path, model: Path, one_process: Volume, stage: int, nodes: int, ranks: int
) -> None:
    made = volume(tmp_path, model, zero_stage=stage, **PARITY)
    made.environment = FLOAT32
    passes.write(made.run, FEW_TOKENS)
    succeed(made, tmp_path, nodes=nodes, ranks=ranks)
    assert len(made.curve()) == 9
    for key in ("validation_loss", "validation_mean_token_accuracy"):
        assert made.curve(key) == pytest.approx(one_process.curve(key), rel=1e-5)
    assert_learned_the_same(made, one_process)
    assert_peaks_are_told(made)


def assert_peaks_are_told(made: Volume) -> None:
    """Of the larger of two processes, at every step: a peak never falls."""
    peaks = made.curve("memory_peak_bytes")
    assert len(peaks) == len(made.curve())
    assert peaks == sorted(peaks)
    assert peaks[0] > 2**27, "a process with torch has more"


def assert_learned_the_same(made: Volume, other: Volume) -> None:
    """In float32; without the norm a wrong scale of the gradient goes unseen, for Adam takes it out."""
    assert made.curve() == pytest.approx(other.curve(), rel=1e-5)
    assert made.curve("mean_token_accuracy") == pytest.approx(other.curve("mean_token_accuracy"), rel=1e-5)
    assert made.curve("tokens") == other.curve("tokens")
    if made.config.training.zero_stage == 0:
        assert made.curve("grad_norm") == [], "DeepSpeed does not tell it, and 0 would be wrong"
    else:
        assert made.curve("grad_norm") == pytest.approx(other.curve("grad_norm"), rel=1e-4)


@pytest.mark.parametrize("stage", [0, 1])
def test_two_processes_of_a_small_stage_learn_what_one_does_and_resume(
    tmp_path: Path, model: Path, one_process: Volume, stage: int
) -> None:
    made = volume(tmp_path, model, zero_stage=stage, **PARITY | {"checkpoint_every_steps": 4})
    made.environment = FLOAT32 | fault(rank=1, function="step", call=7, signal="SIGKILL")
    passes.write(made.run, FEW_TOKENS)
    train(made, tmp_path / "killed", ranks=2)
    assert made.checkpoints() == ["step-000004"]
    before = steps_of(made)
    assert len(before) == 6
    made.environment = FLOAT32
    succeed(made, tmp_path / "last", ranks=2)
    assert steps_of(made)[:6] == before
    assert_learned_the_same(made, one_process)


def test_in_bfloat16_two_processes_stay_close_to_one(tmp_path: Path, model: Path) -> None:
    curves, norms = [], []
    for stage, ranks in ((2, 1), (0, 2)):
        steps = {"epochs": 7, "max_steps": 20}
        made = volume(tmp_path / str(ranks), model, zero_stage=stage, **PARITY | steps)
        made.environment = {"KUBETUNE_DTYPE": "bfloat16"}
        succeed(made, tmp_path / f"scratch-{ranks}", ranks=ranks)
        curves.append(made.curve())
        norms.append(made.curve("grad_norm"))
    one, two = curves
    assert len(one) == 20
    assert two == pytest.approx(one, rel=0.05)
    assert sum(two) == pytest.approx(sum(one), rel=0.01)
    assert norms[1][:4] == pytest.approx(norms[0][:4], rel=0.1), "the gradient has the same scale"


RESUME = {"epochs": 3, "checkpoint_every_steps": 4, "adapter": DROPOUT}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, model: Path) -> dict[int, Volume]:
    """Runs that nothing happens to, by ZeRO stage."""
    runs = {}
    for stage in (2, 3):
        runs[stage] = volume(tmp_path_factory.mktemp("undisturbed"), model, zero_stage=stage, **RESUME)
        succeed(runs[stage], runs[stage].root / "scratch", ranks=2)
    return runs


def test_prepared_rows_that_somebody_changed_are_not_trained_on(tmp_path: Path, model: Path) -> None:
    made = volume(tmp_path, model, zero_stage=2, **RESUME)
    with row_files.writing(made.run.train_rows) as writer:
        writer.write([[65, 66]], [[65, 66]])
    (refused,) = train(made, tmp_path / "refused", ranks=1)
    assert (refused.process.returncode, refused.message.reason) == (42, Reason.VOLUME_UNUSABLE)
    assert "train.arrow has 1 rows, not " in refused.message.message


def test_a_run_that_lost_ranks_ends_like_an_undisturbed_one(
    tmp_path: Path, model: Path, undisturbed: dict[int, Volume]
) -> None:
    made = volume(tmp_path, model, zero_stage=2, **RESUME)

    made.environment = fault(rank=1, function="step", call=6, signal="SIGKILL")
    peer, killed = train(made, tmp_path / "killed", nodes=2)
    assert (killed.process.returncode, killed.message.reason) == (137, Reason.UNKNOWN)
    assert "signal 9 (SIGKILL)" in killed.message.message
    assert (peer.process.returncode, peer.message.reason) == (46, Reason.PEER_LOST)
    assert peer.message.step == 5
    assert not (made.run.root.parent / ".lock").exists(), "a rank that is killed leaves no lock"
    assert made.checkpoints() == ["step-000004"]

    # Another world size is refused before the model is loaded.
    (refused,) = train(made, tmp_path / "refused", ranks=1)
    assert (refused.process.returncode, refused.message.reason) == (42, Reason.INVALID_INPUT)
    assert "written with world size 2, this job has 1" in refused.message.message

    # SIGTERM to one rank stops both after the same step.
    made.environment = fault(rank=1, function="step", call=3, signal="SIGTERM")
    stopped = train(made, tmp_path / "stopped", nodes=2)
    assert [pod.process.returncode for pod in stopped] == [44, 44]
    assert {pod.message.reason for pod in stopped} == {Reason.PREEMPTED}
    assert len({pod.message.step for pod in stopped}) == 1

    made.environment = {}
    (last,) = succeed(made, tmp_path / "last", ranks=2)
    assert TrainSummary.model_validate(last.message.summary).from_step == 4
    assert steps_of(made) == steps_of(undisturbed[2])
    assert made.curve("validation_loss") == undisturbed[2].curve("validation_loss")
    assert same_weights(made, undisturbed[2])


def test_ranks_that_are_stopped_save_where_they_stop(
    tmp_path: Path, model: Path, undisturbed: dict[int, Volume]
) -> None:
    made = volume(tmp_path, model, zero_stage=2, **RESUME)
    made.environment = fault(rank=1, function="step", call=6, signal="SIGTERM")
    stopped = train(made, tmp_path / "stopped", nodes=2)
    assert [pod.process.returncode for pod in stopped] == [44, 44]
    step = stopped[0].message.step
    assert step is not None
    assert step > 4
    assert made.checkpoints() == ["step-000004", f"step-{step:06d}"]

    made.environment = {}
    (last,) = succeed(made, tmp_path / "last", ranks=2)
    assert TrainSummary.model_validate(last.message.summary).from_step == step
    assert steps_of(made) == steps_of(undisturbed[2])
    assert same_weights(made, undisturbed[2])


def test_without_an_interval_the_first_checkpoint_is_early_and_the_last_at_the_end(
    tmp_path: Path, model: Path
) -> None:
    made = volume(tmp_path, model, epochs=30, max_steps=102, checkpoint_every_steps=None)
    succeed(made, tmp_path, ranks=2)
    assert made.checkpoints() == ["step-000100", "step-000102"]


def test_a_rank_killed_in_the_middle_of_a_save_costs_that_save_only(
    tmp_path: Path, model: Path, undisturbed: dict[int, Volume]
) -> None:
    made = volume(tmp_path, model, zero_stage=3, **RESUME)

    made.environment = fault(rank=0, function="rename", call=2, signal="SIGKILL")  # publishing step 8
    (killed,) = train(made, tmp_path / "killed", ranks=2)
    assert (killed.process.returncode, killed.message.reason) == (137, Reason.UNKNOWN)
    assert made.checkpoints() == ["step-000004"]
    assert [*made.run.checkpoints.glob(".step-000008-*")]

    made.environment = {}
    with pods(made, tmp_path / "last", ranks=2) as (last,):
        # It answers before it has loaded anything.
        wait_until(lambda: get(last, "/progress") is not None, last)
        progress = Progress.model_validate_json(get(last, "/progress") or "")
        assert progress.total_steps == 12
        wait_until(lambda: "kubetune_train_volume_free_bytes" in (get(last, "/metrics") or ""), last)
        wait_until(lambda: '"last_checkpoint_time":1' in (get(last, "/progress") or ""), last)
        # Who reads the steps gets the last of them, however short the training is.
        wait_until(lambda: "full_valid_loss" in (get(last, "/steps?after=11") or ""), last)
        assert last.wait() == 0, last.log
    assert TrainSummary.model_validate(last.message.summary).from_step == 4
    assert steps_of(made) == steps_of(undisturbed[3])
    assert same_weights(made, undisturbed[3])


def test_a_resume_within_an_epoch_continues_it(tmp_path: Path, model: Path, one_process: Volume) -> None:
    """Step 4 is the first of the second epoch."""
    made = volume(tmp_path, model, **PARITY | {"checkpoint_every_steps": 4})
    made.environment = FLOAT32 | fault(rank=0, function="step", call=7, signal="SIGKILL")
    train(made, tmp_path / "killed")
    assert made.checkpoints() == ["step-000004"]
    made.environment = FLOAT32
    succeed(made, tmp_path / "last")
    assert steps_of(made) == steps_of(one_process)
    assert same_weights(made, one_process)


def test_a_rank_that_is_silent_is_given_up_after_the_timeout(tmp_path: Path, model: Path) -> None:
    made = volume(tmp_path, model, collective_timeout_seconds=25)
    made.environment = fault(rank=1, function="step", call=3, signal="SIGSTOP")
    with pods(made, tmp_path, nodes=2) as (waiting, silent):
        assert waiting.wait() == 46, waiting.log
        assert silent.process.poll() is None
    assert waiting.message.reason == Reason.PEER_LOST
    assert waiting.message.step == 2


def test_a_rank_that_hangs_after_another_has_failed_is_killed(tmp_path: Path, model: Path) -> None:
    made = volume(tmp_path, model)
    made.environment = faults("0:step:3:SIGSTOP", "1:step:3:SIGKILL")
    (pod,) = train(made, tmp_path, ranks=2)
    assert pod.process.returncode == 137
    assert pod.message.message.startswith("Local rank 1 was killed by signal 9 (SIGKILL)")


def test_damaged_weights_fail_the_job_on_every_rank(tmp_path: Path, model: Path) -> None:
    made = volume(tmp_path, model, zero_stage=3, max_steps=2)
    made.environment = faults("0:gather:1:none")
    ended = train(made, tmp_path, nodes=2)
    assert [pod.process.returncode for pod in ended] == [42, 42]
    assert {pod.message.reason for pod in ended} == {Reason.ADAPTER_INVALID}
    assert "lora_A.weight are empty" in ended[0].message.message
    assert verified_artifact(made.run.root) is None


def same_weights(one: Volume, other: Volume) -> bool:
    """Whether both runs published the same bytes."""
    full = one.config.training.adapter.type == "Full"
    name = "model/model.safetensors" if full else "adapter/adapter_model.safetensors"
    return (one.run.root / name).read_bytes() == (other.run.root / name).read_bytes()


def test_a_finished_run_leaves_what_was_promised(undisturbed: dict[int, Volume]) -> None:
    for made in undisturbed.values():
        adapter = made.run.adapter
        assert {path.name for path in adapter.iterdir()} == {
            "MANIFEST.json",
            "README.md",
            "adapter_config.json",
            "adapter_model.safetensors",
            "canary.json",
            "chat_template.jinja",
            "tokenizer.json",
            "tokenizer_config.json",
        }
        assert {file.name for file in read_manifest(adapter).files} == {
            path.name for path in adapter.iterdir() if path.name not in ("MANIFEST.json", CARD_NAME)
        }
        assert all(path.stat().st_mode & 0o444 == 0o444 for path in adapter.iterdir())
        settings = json.loads((adapter / "adapter_config.json").read_text())
        assert settings["base_model_name_or_path"] == "org/tiny"
        assert settings["revision"] == "0123456789abcdef0123456789abcdef01234567"
        assert made.checkpoints() == ["step-000008", "step-000012"]
        summary = verified_artifact(made.run.root)
        assert summary is not None
        assert summary.path == f"colours/{made.config.run_key}/adapter"
        assert (summary.type, summary.rank, summary.base_model) == ("LoRA", 4, "hf://org/tiny")
        assert summary.digest == verify_manifest(adapter, apart=(CARD_NAME,)).digest


def test_results_are_a_table_with_the_usual_columns(undisturbed: dict[int, Volume]) -> None:
    made = undisturbed[2]
    with made.run.results_file.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "step",
        "train_loss",
        "train_accuracy",
        "valid_loss",
        "valid_mean_token_accuracy",
        "full_valid_loss",
        "full_valid_mean_token_accuracy",
    ]
    assert [row["step"] for row in rows] == [str(step) for step in range(13)]
    assert rows[0]["train_loss"] == ""
    assert [row["step"] for row in rows if row["valid_loss"]] == ["0", "4", "8", "12"]
    assert [float(row["train_loss"]) for row in rows[1:]] == made.curve()
    assert made.curve("full_validation_loss") == made.curve("validation_loss"), "few rows are all scored"


def test_one_step_is_a_whole_run(tmp_path: Path, model: Path) -> None:
    """As in a smoke test: the learning rate must not be that of a warm-up."""
    made = volume(tmp_path, model, max_steps=1)
    succeed(made, tmp_path)
    assert made.curve("learning_rate") == [0.01]
    assert verified_artifact(made.run.root) is not None


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [("Linear", [0.5, 1, 1, 0.5]), ("Constant", [0.5, 1, 1, 1]), ("Cosine", [0.5, 1, 1, 0.5])],
)
def test_learning_rates_follow_the_schedule(
    tmp_path: Path, model: Path, schedule: str, rates: list[float]
) -> None:
    made = volume(tmp_path, model, max_steps=4, schedule={"type": schedule, "warmup_ratio": "0.5"})
    succeed(made, tmp_path)
    assert made.curve("learning_rate") == pytest.approx([0.01 * rate for rate in rates])


def test_many_validation_rows_are_all_scored_at_the_ends_of_epochs_only(tmp_path: Path, model: Path) -> None:
    """A stop does not wait until all are scored, and a resumed run scores the same sample."""
    made = Volume(tmp_path / "output", training_config(epochs=2, checkpoint_every_steps=3))
    made.prepare(model, make_rows(40), make_rows(300, seed=2))
    passes.write(made.run, 200)
    batching = Batching(global_batch=8, world_size=2, most_tokens=200)
    batches = len(batching.passes(range(300), row_files.RowFile(made.run.validation_rows).lengths, 0))
    assert batches > 10

    made.environment = fault(rank=1, function="agree", call=4, signal="SIGTERM")
    (stopped,) = train(made, tmp_path / "stopped", ranks=2)
    assert (stopped.process.returncode, stopped.message.reason) == (44, Reason.PREEMPTED)
    assert [line["step"] for line in made.records()] == [1]

    # The first step, all batches with the base model, two steps more, and then some batches after the third.
    made.environment = fault(rank=1, function="agree", call=3 + batches + 3, signal="SIGTERM")
    (stopped,) = train(made, tmp_path / "stopped-later", ranks=2)
    assert (stopped.process.returncode, stopped.message.step) == (44, 3)
    assert [line["step"] for line in made.records()] == [1, 0, 2, 3]
    assert made.checkpoints() == []

    made.environment = fault(rank=1, function="step", call=6, signal="SIGKILL")
    train(made, tmp_path / "killed", ranks=2)
    assert made.checkpoints() == ["step-000003"]
    made.environment = {}
    succeed(made, tmp_path / "last", ranks=2)

    looks = {line["step"]: line for line in made.records() if "validation_loss" in line}
    assert list(looks) == [0, 3, 5, 6, 9, 10]
    assert [step for step, line in looks.items() if "full_validation_loss" in line] == [0, 5, 10]
    assert looks[10]["full_validation_loss"] == pytest.approx(looks[10]["validation_loss"], rel=0.1)
    assert looks[10]["full_validation_loss"] != looks[10]["validation_loss"]
    summary = verified_artifact(made.run.root)
    assert summary is not None
    assert summary.validation_loss == f"{looks[10]['full_validation_loss']:.4f}"


def test_the_base_is_scored_as_it_was_though_an_adapter_has_learned(tmp_path: Path, model: Path) -> None:
    """Full training scores it before the first step, LoRA after it, which changes nothing of the base."""
    scores = {}
    for adapter in ("Full", "LoRA"):
        made = volume(
            tmp_path / adapter,
            model,
            adapter={"type": adapter},
            learning_rate="0.05",
            schedule={"warmup_ratio": "0"},
            checkpoint_every_steps=1,
            max_steps=2,
        )
        made.environment = FLOAT32
        succeed(made, tmp_path / f"scratch-{adapter}", ranks=2)
        looks = [line for line in made.records() if "validation_loss" in line]
        assert [line["step"] for line in looks] == [0, 1, 2]
        scores[adapter] = [line["validation_loss"] for line in looks]
    assert scores["LoRA"][0] == pytest.approx(scores["Full"][0], rel=1e-6)
    assert scores["LoRA"][1] != pytest.approx(scores["LoRA"][0], rel=1e-4), "the step before has learned"


def test_a_finished_run_is_adopted(tmp_path: Path, model: Path, undisturbed: dict[int, Volume]) -> None:
    made = Volume(tmp_path / "output", undisturbed[2].config)
    shutil.copytree(undisturbed[2].root, made.root)
    (again,) = succeed(made, tmp_path, ranks=2)
    summary = TrainSummary.model_validate(again.message.summary)
    assert summary.artifact == verified_artifact(undisturbed[2].run.root)
    assert made.records() == undisturbed[2].records()


def test_what_the_volume_does_not_give_is_tried_again(tmp_path: Path, model: Path) -> None:
    """Every read of /proc/self/mem fails with EIO; the job must neither begin anew nor stall."""
    made = volume(tmp_path, model)
    kept = made.run.checkpoints / "step-000004"
    kept.mkdir(parents=True)
    (kept / "MANIFEST.json").symlink_to("/proc/self/mem")
    (ended,) = train(made, tmp_path, ranks=2)
    assert (ended.process.returncode, ended.message.reason) == (1, Reason.UNKNOWN)
    assert ended.message.message.endswith("step-000004/MANIFEST.json be read: Input/output error.")

    shutil.rmtree(kept)
    (made.run.prepared / "model.json").unlink()
    (made.run.prepared / "model.json").symlink_to("/proc/self/mem")
    (ended,) = train(made, tmp_path)
    assert (ended.process.returncode, ended.message.reason) == (1, Reason.UNKNOWN)
    assert ended.message.message.endswith("prepared: Input/output error.")
    assert not made.run.metrics_file.exists()


def test_sigterm_before_training_ends_the_attempt_at_once(tmp_path: Path, model: Path) -> None:
    made = volume(tmp_path, model)
    with pods(made, tmp_path) as (pod,):
        wait_until(lambda: get(pod, "/progress") is not None, pod)
        pod.process.terminate()
        assert pod.wait() == 44, pod.log
    assert pod.message.reason == Reason.PREEMPTED
    assert not made.run.metrics_file.exists()


def test_what_does_not_fit_into_memory_is_tried_again_in_halves(
    tmp_path: Path, model: Path, one_process: Volume
) -> None:
    made = volume(tmp_path, model, **PARITY | {"checkpoint_every_steps": 4})
    longest = max(row_files.RowFile(made.run.train_rows).lengths)
    passes.write(made.run, 4 * longest)
    for call, tokens, half in ((6, 4 * longest, 2 * longest), (1, 2 * longest, longest)):
        made.environment = FLOAT32 | faults(f"0:memory:{call}:0")
        (ended,) = train(made, tmp_path / str(tokens))
        assert (ended.process.returncode, ended.message.reason) == (1, Reason.UNKNOWN)
        assert f"passes of {tokens} tokens did not fit" in ended.message.message
        assert f"continues from the last checkpoint with {half};" in ended.message.message
        assert passes.read(made.run) == half
    (ended,) = train(made, tmp_path / "longest")
    assert (ended.process.returncode, ended.message.reason) == (43, Reason.OUT_OF_MEMORY)
    assert f"The longest row, of {longest} tokens" in ended.message.message
    made.environment = FLOAT32
    succeed(made, tmp_path / "last")
    assert_learned_the_same(made, one_process)


def test_a_loss_that_is_not_a_number_ends_the_attempt(tmp_path: Path, model: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})

    made = Volume(tmp_path / "output", training_config())
    made.prepare(broken, make_rows(16), [])
    (ended,) = train(made, tmp_path)
    assert (ended.process.returncode, ended.message.reason) == (45, Reason.NUMERICAL_FAILURE)
    assert ended.message.message.startswith("Step 1: the loss is nan")
    assert made.checkpoints() == []
    assert verified_artifact(made.run.root) is None


@pytest.mark.parametrize("stage", [2, 3])
def test_a_full_fine_tune_keeps_the_routers_of_experts(tmp_path: Path, stage: int) -> None:
    """Their biases are buffers, which training leaves alone and which serving needs."""
    import torch
    from safetensors.torch import load_file
    from transformers import Glm4MoeConfig, Glm4MoeForCausalLM

    base = tmp_path / "base"
    config = Glm4MoeConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=32,
        moe_intermediate_size=16,
        num_hidden_layers=2,
        first_k_dense_replace=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_shared_experts=1,
    )
    made_base = Glm4MoeForCausalLM(config)
    made_base.model.layers[1].mlp.gate.e_score_correction_bias[:] = torch.tensor([0.1, 0.2, 0.3, 0.4])
    made_base.save_pretrained(base)
    tiny_tokenizer().save_pretrained(base)

    made = volume(tmp_path, base, zero_stage=stage, adapter={"type": "Full"}, max_steps=2)
    made.environment = {"KUBETUNE_DTYPE": "bfloat16"}
    succeed(made, tmp_path, ranks=2)
    trained, original = (load_file(path / "model.safetensors") for path in (made.run.model, base))
    assert {name: tensor.shape for name, tensor in trained.items()} == {
        name: tensor.shape for name, tensor in original.items()
    }
    bias = "model.layers.1.mlp.gate.e_score_correction_bias"
    assert trained[bias].equal(original[bias])
    assert trained[bias].dtype == torch.float32


def test_a_full_fine_tune_publishes_every_weight_in_the_layout_of_its_base(
    tmp_path: Path, model: Path
) -> None:
    from safetensors.torch import load_file

    made = volume(tmp_path, model, zero_stage=3, adapter={"type": "Full"}, learning_rate="1e-3", max_steps=6)
    succeed(made, tmp_path, ranks=2)
    summary = verified_artifact(made.run.root)
    assert summary is not None
    assert (summary.type, summary.rank, summary.path.rpartition("/")[2]) == ("Full", None, "model")
    trained, base = (load_file(path / "model.safetensors") for path in (made.run.model, model))
    assert {name: tensor.shape for name, tensor in trained.items()} == {
        name: tensor.shape for name, tensor in base.items()
    }
    first, *_, last = made.curve("validation_loss")
    assert last < first


def test_another_method_needs_no_other_loop(tmp_path: Path, model: Path) -> None:
    """It has batches, a loss, a weight and metrics of its own; two ranks find what one finds, and neither
    unpickles what the other sends."""
    runs = []
    for ranks in (1, 2):
        made = volume(tmp_path / str(ranks), model, **PARITY)
        hooks = (f"{rank}:{hook}:0:none" for rank in range(ranks) for hook in ("method", "unpickle"))
        made.environment = FLOAT32 | faults(*hooks)
        succeed(made, tmp_path / f"pods-{ranks}", ranks=ranks)
        runs.append(made)
    one, two = (made.records() for made in runs)
    assert verified_artifact(runs[1].run.root) is not None
    for key in ("loss", "mean_probability", "validation_loss", "full_validation_mean_probability"):
        values = [[line[key] for line in lines if key in line] for lines in (one, two)]
        assert len(values[0]) > 1
        assert values[0] == pytest.approx(values[1], rel=1e-4)
    assert not any("mean_token_accuracy" in line for line in one)
    learned = [line for line in one if "loss" in line]
    assert learned[-1]["mean_probability"] > learned[0]["mean_probability"]


def test_a_step_in_which_nothing_is_learned_is_an_error(tmp_path: Path, model: Path) -> None:
    made = Volume(tmp_path / "output", training_config(batch_size=12))
    rows = [{**row, "labels": [-100] * len(row["labels"])} for row in make_rows(30)]
    made.prepare(model, rows, make_rows(9, seed=2))
    (pod,) = train(made, tmp_path / "pods")
    assert pod.message.reason == Reason.DATA_INVALID
    assert "Nothing is learned in step 1" in pod.message.message
    assert not any("loss" in line for line in made.records())


CONTRARY = [
    {**row, "labels": [90 if token != -100 else token for token in row["labels"]]} for row in make_rows(9)
]
"""Validation rows whose answers become less likely with every step."""

CHOOSE = {
    "epochs": 8,
    "checkpoint_every_steps": 3,
    "schedule": {"type": "Constant", "warmup_ratio": "0"},
    "select": {"strategy": "Best", "patience": 2},
}
"""Looks after steps 3, 4, 6 and 8 and so on; epochs of 4 steps end with looks at all rows."""


def looks(made: Volume) -> dict[int, float]:
    """Validation loss of the sample by step; 0 is the base."""
    return {line["step"]: line["validation_loss"] for line in made.records() if line.get("validation_loss")}


@pytest.mark.parametrize(
    ("stage", "nodes", "ranks", "kind"),
    [(3, 1, 2, "LoRA"), (1, 2, 1, "Full"), (3, 1, 2, "Full")],
)
def test_the_best_weights_are_published_and_patience_ends_training(
    tmp_path: Path, model: Path, stage: int, nodes: int, ranks: int, kind: str
) -> None:
    adapter = {"rank": 4, "alpha": 8, "type": kind}
    made = Volume(tmp_path / "output", training_config(zero_stage=stage, adapter=adapter, **CHOOSE))
    made.prepare(model, make_rows(30), CONTRARY)
    made.environment = fault(rank=0, function="step", call=6, signal="SIGKILL")
    train(made, tmp_path / "killed", nodes=nodes, ranks=ranks)
    assert made.checkpoints() == ["step-000003"]
    made.environment = {}
    first, *_ = succeed(made, tmp_path / "chosen", nodes=nodes, ranks=ranks)
    summary = TrainSummary.model_validate(first.message.summary)
    assert summary.artifact is not None
    scored = looks(made)
    del scored[0]
    best = min(scored, key=scored.__getitem__)
    assert len([step for step in scored if step > best]) == 2, "patience"
    assert (summary.from_step, summary.to_step, summary.artifact.step) == (3, max(scored), best)
    assert summary.artifact.validation_loss == f"{scored[best]:.4f}"
    full = {line["step"] for line in made.records() if "full_validation_loss" in line}
    assert best in full, "all rows are scored with what is published"
    assert not made.run.best.exists()
    assert (
        f"{best} of {max(scored)}"
        in (made.run.root / summary.artifact.path.split("/")[-1] / "README.md").read_text()
    )

    short = CHOOSE | {"max_steps": best, "select": {}}
    last = Volume(tmp_path / "last", training_config(zero_stage=stage, adapter=adapter, **short))
    last.prepare(model, make_rows(30), CONTRARY)
    succeed(last, tmp_path / "short", nodes=nodes, ranks=ranks)
    assert same_weights(made, last), "after a resume and more steps"


def test_an_attempt_that_ended_by_patience_is_not_trained_on(tmp_path: Path, model: Path) -> None:
    made = Volume(tmp_path / "output", training_config(zero_stage=2, **CHOOSE))
    made.prepare(model, make_rows(30), CONTRARY)
    made.environment = fault(rank=0, function="gather", call=1, signal="SIGKILL")
    (failed,) = train(made, tmp_path / "failed")
    assert failed.process.returncode == 42
    last = max(looks(made))
    assert last < 32, "patience"
    made.environment = {}
    (pod,) = succeed(made, tmp_path / "again")
    summary = TrainSummary.model_validate(pod.message.summary)
    assert (summary.from_step, summary.to_step) == (last, last)
    assert max(line["step"] for line in made.records()) == last


def test_learning_that_diverges_ends_with_its_numbers(tmp_path: Path, model: Path) -> None:
    made = volume(
        tmp_path,
        model,
        adapter={"type": "Full"},
        zero_stage=2,
        epochs=16,
        learning_rate="1",
        schedule={"type": "Linear", "warmup_ratio": "0.9"},
        on_divergence="Stop",
    )
    (pod,) = train(made, tmp_path / "diverged")
    assert (pod.process.returncode, pod.message.reason) == (45, Reason.NUMERICAL_FAILURE)
    assert "over the last 8 steps, after " in pod.message.message
    assert "Lower learningRate (now 1.0)" in pod.message.message
    assert made.checkpoints(), "earlier checkpoints are kept"
