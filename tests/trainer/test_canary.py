"""canary.json: which prompts are chosen, and that its numbers are those of the published files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kubetune_trainer.artifact.canary import choose
from kubetune_trainer.data import row_files
from tests.support.tiny_model import make_tiny_model
from tests.support.training_runs import Volume, fault, make_rows, train, training_config

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the libraries that make the tiny model
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def chosen(path: Path, rows: Sequence[tuple[list[int], list[int]]]) -> list[tuple[int, list[int]]]:
    """Length and positions of each chosen row; a row is its tokens and the places that are learned."""
    with row_files.writing(path) as writer:
        writer.write(
            [tokens for tokens, _ in rows],
            [[tokens[i] if i in learned else -100 for i in range(len(tokens))] for tokens, learned in rows],
        )
    return [(len(row.tokens), list(row.positions)) for row in choose(row_files.RowFile(path))]


def test_questions_come_from_the_first_learned_tokens_of_short_rows(tmp_path: Path) -> None:
    tokens = list(range(50, 90))
    rows = [
        (tokens, [20, 21, 22, 23, 24, 39]),
        (tokens[:12], [8, 11]),
        (tokens[5:15], []),
        (tokens[3:9], [0]),  # the first token is never predicted
        (tokens[2:8], [0, 1, 2, 3, 4, 5]),
        (tokens[:12], [8, 11]),  # repeats an earlier one
    ]
    assert chosen(tmp_path / "rows", rows) == [(5, [1, 2, 3, 4]), (12, [8, 11]), (24, [20, 21, 22, 23])]


def of_length(length: int, number: int) -> tuple[list[int], list[int]]:
    return [number] * length, [length - 1]


def test_twenty_short_rows_or_eight_long_ones_are_asked_about(tmp_path: Path) -> None:
    assert len(chosen(tmp_path / "short", [of_length(10, number) for number in range(60)])) == 20
    assert len(chosen(tmp_path / "middle", [of_length(100, number) for number in range(60)])) == 10
    assert len(chosen(tmp_path / "long", [of_length(900, number) for number in range(60)])) == 8
    assert len(chosen(tmp_path / "few", [of_length(900, number) for number in range(3)])) == 3


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base model in bfloat16, as most are stored."""
    import torch
    from transformers import AutoModelForCausalLM

    path = make_tiny_model(tmp_path_factory.mktemp("model"))
    AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16).save_pretrained(path)
    return path


def test_layers_are_computed_in_float32_and_left_as_they_were(model: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from kubetune_trainer.artifact.float32 import computing_in_float32

    def load(dtype: torch.dtype) -> Any:
        torch.manual_seed(1)
        base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
        targets = ["q_proj", "down_proj"]
        settings = LoraConfig(r=4, target_modules=targets, init_lora_weights=False, lora_dropout=0.5)
        adapted = get_peft_model(base, settings, autocast_adapter_dtype=False)
        return adapted.float() if dtype == torch.float32 else adapted

    row = torch.tensor([make_rows(1)[0]["input_ids"]])
    exact, ours = load(torch.float32).eval(), load(torch.bfloat16).train()
    before = {name: parameter.clone() for name, parameter in ours.named_parameters()}
    hooked: list[int] = []
    handle = ours.base_model.model.model.layers[0].register_forward_hook(lambda *_: hooked.append(1))
    with computing_in_float32(ours, torch.device("cpu")):
        found = ours(row).logits
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact(row).logits, rtol=1e-5, atol=1e-5)
    assert hooked == []
    assert ours.training
    after = ours(row).logits
    assert (after.dtype, hooked) == (torch.bfloat16, [1])
    assert all(parameter.equal(before[name]) for name, parameter in ours.named_parameters())
    handle.remove()


def answer(model: Any, question: dict[str, Any]) -> float:
    import torch

    with torch.no_grad():
        logits = model(torch.tensor([question["prompt"]])).logits[0, -1]
    return float(logits.log_softmax(-1)[question["token"]])


def assert_as_published(made: Volume, base: Path) -> None:
    """The numbers are those that the published files give, computed by the libraries alone."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    def load(path: Path) -> Any:
        return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()

    if made.config.training.adapter.type != "Full":
        directory = made.run.adapter
        tuned = PeftModel.from_pretrained(load(base), directory).eval()
    else:
        directory = made.run.model
        tuned = load(directory)
    record = json.loads((directory / "canary.json").read_text())
    kinds = {key: value for key, value in record.items() if key != "questions"}
    assert kinds == {
        "version": 1,
        "dtype": "float32",
        "architecture": "LlamaForCausalLM",
        "model_dtype": "bfloat16",
        "stored_dtype": "bfloat16",
    }
    assert len(record["questions"]) >= 8
    original = load(base)
    for question in record["questions"]:
        assert question["tuned"] == pytest.approx(answer(tuned, question), abs=1e-4)
        assert question["base"] == pytest.approx(answer(original, question), abs=1e-4)
    assert max(abs(question["tuned"] - question["base"]) for question in record["questions"]) > 0.1


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_of_an_adapter_on_4_bits_the_full_base_is_asked(tmp_path: Path, model: Path, stage: int) -> None:
    adapter = {"type": "QLoRA", "rank": 4, "alpha": 2, "use_rslora": True}
    training = training_config(zero_stage=stage, adapter=adapter)
    made = Volume(tmp_path / "output", training)
    made.prepare(model, make_rows(30), make_rows(9, seed=2))
    made.environment = {"KUBETUNE_DTYPE": "bfloat16"}
    (pod,) = train(made, tmp_path / "scratch", ranks=2)
    assert pod.process.returncode == 0, pod.log
    record = json.loads((made.run.adapter / "canary.json").read_text())
    assert 0.001 < record.pop("quantisation_shift") < 0.5
    (made.run.adapter / "canary.json").write_text(json.dumps(record))
    assert_as_published(made, model)
    card = (made.run.adapter / "README.md").read_text()
    assert "Name the colour of an item.\n\n| | |\n|---|---|\n| example.com/team | payments |\n" in card
    assert "QLoRA, rank 4, alpha 2 (scaled by alpha / sqrt(rank))" in card
    assert "Losses were measured on the base in 4 bits" in card


@pytest.mark.parametrize(("adapter", "stage"), [("Full", 2), ("LoRA", 3)])
def test_numbers_are_those_of_the_published_files_after_a_resume(
    tmp_path: Path, model: Path, adapter: str, stage: int
) -> None:
    training = {"zero_stage": stage, "adapter": {"type": adapter, "rank": 4, "alpha": 8, "dropout": "0.1"}}
    made = Volume(tmp_path / "output", training_config(**training))
    made.prepare(model, make_rows(30), make_rows(9, seed=2))
    made.environment = {"KUBETUNE_DTYPE": "bfloat16"} | fault(
        rank=1, function="step", call=7, signal="SIGKILL"
    )
    train(made, tmp_path / "killed", ranks=2)
    assert made.checkpoints() == ["step-000004"]
    made.environment = {"KUBETUNE_DTYPE": "bfloat16"}
    (pod,) = train(made, tmp_path / "last", ranks=2)
    assert pod.process.returncode == 0, pod.log
    assert_as_published(made, model)
