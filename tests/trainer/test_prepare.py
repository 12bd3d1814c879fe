"""``prepare`` from the configuration to the termination message, with real files, tokenizer and model."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from kubetune_trainer import __main__ as entry
from kubetune_trainer.contract import termination
from kubetune_trainer.contract.layout import OUTPUT_VARIABLE, RunDirectory
from kubetune_trainer.contract.messages import (
    ArtifactSummary,
    DatasetSummary,
    ExitCode,
    ModelSummary,
    PrepareSummary,
    TerminationMessage,
)
from kubetune_trainer.data.sampler import SAMPLER_NAME
from kubetune_trainer.store.checkpoints import Checkpoints, Layout, own_files
from kubetune_trainer.store.manifest import sync_file, write_manifest
from tests.support.chat_templates import SHORT, stored_template
from tests.support.hub_server import files_of, hub_server
from tests.support.prepare_runs import Prepare, Prepared, pairs, write
from tests.support.small_volume import fill, small_volume
from tests.support.tiny_model import chat_row, make_tiny_model, tiny_tokenizer, write_chat_rows
from tests.support.trainer_configs import trainer_config

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # peft's
]


def test_chat_rows_become_tokens_with_labels_and_a_summary(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    result = prepare(
        model=tiny, train=write(tmp_path / "train.jsonl", *pairs(60)), training={"epochs": 3, "batch_size": 8}
    )
    summary = result.summary
    assert result.message.message == f"60 rows, 600 tokens; tiny pinned at {summary.model.revision[:7]}"
    # <|user|> q 0 0 0 <|end|> <|assistant|> a 0 <|end|>: 10 tokens, the last 3 are learned.
    assert result.rows()[0]["length"] == 10
    assert [label != -100 for label in result.rows()[0]["labels"]] == [False] * 7 + [True] * 3
    assert summary.dataset.model_dump(exclude={"fingerprint"}) == {
        "train_rows": 60,
        "validation_rows": 0,
        "train_tokens": 600,
        "tokens_per_row": {"mean": 10, "p50": 10, "p95": 10, "max": 10},
        "truncated_rows": 0,
        "dropped_rows": 0,
        "duplicate_rows": 0,
        "leaked_rows": 0,
        "sha256": None,
        "split_rows": 0,
        "train_examples": 60,
        "validation_examples": 0,
        "warnings": (),
    }
    # Embeddings 275 x 64; per layer q and o 64 x 64, k and v 64 x 32, gate, up and down 64 x 128, two norms;
    # a last norm.
    layer = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128 + 2 * 64
    assert summary.model.parameters == 275 * 64 + 2 * layer + 64
    # LoRA of rank 4 adds 4 x (in + out) to each linear layer.
    lora = 4 * (2 * (64 + 64) + 2 * (64 + 32) + 3 * (64 + 128))
    assert summary.plan.trainable_parameters == 2 * lora
    assert summary.plan.total_steps == 3 * 8  # 60 rows in batches of 8: the eighth has 4
    assert summary.model.architecture == "LlamaForCausalLM"
    assert summary.model.path == str(tiny)
    assert summary.artifact is None


def test_files_in_prepared_are_what_training_reads(prepare: Prepare, tiny: Path, tmp_path: Path) -> None:
    result = prepare(
        model=tiny,
        train=write(tmp_path / "train.jsonl", *pairs(50)),
        validation=write(tmp_path / "test.jsonl", chat_row("new", "b")),
    )
    run = result.run
    assert sorted(path.name for path in run.prepared.iterdir()) == [
        "dataset.json", "errors.jsonl", "model.json", "preview.html", "train.arrow", "validation.arrow",
        "validation_lines.json",
    ]  # fmt: skip
    assert json.loads(run.validation_lines_file.read_text()) == {"pvc://inputs/test.jsonl": [1]}
    assert DatasetSummary.model_validate_json(run.dataset_file.read_text()) == result.summary.dataset
    assert ModelSummary.model_validate_json(run.model_file.read_text()) == result.summary.model
    details = json.loads(run.dataset_file.read_text())["details"]
    assert details.pop("made_from").startswith("sha256:")
    assert [file["name"] for file in details.pop("row_files")] == [
        "train.arrow",
        "validation.arrow",
        "validation_lines.json",
    ]
    assert details == {
        "format": "Chat",
        "rows_read": 50,
        "uri": "pvc://inputs/train.jsonl",
        "files": ["pvc://inputs/train.jsonl"],
        "validation_files": ["pvc://inputs/test.jsonl"],
        "ends": [tiny_tokenizer().convert_tokens_to_ids("<|end|>")],
    }
    assert len(result.rows()) == 50
    assert len(result.rows("validation")) == result.summary.dataset.validation_rows == 1
    assert run.errors_file.read_text() == ""


def test_estimate_includes_the_scoring_of_validation_rows(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    train = write(tmp_path / "train.jsonl", *pairs(20))
    test = write(tmp_path / "test.jsonl", *[chat_row("q" * 191, f"a{index:03}") for index in range(100)])
    training = {"epochs": 50, "batch_size": 4}
    assert prepare(model=tiny, train=train, training=training).summary.plan.estimated_seconds == 60
    # 200 tokens each, before the first step and after every epoch; 8e10 operations a second.
    scored = 51 * 100 * 200
    for _ in ("tokenised", "held"):
        summary = prepare(model=tiny, train=train, validation=test, training=training).summary
        assert summary.plan.estimated_seconds == 60 + round(
            2 * summary.model.parameters * scored / 8e10 + 4 * summary.model.parameters * 50 * 200 / 8e10
        )
        assert summary.plan.estimated_seconds > 60


def test_csv_with_mapped_columns_and_a_system_prompt(prepare: Prepare, tiny: Path, tmp_path: Path) -> None:
    lines = [f"question {index},intent_{index}\n" for index in range(60)]
    result = prepare(
        model=tiny,
        train=write(tmp_path / "train.csv", "text,category\n", *lines),
        dataset={
            "columns": {"prompt": "text", "completion": "category"},
            "system_prompt": "Name the intent.",
        },
    )
    text = "<|system|>Name the intent.<|end|><|user|>question 0<|end|><|assistant|>intent_0<|end|>"
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    assert tokenizer.decode(result.rows()[0]["input_ids"]) == text
    assert (
        tokenizer.decode([label for label in result.rows()[0]["labels"] if label >= 0]) == "intent_0<|end|>"
    )


def test_text_rows_of_a_model_without_chat_template(prepare: Prepare, plain: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"text {index:02}"}) + "\n" for index in range(60)]
    result = prepare(model=plain, train=write(tmp_path / "train.jsonl", *lines))
    assert result.summary.dataset.train_tokens == 60 * 8  # 7 bytes and the end
    assert result.rows()[0]["labels"] == result.rows()[0]["input_ids"]


def test_every_bad_row_is_reported_and_the_first_twenty_are_in_the_message(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    bad = [
        "not json\n",
        '{"messages": []}\n',
        '{"messages": [{"role": "user", "content": "q"}]}\n',
        '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": ""}]}\n',
    ]
    train = write(tmp_path / "train.jsonl", *pairs(30), *bad * 10)
    result = prepare(model=tiny, train=train, validation=write(tmp_path / "test.jsonl", *pairs(1), "[1]\n"))
    assert result.code == ExitCode.INVALID_INPUT
    assert result.message.reason == "DataInvalid"
    assert result.message.message == (
        "41 of 72 rows cannot be used. Line 31: The line is not JSON: Expecting value at column 1. "
        "Line 32: messages is empty. "
        "Line 33: No message has the role assistant, so there is nothing to learn. "
        "All of them are in prepared/errors.jsonl."
    )
    summary = result.message.summary
    assert summary["errors"] == 41
    assert summary["classes"] == {
        "invalid_json": 10,
        "missing_messages_list": 10,
        "example_missing_assistant_message": 10,
        "missing_content": 10,
        "data_type": 1,
    }
    assert [row["line"] for row in summary["rows"]] == list(range(31, 51))
    written = [json.loads(line) for line in result.run.errors_file.read_text().splitlines()]
    assert [row["line"] for row in written] == [*range(31, 71), 2]
    assert written[-1] == {
        "file": "pvc://inputs/test.jsonl",
        "line": 2,
        "class": "data_type",
        "message": "The line is a list, not an object.",
    }


def test_rows_that_only_the_chat_template_refuses_are_reported_with_their_lines(
    prepare: Prepare, tmp_path: Path
) -> None:
    gemma = make_tiny_model(
        tmp_path / "gemma", chat_template=stored_template("gemma"), bos="<bos>", eos="<eos>"
    )
    system = '{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, '
    line = system + '{"role": "assistant", "content": "a"}]}\n'
    result = prepare(model=gemma, train=write(tmp_path / "train.jsonl", *pairs(20), line))
    assert result.message.summary["rows"] == [
        {
            "line": 21,
            "class": "template_refuses",
            "message": "The model's chat template refuses the row: System role not supported",
        }
    ]


@pytest.fixture
def delivered_recursion_limit() -> Iterator[None]:
    """Libraries that other tests load may have raised it."""
    raised = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(raised)


@pytest.mark.usefixtures("delivered_recursion_limit")
def test_row_that_breaks_the_code_is_reported_beside_the_others(prepare: Prepare, tmp_path: Path) -> None:
    again = "{% macro again() %}{{ again() }}{% endmacro %}{{ again() if messages[0].content == 'again' }}"
    template = again + stored_template("qwen2_5")
    qwen = make_tiny_model(tmp_path / "qwen", chat_template=template)
    user = {"role": "user", "content": "q"}
    half = {"name": "f", "arguments": '{"city": "\\ud83d"}'}
    rows = [
        {"messages": [user, {"role": "assistant", "content": None, "refusal": 5}]},
        {"messages": [user, {"role": "assistant", "tool_calls": [{"function": half}]}]},
        {"messages": [{**user, "content": "again"}, {"role": "assistant", "content": "a"}]},
        {"messages": []},
    ]
    lines = [json.dumps(row) + "\n" for row in rows]
    result = prepare(model=qwen, train=write(tmp_path / "train.jsonl", *pairs(20), *lines))
    assert (result.message.reason, result.message.summary["errors"]) == ("DataInvalid", 4)
    assert sorted((row["line"], row["class"]) for row in result.message.summary["rows"]) == [
        (21, "data_type"),
        (22, "encoding"),
        (23, "nested_too_deep"),
        (24, "missing_messages_list"),
    ]


def test_half_of_a_character_in_a_csv_cell_is_reported_with_its_line(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    good = [json.loads(line)["messages"] for line in pairs(20)]
    half = [{"role": "user", "content": "\ud83d"}, {"role": "assistant", "content": "a"}]
    with (tmp_path / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["messages"], *[[json.dumps(messages)] for messages in [*good, half]]])
    result = prepare(model=tiny, train=tmp_path / "train.csv")
    assert [(row["line"], row["class"]) for row in result.message.summary["rows"]] == [(22, "encoding")]


def test_token_without_an_embedding_is_named(prepare: Prepare, tiny: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    model = Path(shutil.copytree(tiny, tmp_path / "tiny"))
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|new|>"]})
    tokenizer.save_pretrained(model)
    train = write(tmp_path / "train.jsonl", *pairs(20))
    assert prepare(model=model, train=train).summary.dataset.train_rows == 20  # no row has the token
    write(
        train, *(json.dumps({"text": text}) + "\n" for text in [*("a" * n for n in range(1, 21)), "<|new|>"])
    )
    result = prepare(model=model, train=train)
    assert (result.code, result.message.reason) == (ExitCode.INVALID_INPUT, "ModelUnavailable")
    assert result.message.message == (
        "The model has no embedding for the token '<|new|>' of its tokenizer: its id is 275, vocab_size in "
        "config.json is 275. Use the tokenizer that belongs to the weights, or resize the embeddings."
    )


def test_row_with_more_tokens_than_the_model_has_positions_is_refused(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    import torch
    from transformers import OPTConfig, OPTForCausalLM

    model = Path(shutil.copytree(tiny, tmp_path / "opt"))
    sizes = {"hidden_size": 32, "ffn_dim": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = OPTConfig(vocab_size=275, max_position_embeddings=32, word_embed_proj_dim=32, **sizes)
    with torch.random.fork_rng():
        OPTForCausalLM(config).save_pretrained(model)
    train = write(tmp_path / "train.jsonl", *pairs(20), chat_row("q" * 40, "a"))
    fields = {"model": model, "train": train}
    assert prepare(**fields, dataset={"max_length": 64}).message.summary["rows"] == [
        {
            "line": 21,
            "class": "too_long",
            "message": "The row has 45 tokens, but the model has only 32 positions: set dataset.maxLength to "
            "at most 32.",
        }
    ]
    assert (
        prepare(**fields, dataset={"max_length": 32, "on_too_long": "Drop"}).summary.dataset.train_rows == 20
    )


def test_files_of_which_one_has_no_good_row_are_reported_by_row(prepare: Prepare, tiny: Path) -> None:
    good = "".join(pairs(20)).encode()
    files = {"train-00000-of-00002.jsonl": good, "train-00001-of-00002.jsonl": b"bad\n[]\n"}
    with hub_server() as hub:
        hub.add("dataset", "acme/rows", files)
        result = prepare(model=tiny, train="hf://acme/rows", platform={"hf_endpoint": hub.endpoint})
    assert [(row["file"], row["line"], row["class"]) for row in result.message.summary["rows"]] == [
        ("hf://acme/rows/train-00001-of-00002.jsonl", 1, "invalid_json"),
        ("hf://acme/rows/train-00001-of-00002.jsonl", 2, "data_type"),
    ]


def test_errors_of_a_prepare_that_failed_in_between_do_not_stay(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    train = write(tmp_path / "train.jsonl", *pairs(20))
    first = prepare(model=tiny, train=train)
    write(train, *pairs(20), "bad\n")
    assert prepare(model=tiny, train=train).run.errors_file.read_text() != ""
    write(train, *pairs(20))
    assert prepare(model=tiny, train=train).summary == first.summary
    assert first.run.errors_file.read_text() == ""


def test_failed_prepare_is_followed_by_a_good_one(prepare: Prepare, tiny: Path, tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", *pairs(20), "bad\n")
    assert prepare(model=tiny, train=train).code == ExitCode.INVALID_INPUT
    write(train, *pairs(20))
    result = prepare(model=tiny, train=train)
    assert result.summary.dataset.train_rows == 20
    assert result.run.errors_file.read_text() == ""
    assert [path.name for path in result.run.root.parent.iterdir()] == [result.run.root.name]


def test_fewer_than_ten_rows_are_refused(prepare: Prepare, tiny: Path, tmp_path: Path) -> None:
    result = prepare(model=tiny, train=write(tmp_path / "train.jsonl", *pairs(7)))
    assert result.code == ExitCode.INVALID_INPUT
    assert result.message.message == "dataset.train has 7 rows, but must have at least 10: add rows."


def test_rows_left_after_dropping_long_ones_must_be_ten(prepare: Prepare, tiny: Path, tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", *pairs(9), *[chat_row("q" * 40, "a")] * 3)
    result = prepare(model=tiny, train=train, dataset={"max_length": 20, "on_too_long": "Drop"})
    assert result.message.message == (
        "dataset.train has 9 rows after 3 longer than dataset.maxLength were dropped, "
        "but must have at least 10: add rows, or raise dataset.maxLength."
    )


def test_warnings_count_what_users_should_know(prepare: Prepare, tiny: Path, tmp_path: Path) -> None:
    train = write(
        tmp_path / "train.jsonl",
        *pairs(20),
        *pairs(3),
        chat_row("long", "a" * 40),  # 4 + 4 + 40 tokens: the answer does not fit
    )
    result = prepare(
        model=tiny,
        train=train,
        validation=write(tmp_path / "test.jsonl", *pairs(2), chat_row("new", "b")),
        dataset={"max_length": 20},
        training={"batch_size": 32},
    )
    summary = result.summary.dataset
    assert (summary.dropped_rows, summary.duplicate_rows, summary.validation_rows) == (1, 3, 3)
    assert summary.tokens_per_row.max == 10
    assert summary.warnings == (
        "1 rows are longer than dataset.maxLength 20 and were dropped.",
        "3 training rows repeat an earlier one.",
        "2 of 3 validation rows stand in the training rows as well, in lines 1 and 2 of "
        "pvc://inputs/test.jsonl: their loss says how well they were memorised. Remove them "
        "from one of the files.",
        "23 training rows are few: 50 to 100 good ones are where results begin to show.",
        "training.batchSize 32 is larger than the 23 training rows: each epoch is one step.",
    )
    assert result.summary.plan.total_steps == 1


def leaks(result: Prepared) -> list[tuple[int, int, str]]:
    rows = map(json.loads, result.run.leaks_file.read_text().splitlines())
    return [(row["line"], row["train_line"], row["kind"]) for row in rows]


def test_validation_rows_that_were_trained_on_are_listed_also_to_jobs_that_share_them(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    rows = [chat_row("q003", "a3"), chat_row("new", "a"), chat_row("Q007", " a0"), chat_row("q008", "b")]
    files = {
        "model": tiny,
        "train": write(tmp_path / "train.jsonl", *pairs(60)),
        "validation": write(tmp_path / "test.jsonl", *rows),
    }
    for name in ("first", "second"):
        result = prepare(name=name, **files)
        assert leaks(result) == [(1, 4, "Exact"), (3, 8, "Normalised"), (4, 9, "SamePrompt")]
        assert result.summary.dataset.leaked_rows == 2
        assert result.summary.dataset.warnings == (
            "2 of 4 validation rows stand in the training rows as well, in lines 1 and 3 of "
            "pvc://inputs/test.jsonl: their loss says how well they were memorised. Remove them "
            "from one of the files.",
            "1 of 4 validation rows has the prompt of a training row and another answer, in line 4 of "
            "pvc://inputs/test.jsonl: prepared/leaks.jsonl has them.",
        )
    refused = prepare(name="second", **files, dataset={"on_leak": "Fail"})
    assert (refused.code, refused.message.reason) == (ExitCode.INVALID_INPUT, "DataInvalid")
    assert refused.message.message == result.summary.dataset.warnings[0]
    assert [row["line"] for row in refused.message.summary["rows"]] == [1, 3]
    assert len(refused.run.errors_file.read_text().splitlines()) == 2
    write(tmp_path / "test.jsonl", rows[1], rows[3])
    mended = prepare(name="second", **files, dataset={"on_leak": "Fail"})
    assert mended.summary.dataset.leaked_rows == 0
    assert leaks(mended) == [(2, 9, "SamePrompt")]


def test_a_list_of_leaks_follows_files_that_have_the_same_rows(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    train, validation = tmp_path / "train.jsonl", write(tmp_path / "test.jsonl", *pairs(2))
    for blank in (0, 1):
        write(train, "\n" * blank, *pairs(20))
        result = prepare(model=tiny, train=train, validation=validation)
        assert leaks(result) == [(1, 1 + blank, "Exact"), (2, 2 + blank, "Exact")]


def test_rows_that_repeat_are_held_out_together(prepare: Prepare, tiny: Path, tmp_path: Path) -> None:
    rows = [chat_row(f"{'Qq'[number % 2]}{number // 2:03}", "a") for number in range(60)]
    train = write(tmp_path / "train.jsonl", *rows)
    result = prepare(model=tiny, train=train, dataset={"validation_fraction": "0.2", "on_leak": "Fail"})
    decode = tiny_tokenizer().decode
    numbers = {
        part: [re.search(r"[0-9]{3}", decode(row["input_ids"]))[0] for row in result.rows(part)]
        for part in ("train", "validation")
    }
    assert (len(numbers["train"]), len(numbers["validation"])) == (48, 12)
    assert not set(numbers["train"]) & set(numbers["validation"])
    assert not result.run.leaks_file.exists()
    write(train, *rows[:2] * 20)
    result = prepare(model=tiny, train=train, dataset={"validation_fraction": "0.2"})
    assert (result.code, result.message.message) == (
        ExitCode.INVALID_INPUT,
        "Too many of the 40 rows are the same for dataset.validationFraction: they stay together, and at "
        "least 10 are left to train on. Remove duplicates, or give more rows.",
    )


def test_validation_rows_that_are_too_long_are_counted_too(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    files = {
        "train": write(tmp_path / "train.jsonl", *pairs(60)),
        "validation": write(tmp_path / "test.jsonl", chat_row("new", "b"), chat_row("long", "a" * 40)),
    }
    dropped = prepare(model=tiny, **files, dataset={"max_length": 20}).summary.dataset
    assert (dropped.validation_rows, dropped.dropped_rows, [*dropped.warnings]) == (
        1,
        0,
        ["1 validation rows are longer than dataset.maxLength 20 and were dropped."],
    )


def turns(count: int, answer: str = "a") -> str:
    """A line with a dialogue of so many turns."""
    messages = [
        {"role": role, "content": f"{answer}{turn}"}
        for turn in range(count)
        for role in ("user", "assistant")
    ]
    return json.dumps({"messages": messages}) + "\n"


def test_turns_that_do_not_fit_are_left_out_when_asked(prepare: Prepare, tiny: Path, tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", *pairs(50), turns(9), chat_row("long", "a" * 40))
    limits = {"max_length": 20, "on_too_long": "Truncate"}
    cut = prepare(model=tiny, train=train, dataset=limits).summary.dataset
    assert (cut.train_rows, cut.truncated_rows, cut.dropped_rows) == (51, 1, 1)
    assert cut.warnings == (
        "1 rows are longer than dataset.maxLength 20 and lost the turns that do not fit.",
        "1 rows are longer than dataset.maxLength 20 and were dropped.",
    )


def test_rows_of_which_all_are_too_long_are_an_error_that_names_the_limit(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    train = write(tmp_path / "train.jsonl", *[chat_row(f"{index}", "a" * 40) for index in range(20)])
    assert prepare(model=tiny, train=train, dataset={"max_length": 20}).message.message == (
        "dataset.train has 0 rows after 20 longer than dataset.maxLength were dropped, but must have at "
        "least 10: add rows, or raise dataset.maxLength."
    )


def test_examples_of_one_row_stay_in_one_split(prepare: Prepare, tmp_path: Path) -> None:
    qwen = make_tiny_model(tmp_path / "qwen", chat_template=stored_template("qwen3"))
    rows = [turns(1 + number % 3, f"{number}-") for number in range(60)]
    train = write(tmp_path / "train.jsonl", *rows)
    result = prepare(model=qwen, train=train, dataset={"validation_fraction": "0.2"})
    summary = result.summary.dataset
    assert (summary.train_rows, summary.validation_rows) == (48, 12)
    assert summary.train_examples + summary.validation_examples == 20 * (1 + 2 + 3)
    assert summary.split_rows > 12
    assert len(result.rows()) == summary.train_examples
    assert len(result.rows("validation")) == summary.validation_examples
    decode = tiny_tokenizer().decode
    of_row = {
        part: {re.search(r"([0-9]+)-0", decode(row["input_ids"]))[1] for row in result.rows(part)}
        for part in ("train", "validation")
    }
    assert len(of_row["train"]) == 48
    assert not of_row["train"] & of_row["validation"]
    assert result.message.message.startswith(
        f"48 rows as {summary.train_examples} examples and 12 for validation"
    )


def test_validation_fraction_takes_exact_rows_by_the_seed_alone(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    train = write(tmp_path / "train.jsonl", *[chat_row(f"q{index}", f"a{index}") for index in range(60)])

    def held_out(**fields: Any) -> tuple[list[list[int]], list[list[int]]]:
        result = prepare(model=tiny, train=train, **fields)
        return [[row["input_ids"] for row in result.rows(split)] for split in ("train", "validation")]  # type: ignore[return-value]

    rows, validation = held_out(dataset={"validation_fraction": "0.1"})
    assert (len(rows), len(validation)) == (54, 6)
    assert not {tuple(row) for row in rows} & {tuple(row) for row in validation}
    assert held_out(dataset={"validation_fraction": "0.10"}) == [rows, validation]
    assert held_out(dataset={"validation_fraction": "0.1"}, training={"seed": 43})[1] != validation
    assert len(held_out(dataset={"validation_fraction": "0.001"})[1]) == 1


def test_rows_left_for_training_must_be_ten_too(prepare: Prepare, tiny: Path, tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", *pairs(10))
    result = prepare(model=tiny, train=train, dataset={"validation_fraction": "0.9"})
    assert (result.code, result.message.reason) == (ExitCode.INVALID_INPUT, "DataInvalid")
    assert result.message.message == (
        "dataset.validationFraction 0.9 leaves 1 of the 10 rows for training, which must be at least 10: "
        "lower it, or give more rows."
    )


INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "a fraction beside a validation file": (
        {"dataset": {"validation_fraction": "0.1"}, "validation": "pvc://d/test.jsonl"},
        "dataset.validation and dataset.validationFraction exclude each other",
    ),
    "a fraction of 1": (
        {"dataset": {"validation_fraction": "1"}},
        "validationFraction 1 must be between 0 and 1",
    ),
    "a batch that the ranks cannot share": (
        {"training": {"batch_size": 6, "nodes": 2, "gpus_per_node": 2}},
        "batchSize 6 cannot be shared by 4 processes (2 nodes with 2 each): make it a multiple of 4.",
    ),
    "a target module that the model does not have": (
        {"training": {"adapter": {"target_modules": ["q_proj", "query"]}}},
        "query",
    ),
    "a GPU that is too small": (
        {"training": {"gpus_per_node": 1}, "gpu_memory_bytes": 1_000_000_000},
        "tokens, but it has 1 GB.",
    ),
    "GPUs of a server that heads do not divide by": (
        {"training": {"gpus_per_node": 1}, "serving": {"gpus": 3}},
        "spec.serving.gpus 3 do not share the model evenly",
    ),
}


@pytest.mark.parametrize("case", INVALID)
def test_job_that_cannot_work_is_refused(prepare: Prepare, tiny: Path, tmp_path: Path, case: str) -> None:
    fields, message = INVALID[case]
    result = prepare(**{"model": tiny, "train": write(tmp_path / "train.jsonl", *pairs(20)), **fields})
    assert result.code == ExitCode.INVALID_INPUT
    assert message in result.message.message


SOURCES: dict[str, tuple[str, str]] = {
    "a file that is not there": (
        "none.jsonl",
        "does not exist. {directory}/ holds train.jsonl. Correct dataset.train.uri.",
    ),
    "a directory": (
        "",
        "is a directory; dataset.train.uri must name a file. {directory}/ holds train.jsonl.",
    ),
    "an unknown kind of file": ("notes.txt", "must end in .jsonl, .json, .csv or .parquet"),
    "an empty file": ("empty.jsonl", "is empty"),
}


@pytest.mark.parametrize("case", SOURCES)
def test_data_source_that_cannot_be_used_is_named(
    prepare: Prepare, tiny: Path, tmp_path: Path, case: str
) -> None:
    name, message = SOURCES[case]
    directory = tmp_path / "claim"
    directory.mkdir()
    write(directory / "train.jsonl", *pairs(20))
    if name in ("notes.txt", "empty.jsonl"):
        write(directory / name, "" if "empty" in name else "x")
    result = prepare(model=tiny, train=directory / name)
    assert result.message.reason == "DataInvalid"
    assert message.format(directory=directory.name) in result.message.message


AGAIN = "these files were tokenised before"


def test_rows_of_the_same_files_are_not_tokenised_again(
    prepare: Prepare, tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def prepared(*lines: str, **fields: Any) -> tuple[PrepareSummary, bool]:
        caplog.clear()
        caplog.set_level("INFO")
        train, test = write(tmp_path / "train.jsonl", *lines), write(tmp_path / "test.jsonl", *pairs(1))
        result = prepare(model=tiny, train=train, validation=test, **fields)
        assert len(result.rows()) == 20
        return result.summary, not any(AGAIN in message for message in caplog.messages)

    first, tokenised = prepared(*pairs(20))
    assert tokenised
    assert prepared(*pairs(20)) == (first, False)
    assert prepared("\n", *pairs(20)) == (first, True)  # the same rows of another file
    assert prepared("\n", *pairs(20)) == (first, False)

    rows = next((tmp_path / "output" / "job").rglob("train.arrow"))
    content = bytearray(rows.read_bytes())
    content[len(content) // 2] ^= 1
    rows.write_bytes(content)
    assert prepared("\n", *pairs(20)) == (first, False)  # from those that jobs share
    assert rows.read_bytes() != content

    shutil.rmtree(tmp_path / "output" / "rows")
    rows.write_bytes(content)
    assert prepared("\n", *pairs(20)) == (first, True)
    assert rows.read_bytes() != content
    assert prepared("\n", *pairs(20)) == (first, False)


def test_jobs_on_one_volume_share_the_rows_that_they_read_alike(
    prepare: Prepare, tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows depend on the data and the tokenizer, not on the job, its training, or the size of its model."""
    larger = make_tiny_model(tmp_path / "larger", chat_template=SHORT, eos="<|end|>", num_hidden_layers=3)
    train = write(tmp_path / "train.jsonl", *pairs(20))
    shared = tmp_path / "output" / "rows"

    def prepared(name: str, model: Path, **fields: Any) -> tuple[Prepared, bool]:
        caplog.clear()
        caplog.set_level("INFO")
        result = prepare(name=name, model=model, train=train, **fields)
        assert len(result.rows()) == 20
        return result, not any(AGAIN in message for message in caplog.messages)

    first, tokenised = prepared("first", tiny)
    assert tokenised
    second, tokenised = prepared("second", larger, training={"batch_size": 32, "seed": 7})
    assert not tokenised
    assert second.summary.model != first.summary.model
    assert second.summary.dataset.fingerprint == first.summary.dataset.fingerprint
    batch = "training.batchSize 32 is larger than the 20 training rows: each epoch is one step."
    assert {*second.summary.dataset.warnings} - {*first.summary.dataset.warnings} == {batch}
    assert second.run.preview_file.read_text() == first.run.preview_file.read_text()
    (kept,) = shared.iterdir()
    assert (kept / "train.arrow").stat().st_ino == second.run.train_rows.stat().st_ino
    assert not (kept / "model.json").exists()

    assert prepared("third", tiny, dataset={"system_prompt": "Be brief."})[1]
    assert len([*shared.iterdir()]) == 2

    content = (kept / "train.arrow").read_bytes()
    (kept / "train.arrow").unlink()
    (kept / "train.arrow").write_bytes(content[:-9] + b"\0" * 9)
    fourth, tokenised = prepared("fourth", tiny)
    assert tokenised
    assert (kept / "train.arrow").stat().st_ino == fourth.run.train_rows.stat().st_ino


def test_a_volume_without_hard_links_gives_each_job_its_own_rows(
    prepare: Prepare, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)  # as FAT and some object stores do
    train = write(tmp_path / "train.jsonl", *pairs(20))
    for name in ("first", "second"):
        assert len(prepare(name=name, model=tiny, train=train).rows()) == 20
    assert not any((tmp_path / "output" / "rows").iterdir())


def test_bad_rows_are_found_before_the_model_is_fetched(prepare: Prepare, tiny: Path, tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", *pairs(20), "bad\n", '{"messages": []}\n')
    with hub_server() as hub:
        hub.add("model", "acme/tiny", files_of(tiny))
        job = {"model": "hf://acme/tiny", "train": train, "platform": {"hf_endpoint": hub.endpoint}}
        result = prepare(**job)
        assert [(row["line"], row["class"]) for row in result.message.summary["rows"]] == [
            (21, "invalid_json"),
            (22, "missing_messages_list"),
        ]
        assert len(result.run.errors_file.read_text().splitlines()) == 2
        assert hub.downloads() == []

        write(train, *pairs(20))
        result = prepare(**job)
        assert result.summary.dataset.train_rows == 20
        assert "model.safetensors" in hub.downloads()
        assert result.run.errors_file.read_text() == ""


UNFIT: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "code of its own": (
        {"model_type": "odd", "auto_map": {"AutoModelForCausalLM": "modeling.Odd"}},
        {},
        "needs code from its repository (auto_map in config.json), which is never run",
    ),
    "an unknown architecture": ({"model_type": "odd"}, {}, "(model_type odd), which is no text-generation"),
    "quantised weights": ({"quantization_config": {"quant_method": "gptq"}}, {}, "is quantised (gptq). Use"),
    "targets that no layer has": (
        {},
        {"training": {"adapter": {"target_modules": ["query"]}}},
        "query",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_model_that_its_configuration_rules_out_is_not_fetched(
    prepare: Prepare, tiny: Path, tmp_path: Path, case: str
) -> None:
    changed, fields, message = UNFIT[case]
    files = files_of(tiny)
    files["config.json"] = json.dumps({**json.loads(files["config.json"]), **changed}).encode()
    train = write(tmp_path / "train.jsonl", *pairs(20))
    with hub_server() as hub:
        hub.add("model", "acme/tiny", files)
        result = prepare(
            model="hf://acme/tiny", train=train, platform={"hf_endpoint": hub.endpoint}, **fields
        )
        assert result.code == ExitCode.INVALID_INPUT
        assert message in result.message.message
        assert hub.downloads() == ["config.json"]
    assert not (tmp_path / "output" / "models").exists()


def test_too_few_rows_are_refused_before_the_model_is_fetched(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    train = write(tmp_path / "train.jsonl", *pairs(7))
    with hub_server() as hub:
        hub.add("model", "acme/tiny", files_of(tiny))
        result = prepare(model="hf://acme/tiny", train=train, platform={"hf_endpoint": hub.endpoint})
        assert hub.downloads() == []
    assert result.message.reason == "DataInvalid"
    assert result.message.message == "dataset.train has 7 rows, but must have at least 10: add rows."


def test_rows_of_an_earlier_trainer_are_made_again_and_its_checkpoints_stay(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    train = write(tmp_path / "train.jsonl", *pairs(20))
    first = prepare(model=tiny, train=train)
    write_checkpoint(first.run)
    first.run.dataset_file.write_text(first.summary.dataset.model_dump_json())
    assert prepare(model=tiny, train=train).summary == first.summary
    assert json.loads(first.run.dataset_file.read_text())["details"]["made_from"] is not None
    assert (first.run.checkpoints / "step-000100").exists()


def test_rows_in_an_earlier_layout_are_made_again_and_its_checkpoints_stay(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    train = write(tmp_path / "train.jsonl", *pairs(20))
    first = prepare(model=tiny, train=train)
    write_checkpoint(first.run)
    folder = first.run.prepared / "train"
    folder.mkdir()
    first.run.train_rows.rename(folder / "data.arrow")
    document = json.loads(first.run.dataset_file.read_text())
    document["details"]["row_files"] = [asdict(sync_file(first.run.prepared, "train/data.arrow"))]
    first.run.dataset_file.write_text(json.dumps(document))

    second = prepare(model=tiny, train=train)
    assert second.summary == first.summary
    assert len(second.rows()) == 20
    assert not folder.exists()
    assert (first.run.checkpoints / "step-000100").exists()


def test_files_of_a_hub_are_not_fetched_to_find_that_they_are_the_same(prepare: Prepare, tiny: Path) -> None:
    with hub_server() as hub:

        def prepared(count: int) -> list[str]:
            hub.add("dataset", "acme/rows", {"train.jsonl": "".join(pairs(count)).encode()})
            hub.requests.clear()
            result = prepare(model=tiny, train="hf://acme/rows", platform={"hf_endpoint": hub.endpoint})
            assert result.summary.dataset.train_rows == count
            return hub.downloads()

        assert [prepared(20), prepared(20), prepared(21)] == [["train.jsonl"], [], ["train.jsonl"]]


def write_checkpoint(run: RunDirectory) -> None:
    layout = Layout(world_size=1, global_batch=4, zero_stage=2, sampler=SAMPLER_NAME)
    store = Checkpoints(run.checkpoints, layout, keep=2)
    written = store.begin(100, expected_bytes=1)
    assert written is not None
    (written / "state.pt").write_bytes(b"state")
    store.commit(written, own_files(written, 0), step=100, tokens=1, dtype="float32")


def test_same_rows_and_model_keep_what_the_run_has(prepare: Prepare, tiny: Path, tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", *pairs(20))
    first = prepare(model=tiny, train=train)
    write_checkpoint(first.run)
    before = first.run.dataset_file.stat().st_mtime_ns
    second = prepare(model=tiny, train=train)
    assert second.summary == first.summary
    assert second.run.dataset_file.stat().st_mtime_ns == before
    assert (first.run.checkpoints / "step-000100").exists()


def test_a_run_begun_on_other_nodes_is_refused_before_training(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    train = write(tmp_path / "train.jsonl", *pairs(20))
    first = prepare(model=tiny, train=train)
    write_checkpoint(first.run)
    assert prepare(model=tiny, train=train, training={"checkpoint_every_steps": 7}).code == 0
    refused = prepare(model=tiny, train=train, training={"nodes": 2})
    assert (refused.code, refused.message.reason) == (ExitCode.INVALID_INPUT, "InvalidInput")
    assert refused.message.message == (
        "Checkpoint step-000100 was written with world size 1, this job has 2: set spec.training.nodes and "
        "gpusPerNode back to go on from it, or change spec.training.seed to start anew."
    )
    assert prepare(model=tiny, train=train, training={"nodes": 2, "seed": 43}).code == 0


def test_prepared_data_that_lost_files_is_made_again_in_place(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    train = write(tmp_path / "train.jsonl", *pairs(20))
    first = prepare(model=tiny, train=train)
    first.run.checkpoints.mkdir()
    first.run.train_rows.unlink()
    second = prepare(model=tiny, train=train)
    assert len(second.rows()) == 20
    assert second.run.checkpoints.exists()


def test_finished_artifact_of_the_same_rows_and_model_is_adopted(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    train = write(tmp_path / "train.jsonl", *pairs(20))
    first = prepare(model=tiny, train=train)
    adapter = first.run.adapter
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    details = {"type": "LoRA", "rank": 4, "base_model": "pvc://inputs/tiny", "base_revision": "abc"}
    entries = [sync_file(adapter, "adapter_model.safetensors")]
    manifest = write_manifest(adapter, entries, {**details, "train_loss": "0.5", "validation_loss": None})

    second = prepare(model=tiny, train=train)
    assert second.message.message.endswith("; a finished artifact is adopted")
    assert second.summary.artifact == ArtifactSummary(
        path=f"job/{first.run.root.name}/adapter",
        digest=manifest.digest,
        size_bytes=7,
        train_loss="0.5",
        **details,  # type: ignore[arg-type]
    )

    (adapter / "adapter_model.safetensors").write_bytes(b"damaged")
    assert prepare(model=tiny, train=train).summary.artifact is None
    write(train, *pairs(21))
    assert prepare(model=tiny, train=train).summary.artifact is None


def test_volume_without_room_for_the_result_or_a_checkpoint_is_told_before_training(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    """All 100,000 weights: 0.2 MB as a result, and 1.8 MB for a checkpoint."""
    train = write(tmp_path / "train.jsonl", *pairs(60))
    job: dict[str, Any] = {"model": tiny, "train": train, "training": {"adapter": {"type": "Full"}}}
    with small_volume(tmp_path / "output", megabytes=4) as volume:
        first = prepare(**job)
        assert first.summary.dataset.warnings == ()

        filler = fill(volume, leave=1_000_000)
        (warning,) = prepare(**job).summary.dataset.warnings
        assert "MB free, but a checkpoint needs 1.8 MB beside the result" in warning
        assert "a crash would start training anew" in warning
        assert "spec.storage.size 1Gi" in warning

        filler.unlink()
        fill(volume, leave=100_000)
        refused = prepare(**job)
        assert (refused.code, refused.message.reason) == (ExitCode.INVALID_INPUT, "VolumeUnusable")
        assert refused.message.message.startswith("The output volume has 0.1 MB free, but the result of ")
        assert "training needs at least 0.2 MB: " in refused.message.message
        assert "storage.size" in refused.message.message

        # What a save left that was cut off is deleted by the next one.
        (volume / "filler").unlink()
        left = first.run.checkpoints / ".step-000100"
        left.mkdir(parents=True)
        (left / "state.pt").write_bytes(bytes(2_500_000))
        fill(volume, leave=1_200_000)
        assert prepare(**job).summary.dataset.warnings == ()


PLAIN_ROOT = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
"""Takes the right of tests that run as root to read and write anything."""

UNUSABLE = {
    "output": ("VolumeUnusable", "The output volume is not writable by the pod (user {uid}, group {gid}: "),
    "model": ("ModelUnavailable", "pvc://inputs/model is not readable by the pod (user {uid}, group {gid}: "),
    "train": (
        "DataInvalid",
        "pvc://inputs/train.jsonl is not readable by the pod (user {uid}, group {gid}: ",
    ),
}


@pytest.mark.parametrize("volume", UNUSABLE)
def test_volume_that_the_pod_may_not_use_is_named(tiny: Path, tmp_path: Path, volume: str) -> None:
    model = Path(shutil.copytree(tiny, tmp_path / "model"))
    train = write(tmp_path / "train.jsonl", *pairs(20))
    (tmp_path / "config.json").write_text(trainer_config(model=model, train=train).model_dump_json())
    (tmp_path / "output").mkdir()
    denied = {"output": tmp_path / "output", "model": model / "model.safetensors", "train": train}[volume]
    denied.chmod(0o500 if volume == "output" else 0)
    environment = {
        **os.environ,
        OUTPUT_VARIABLE: str(tmp_path / "output"),
        termination.LOG_VARIABLE: str(tmp_path / "log"),
        entry.CONFIG_VARIABLE: str(tmp_path / "config.json"),
    }
    command = [*PLAIN_ROOT, sys.executable, "-m", "kubetune_trainer", "prepare"]
    assert subprocess.run(command, env=environment, check=False).returncode == ExitCode.INVALID_INPUT
    message = TerminationMessage.model_validate_json((tmp_path / "log").read_text())
    reason, sentence = UNUSABLE[volume]
    assert message.reason == reason
    assert message.message.startswith(sentence.format(uid=os.geteuid(), gid=os.getegid()) + str(denied))


def test_what_a_stopped_prepare_left_is_removed_by_the_next(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    train = write(tmp_path / "train.jsonl", *pairs(20))
    left = tmp_path / "output" / "job" / ".prepare-stopped"
    left.mkdir(parents=True)
    assert prepare(model=tiny, train=train).summary.dataset.train_rows == 20
    assert not left.exists()


def test_prepare_that_is_told_to_stop_ends_as_preempted(tiny: Path, tmp_path: Path) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    config = trainer_config(
        model="hf://acme/tiny",
        train="pvc://d/train.jsonl",
        platform={"hf_endpoint": f"http://127.0.0.1:{silent.getsockname()[1]}"},
    )
    (tmp_path / "config.json").write_text(config.model_dump_json())
    environment = {
        **os.environ,
        OUTPUT_VARIABLE: str(tmp_path / "output"),
        termination.LOG_VARIABLE: str(tmp_path / "log"),
        entry.CONFIG_VARIABLE: str(tmp_path / "config.json"),
    }
    process = subprocess.Popen([sys.executable, "-m", "kubetune_trainer", "prepare"], env=environment)
    with silent:
        silent.settimeout(300)
        connection, _ = silent.accept()  # prepare asks the hub, which never answers
        with connection:
            assert [*(tmp_path / "output").rglob(".lock")]
            process.terminate()
            assert process.wait(60) == ExitCode.PREEMPTED
    assert not [*(tmp_path / "output").rglob(".lock*")], "the next one does not wait"
    assert json.loads((tmp_path / "log").read_text())["reason"] == "Preempted"


@pytest.mark.parametrize("changed", ["data", "model"])
def test_other_rows_or_model_set_the_earlier_run_aside(
    prepare: Prepare, tiny: Path, tmp_path: Path, changed: str
) -> None:
    model = Path(shutil.copytree(tiny, tmp_path / "model"))
    train = write(tmp_path / "train.jsonl", *pairs(20))
    first = prepare(model=model, train=train)
    (first.run.checkpoints / "step-000100").mkdir(parents=True)
    for number in (1, 2):
        if changed == "data":
            write(train, *pairs(20 + number))
        else:
            make_tiny_model(model, chat_template=SHORT, eos="<|end|>", seed=number)
        result = prepare(model=model, train=train)
        assert result.run == first.run
        assert not result.run.checkpoints.exists()
        aside = result.run.root.with_name(f"{result.run.root.name}.aside-{number}")
        assert (aside / "prepared" / "dataset.json").exists()
        assert (aside / "checkpoints" / "step-000100").exists() == (number == 1)


def test_fingerprint_follows_rows_and_labels_and_nothing_else(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    def fingerprint(name: str, lines: list[str], **fields: Any) -> str:
        return prepare(model=tiny, train=write(tmp_path / name, *lines), **fields).summary.dataset.fingerprint

    lines = pairs(20)
    weighted = [line.replace('"content": "a', '"weight": 1, "content": "a') for line in lines]
    base = fingerprint("a.jsonl", lines)
    assert fingerprint("b.jsonl", lines) == base
    assert fingerprint("c.jsonl", weighted) == base
    assert fingerprint("d.jsonl", lines[::-1]) != base
    assert fingerprint("e.jsonl", lines, dataset={"max_length": 255}) != base


def test_credentials_are_in_no_message(
    prepare: Prepare, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_HF_TOKEN", "pvc_models_secret")
    result = prepare(model=tmp_path / "pvc_models_secret", train=write_chat_rows(tmp_path / "train.jsonl"))
    assert result.message.reason == "ModelUnavailable"
    assert (
        result.message.message
        == "pvc://inputs/<MODEL_HF_TOKEN> is no directory on the claim. Correct model.uri."
    )
