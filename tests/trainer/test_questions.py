"""What ``prepare`` asks of an evaluation: which rows, with which prompts, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from kubetune_trainer.contract.evaluation import judge_variable
from kubetune_trainer.contract.messages import ExitCode
from kubetune_trainer.data.chat import check_messages
from kubetune_trainer.data.tools import check_tools
from kubetune_trainer.prepare.evaluation.requests import Prompter, sent, sent_tools
from kubetune_trainer.scoring.general import general_questions
from kubetune_trainer.scoring.questions import Question, read_questions
from tests.support.chat_templates import SHORT
from tests.support.conversations import (
    CONVERSATIONS,
    FORMS,
    TEMPLATES,
    examples,
    learner,
    spans_of,
    trained_turns,
)
from tests.support.hub_server import TOKEN, files_of, hub_server
from tests.support.judge_server import KEY, MODEL, fails, judge_server, says
from tests.support.prepare_runs import Prepare, Prepared, pairs, write
from tests.support.tiny_model import chat_row, make_tiny_model

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # peft's
]

EXACT: dict[str, Any] = {"metrics": [{"name": "ExactMatch", "type": "ExactMatch"}]}
FEW = {"type": "FewShot", "examples": 2}
NEAREST = {"type": "Retrieval", "examples": 2}


def evaluating(**fields: Any) -> dict[str, Any]:
    return {**EXACT, **fields}


def own(path: Path, **fields: Any) -> dict[str, Any]:
    return {"source": {"uri": f"pvc://inputs/{path.name}", "mount": str(path)}, **fields}


def questions(result: Prepared) -> list[Question]:
    assert result.code == ExitCode.COMPLETED, result.message
    return list(read_questions(result.run.questions_file))


def said(question: Question, name: str = "Plain") -> list[str]:
    messages = question.prompts[name].messages
    assert messages is not None
    return [message["content"] for message in messages]


def test_held_out_rows_are_asked_with_the_prompts_that_training_has(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    fields = {
        "model": tiny,
        "train": write(tmp_path / "train.jsonl", *pairs(40)),
        "dataset": {"validation_fraction": "0.25", "system_prompt": "Be brief."},
        "evaluation": evaluating(),
    }
    result = prepare(**fields)
    asked, rows = questions(result), result.rows("validation")
    assert len(asked) == len(rows) == 10
    for question, row in zip(asked, rows, strict=True):
        learned = next(index for index, label in enumerate(row["labels"]) if label != -100)
        prompt = question.prompts["Plain"]
        assert prompt.tokens == learned
        number = question.line - 1
        assert question == Question(
            id=str(question.line),
            file="pvc://inputs/train.jsonl",
            line=question.line,
            turn=1,
            expected=f"a{number % 7}",
            prompts={"Plain": prompt},
        )
        assert prompt.messages == (
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": f"q{number:03}"},
        )
    plan = result.summary.evaluation
    assert plan is not None
    assert plan.model_dump() == {
        "rows": 10,
        "prompt_tokens": {"Tuned": 18, "Base": 18},
        "detectable_difference": plan.detectable_difference,
        "tokens_saved_per_request": 0,
        "break_even_requests": None,
    }
    assert 0.5 < float(plan.detectable_difference or 0) < 1
    assert questions(prepare(name="sharing", **fields)) == asked


def test_rows_of_a_validation_file_are_asked_but_those_that_were_dropped(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    rows = [chat_row("new 1", "a"), chat_row("x" * 300, "b"), chat_row("new 2", "c")]
    result = prepare(
        model=tiny,
        train=write(tmp_path / "train.jsonl", *pairs(20)),
        validation=write(tmp_path / "test.jsonl", *rows),
        evaluation=evaluating(),
    )
    assert [(one.id, one.expected) for one in questions(result)] == [("1", "a"), ("3", "c")]


def test_own_rows_have_their_own_format_and_columns(prepare: Prepare, tiny: Path, tmp_path: Path) -> None:
    rows = write(tmp_path / "eval.csv", "text,category\nWhere?,here\nWhen?,now\n")
    data = own(rows, format="PromptCompletion", columns={"prompt": "text", "completion": "category"})
    result = prepare(
        model=tiny, train=write(tmp_path / "train.jsonl", *pairs(20)), evaluation=evaluating(data=data)
    )
    assert [(one.line, said(one), one.expected) for one in questions(result)] == [
        (2, ["Where?"], "here"),
        (3, ["When?"], "now"),
    ]


def test_a_model_without_a_chat_template_is_asked_text(prepare: Prepare, plain: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"prompt": f"in {n:02}: ", "completion": f"out {n % 3}"}) + "\n" for n in range(30)]
    result = prepare(
        model=plain,
        train=write(tmp_path / "train.jsonl", *lines[:20]),
        validation=write(tmp_path / "test.jsonl", *lines[20:]),
        evaluation=evaluating(baselines=[FEW]),
    )
    first = questions(result)[0]
    assert (first.prompts["Plain"].text, first.prompts["Plain"].tokens) == ("in 20: ", 7)
    shown = first.prompts["FewShot"].text
    assert shown is not None
    *shots, last = shown.split("\n\n")
    assert last == "in 20: "
    assert len(shots) == 2
    assert set(shots) <= {
        f"{json.loads(line)['prompt']}{json.loads(line)['completion']}" for line in lines[:20]
    }
    assert first.prompts["FewShot"].tokens == len(shown)


TURNS = json.dumps(
    {
        "messages": [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "1"},
            {"role": "user", "content": "two"},
            {"role": "assistant", "content": "2", "weight": 0},
            {"role": "user", "content": "three"},
            {"role": "assistant", "content": "3"},
        ]
    }
)


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ("Last", [("1", 5, "3", ["one", "1", "two", "2", "three"])]),
        ("All", [("1.1", 1, "1", ["one"]), ("1.5", 5, "3", ["one", "1", "two", "2", "three"])]),
    ],
)
def test_the_last_turn_is_asked_for_or_each_that_is_learned(
    prepare: Prepare, tiny: Path, tmp_path: Path, turns: str, expected: list[Any]
) -> None:
    data = own(write(tmp_path / "eval.jsonl", TURNS))
    result = prepare(
        model=tiny,
        train=write(tmp_path / "train.jsonl", *pairs(20)),
        evaluation=evaluating(data=data, turns=turns),
    )
    assert [(one.id, one.turn, one.expected, said(one)) for one in questions(result)] == expected


def test_a_sample_is_spread_over_the_file_and_the_same_for_the_seed(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    files = {
        "model": tiny,
        "train": write(tmp_path / "train.jsonl", *pairs(20)),
        "evaluation": evaluating(
            data=own(write(tmp_path / "eval.jsonl", *pairs(100, start=500))), max_rows=10
        ),
    }
    lines = [one.line for one in questions(prepare(**files))]
    assert [(line - 1) // 10 for line in lines] == list(range(10))
    assert [one.line for one in questions(prepare(name="again", **files))] == lines
    other = [one.line for one in questions(prepare(name="other", training={"seed": 1}, **files))]
    assert other != lines


def test_examples_come_from_training_rows_alone_and_differ(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    result = prepare(
        model=tiny,
        train=write(tmp_path / "train.jsonl", *pairs(60)),
        dataset={"validation_fraction": "0.5"},
        evaluation=evaluating(baselines=[{"type": "Base"}, {"type": "FewShot", "examples": 7}]),
    )
    asked = questions(result)
    held_out = {said(one)[0] for one in asked}
    shots = {tuple(said(one, "FewShot")[:-1]) for one in asked}
    assert len(shots) == 1, "the same examples for every question"
    (shown,) = shots
    assert not held_out & set(shown[::2])
    assert sorted(shown[1::2]) == [f"a{n}" for n in range(7)], "one of each answer"
    assert [message["role"] for message in asked[0].prompts["FewShot"].messages or ()] == [
        *["user", "assistant"] * 7,
        "user",
    ]
    # each example has 4 + 2 characters, two tokens of roles and two of ends
    assert {one.prompts["FewShot"].tokens - one.prompts["Plain"].tokens for one in asked} == {7 * 10}
    plan = result.summary.evaluation
    assert plan is not None
    assert plan.prompt_tokens == {"Tuned": 7, "Base": 7, "FewShot": 77}
    assert plan.tokens_saved_per_request == 70
    assert plan.break_even_requests == -(-30 * 10 * 3 // 70)  # 30 rows of 10 tokens in one epoch


def test_retrieval_shows_the_nearest_training_rows_last_and_no_leaked_row(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    rows = [
        chat_row("the red lamp is broken", "lamp"),
        chat_row("the red door is open", "door"),
        chat_row("The red door is stuck!", "leaked"),
        *pairs(10),
    ]
    data = own(write(tmp_path / "eval.jsonl", chat_row("the red door is stuck", "leaked")))
    result = prepare(
        model=tiny,
        train=write(tmp_path / "train.jsonl", *rows),
        evaluation=evaluating(data=data, baselines=[NEAREST]),
    )
    (question,) = questions(result)
    assert question.leak == "Normalised"
    assert said(question, "Retrieval") == [
        "the red lamp is broken", "lamp", "the red door is open", "door", "the red door is stuck",
    ]  # fmt: skip


def test_examples_stand_after_the_system_message_and_bring_the_last_exchange(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    result = prepare(
        model=tiny,
        train=write(
            tmp_path / "train.jsonl", *[TURNS.replace("three", f"three {n}") + "\n" for n in range(12)]
        ),
        dataset={"system_prompt": "Be brief."},
        evaluation=evaluating(
            data=own(write(tmp_path / "eval.jsonl", chat_row("three 5 five", "5"))),
            baselines=[{"type": "Retrieval", "examples": 1}],
        ),
    )
    (question,) = questions(result)
    assert said(question, "Retrieval") == ["Be brief.", "three 5", "3", "three 5 five"]


def test_examples_that_do_not_fit_are_left_out_the_farthest_first(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    rows = [chat_row("red door", "x"), chat_row("red door is open", "y"), *pairs(10)]
    data = own(write(tmp_path / "eval.jsonl", chat_row("the red door is open now", "z")))
    fields = {
        "model": tiny,
        "train": write(tmp_path / "train.jsonl", *rows),
        "evaluation": evaluating(data=data, baselines=[NEAREST], generation={"max_tokens": 20}),
    }
    whole = prepare(**fields)
    (question,) = questions(whole)
    tokens = question.prompts["Retrieval"].tokens
    assert said(question, "Retrieval")[::2][-2:] == ["red door is open", "the red door is open now"]
    cut = prepare(name="cut", serving={"max_model_len": tokens + 19}, **fields)
    (question,) = questions(cut)
    assert said(question, "Retrieval") == ["red door is open", "y", "the red door is open now"]
    assert cut.summary.dataset.warnings[-1] == (
        f"In 1 of 1 prompts of Retrieval not all examples fit the server's {tokens + 19} tokens: "
        "1 was left out, the farthest first."
    )


def test_a_template_that_takes_no_earlier_turns_rules_examples_out(prepare: Prepare, tmp_path: Path) -> None:
    single = "{% if messages | length > 2 %}{{ raise_exception('One question, please.') }}{% endif %}" + SHORT
    model = make_tiny_model(tmp_path / "single", chat_template=single, eos="<|end|>")
    data = own(write(tmp_path / "eval.jsonl", *pairs(1, start=100)))
    result = prepare(
        model=model,
        train=write(tmp_path / "train.jsonl", *pairs(20)),
        evaluation=evaluating(data=data, baselines=[FEW]),
    )
    assert result.code == ExitCode.INVALID_INPUT
    assert result.message.message == (
        "evaluation.baselines FewShot: the chat template takes no examples as earlier turns before line 1 of "
        "pvc://inputs/eval.jsonl: The model's chat template refuses the row: One question, please. Remove "
        "the baseline."
    )


def test_columns_that_are_not_read_are_told(prepare: Prepare, tiny: Path, tmp_path: Path) -> None:
    rows = write(tmp_path / "eval.csv", "prompt,completion,context\nWhere?,here,a map\n")
    result = prepare(
        model=tiny,
        train=write(tmp_path / "train.jsonl", *pairs(20)),
        evaluation=evaluating(data=own(rows)),
    )
    assert result.summary.dataset.warnings[-1] == (
        "pvc://inputs/eval.csv has context beside prompt and completion: not read, though it may be part of "
        "what the model is told. Map it in evaluation.dataset.columns, or remove it."
    )


def test_rows_that_cannot_be_asked_or_scored_are_told_all_at_once(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    rows = [
        chat_row("how many?", "7"),
        chat_row("how many?", "seven"),
        chat_row("x" * 200, "8"),
        json.dumps({"messages": [{"role": "system", "content": "s"}, {"role": "assistant", "content": "1"}]}),
    ]
    result = prepare(
        model=tiny,
        train=write(tmp_path / "train.jsonl", *pairs(20)),
        serving={"max_model_len": 150},
        evaluation={
            "data": own(write(tmp_path / "eval.jsonl", *rows)),
            "metrics": [{"name": "Numbers", "type": "NumericMatch"}],
            "generation": {"max_tokens": 50},
        },
    )
    assert (result.code, result.message.reason) == (ExitCode.INVALID_INPUT, "DataInvalid")
    told = [(row["file"], row["line"], row["class"]) for row in result.message.summary["rows"]]
    name = "pvc://inputs/eval.jsonl"
    assert told == [(name, 2, "metric_misfit"), (name, 3, "prompt_too_long"), (name, 4, "nothing_to_ask")]
    assert result.message.summary["rows"][0]["message"].startswith("The metric Numbers cannot score it: ")
    assert (
        "203 tokens, which with 50 for the answer are more than the server's 150: lower"
        in (result.message.summary["rows"][1]["message"])
    )
    assert [json.loads(line)["line"] for line in result.run.errors_file.read_text().splitlines()] == [2, 3, 4]
    assert not result.run.questions_file.exists()


def test_rows_with_an_empty_answer_are_told_with_their_lines(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    data = own(write(tmp_path / "eval.jsonl", chat_row("a", "b"), chat_row("a", " ")))
    result = prepare(
        model=tiny, train=write(tmp_path / "train.jsonl", *pairs(20)), evaluation=evaluating(data=data)
    )
    assert result.message.summary["rows"] == [
        {
            "file": "pvc://inputs/eval.jsonl",
            "line": 2,
            "class": "missing_content",
            "message": "The content of message 2 is empty.",
        }
    ]


GATE = {"metric": "ExactMatch", "min_delta": "0.05"}
REFUSED: dict[str, tuple[list[str], dict[str, Any], str]] = {
    "an empty file": ([], {}, "pvc://inputs/eval.jsonl is empty."),
    "too few for a gate": (
        pairs(19, start=100),
        {"gate": GATE},
        "evaluation.gate cannot decide on 19 questions: give at least 20 rows",
    ),
    "plain text": (
        [json.dumps({"text": "t"}) + "\n"],
        {},
        "An evaluation asks prompts, and the evaluation.dataset rows are plain text (format Text): give rows",
    ),
    "a metric that is none": (
        pairs(1, start=100),
        {"metrics": [{"name": "R", "type": "Regex", "pattern": "("}]},
        "evaluation.metrics[R].pattern",
    ),
    "a gate on what is not measured": (
        pairs(30, start=100),
        {"gate": {**GATE, "metric": "Other"}},
        "evaluation.gate.metric Other is none of evaluation.metrics: add it, or name one of them.",
    ),
    "columns of a wrong name": (
        pairs(1, start=100),
        {"data": {"columns": {"question": "q"}}},
        "evaluation.dataset.columns maps 'question', which is no standard name",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_evaluated_is_refused(prepare: Prepare, tiny: Path, tmp_path: Path, case: str) -> None:
    rows, fields, message = REFUSED[case]
    data = own(write(tmp_path / "eval.jsonl", *rows)) | fields.get("data", {})
    result = prepare(
        model=tiny,
        train=write(tmp_path / "train.jsonl", *pairs(20)),
        evaluation={**evaluating(**fields), "data": data},
    )
    assert result.code == ExitCode.INVALID_INPUT
    assert message in result.message.message


def test_a_file_with_a_header_alone_has_nothing_to_ask(prepare: Prepare, tiny: Path, tmp_path: Path) -> None:
    data = own(write(tmp_path / "eval.csv", "prompt,completion\n"))
    result = prepare(
        model=tiny, train=write(tmp_path / "train.jsonl", *pairs(20)), evaluation=evaluating(data=data)
    )
    assert (result.code, result.message.message) == (
        ExitCode.INVALID_INPUT,
        "evaluation.dataset has no rows to ask: give it some.",
    )


def test_without_rows_of_any_kind_there_is_no_evaluation(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    result = prepare(model=tiny, train=write(tmp_path / "train.jsonl", *pairs(20)), evaluation=evaluating())
    assert (result.code, result.message.message) == (
        ExitCode.INVALID_INPUT,
        "An evaluation needs rows to ask, and there are none: give evaluation.dataset, dataset.validation or "
        "dataset.validationFraction.",
    )


def test_examples_need_training_rows_with_a_prompt(prepare: Prepare, plain: Path, tmp_path: Path) -> None:
    rows = [json.dumps({"text": f"text {n}"}) + "\n" for n in range(20)]
    data = own(write(tmp_path / "eval.jsonl", json.dumps({"prompt": "p", "completion": "c"})))
    fields = {"model": plain, "train": write(tmp_path / "train.jsonl", *rows)}
    result = prepare(**fields, evaluation=evaluating(data=data, baselines=[FEW]))
    assert result.message.message.startswith(
        "evaluation.baselines FewShot and Retrieval show training rows as examples, and none of"
    )
    assert len(questions(prepare(**fields, evaluation=evaluating(data=data)))) == 1


def leaks(result: Prepared) -> list[tuple[int, int, str]]:
    rows = map(json.loads, result.run.evaluation_leaks_file.read_text().splitlines())
    return [(row["line"], row["train_line"], row["kind"]) for row in rows]


@pytest.mark.parametrize("kind", ["own", "validation"])
def test_rows_that_were_trained_on_are_marked_listed_and_refused_when_asked(
    prepare: Prepare, tiny: Path, tmp_path: Path, kind: str
) -> None:
    rows = [chat_row("q003", "a3"), chat_row("new", "a"), chat_row("Q007", " a0"), chat_row("q008", "b")]
    path = write(tmp_path / "eval.jsonl", *rows)
    fields: dict[str, Any] = {"model": tiny, "train": write(tmp_path / "train.jsonl", *pairs(20))}
    evaluation = evaluating()
    if kind == "own":
        evaluation["data"] = own(path)
    else:
        fields["validation"] = path
    result = prepare(**fields, evaluation=evaluation)
    assert [one.leak for one in questions(result)] == ["Exact", None, "Normalised", None]
    assert leaks(result) == [(1, 4, "Exact"), (3, 8, "Normalised"), (4, 9, "SamePrompt")]
    sentence = (
        "2 of 4 evaluation rows stand in the training rows as well, in lines 1 and 3 of "
        "pvc://inputs/eval.jsonl: their scores say how well they were memorised. Remove them from one of the "
        "files."
    )
    assert sentence in result.summary.dataset.warnings
    refused = prepare(**fields, evaluation={**evaluation, "on_leak": "Fail"})
    assert (refused.message.reason, refused.message.message) == ("DataInvalid", sentence)
    assert [row["line"] for row in refused.message.summary["rows"]] == [1, 3]
    assert [row["class"] for row in refused.message.summary["rows"]] == ["leaked_row"] * 2


def test_general_questions_are_the_projects_or_own_ones(prepare: Prepare, tiny: Path, tmp_path: Path) -> None:
    gate = {"metric": "ExactMatch", "must_not_regress": {"max_drop": "0.02"}}
    data = own(write(tmp_path / "eval.jsonl", *pairs(20, start=100)))
    fields = {"model": tiny, "train": write(tmp_path / "train.jsonl", *pairs(20))}
    result = prepare(**fields, evaluation=evaluating(data=data, gate=gate))
    general = [one for one in questions(result) if one.set == "General"]
    assert [(one.id, said(one), one.expected) for one in general] == [
        (one.id, [one.ask], one.expected) for one in general_questions()
    ]
    assert all(list(one.prompts) == ["Plain"] for one in general)
    assert result.summary.evaluation is not None
    assert result.summary.evaluation.rows == 20
    path = write(tmp_path / "general.jsonl", chat_row("2 + 2?", "4"), chat_row("3 + 3?", "6"))
    gate["must_not_regress"] = {"max_drop": "0.02", "data": own(path)}
    result = prepare(**fields, evaluation=evaluating(data=data, gate=gate, baselines=[FEW]))
    general = [one for one in questions(result) if one.set == "General"]
    assert [(one.id, one.expected, list(one.prompts)) for one in general] == [
        ("general-1", "4", ["Plain"]),
        ("general-2", "6", ["Plain"]),
    ]


def test_a_gate_that_asks_for_more_than_rows_can_show_is_told(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    data = own(write(tmp_path / "eval.jsonl", *pairs(80, start=100)))
    result = prepare(
        model=tiny,
        train=write(tmp_path / "train.jsonl", *pairs(20)),
        evaluation=evaluating(data=data, gate=GATE),
    )
    assert result.summary.evaluation is not None
    assert result.summary.evaluation.detectable_difference is not None
    shown = float(result.summary.evaluation.detectable_difference)
    assert shown > 0.05
    assert result.summary.dataset.warnings[-1] == (
        f"80 rows can show a difference of {shown:.2f} or more; evaluation.gate asks for more than 0.05: "
        "give more rows, or a lower confidence."
    )


def test_questions_are_made_again_only_when_something_about_them_changes(
    prepare: Prepare, tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = write(tmp_path / "eval.jsonl", *pairs(30, start=100))
    fields = {"model": tiny, "train": write(tmp_path / "train.jsonl", *pairs(20))}
    evaluation = evaluating(data=own(path), baselines=[FEW])
    first = prepare(**fields, evaluation=evaluation)
    reports = (first.run.report_file, first.run.rows_file, first.run.report_page)
    for left in (*reports, first.run.answers_file):
        left.write_text("x")
    made = first.run.questions_file.stat().st_ino
    shown = sum("as the server will read it" in line for line in caplog.messages)
    assert shown == 2

    again = prepare(**fields, evaluation=evaluation)
    assert again.summary == first.summary
    assert again.run.questions_file.stat().st_ino == made
    assert sum("as the server will read it" in line for line in caplog.messages) == shown

    same = prepare(**fields, evaluation={**evaluation, "gate": GATE})
    assert same.run.questions_file.stat().st_ino != made
    assert all(report.exists() for report in reports), "the gate changes no question"

    write(path, *pairs(30, start=200))
    other = prepare(**fields, evaluation=evaluation)
    assert said(questions(other)[0]) == ["q200"]
    assert not any(report.exists() for report in reports)
    assert other.run.answers_file.exists()


def test_questions_that_were_touched_are_made_again(prepare: Prepare, tiny: Path, tmp_path: Path) -> None:
    fields = {
        "model": tiny,
        "train": write(tmp_path / "train.jsonl", *pairs(40)),
        "dataset": {"validation_fraction": "0.25"},
        "evaluation": evaluating(),
    }
    first = prepare(**fields)
    before = first.run.questions_file.read_bytes()
    os.truncate(first.run.questions_file, 10)
    assert len(questions(prepare(**fields))) == 10
    assert first.run.questions_file.read_bytes() == before


def test_runs_of_before_are_tokenised_again_to_know_what_they_held_out(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    fields = {
        "model": tiny,
        "train": write(tmp_path / "train.jsonl", *pairs(40)),
        "dataset": {"validation_fraction": "0.25"},
    }
    first = prepare(**fields)
    lines = first.run.validation_lines_file.read_bytes()
    document = json.loads(first.run.dataset_file.read_text())
    document["details"]["made_from"] = "sha256:earlier"
    document["details"]["row_files"].pop()
    first.run.dataset_file.write_text(json.dumps(document))
    first.run.validation_lines_file.unlink()
    first.run.checkpoints.mkdir()

    result = prepare(**fields, evaluation=evaluating())
    assert len(questions(result)) == 10
    assert result.run.validation_lines_file.read_bytes() == lines
    assert result.run.checkpoints.exists(), "the run is the same"


def test_each_judge_is_asked_once_with_its_key(
    prepare: Prepare, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(judge_variable(1), KEY)
    fields = {"model": tiny, "train": write(tmp_path / "train.jsonl", *pairs(20))}
    data = own(write(tmp_path / "eval.jsonl", chat_row("Where is it?", "There.")))
    with judge_server([says('{"why": "Right.", "score": 5}'), fails(401)]) as server:
        judge = {"url": server.url, "model": MODEL, "rubric": "Is it right?", "has_key": True}
        metrics = [*EXACT["metrics"], {"name": "Judge", "type": "Judge", "judge": judge}]
        assert len(questions(prepare(**fields, evaluation={"data": data, "metrics": metrics}))) == 1
        assert server.keys == [f"Bearer {KEY}"]
        assert "There." in json.dumps(server.requests[0])
        refused = prepare(name="other", **fields, evaluation={"data": data, "metrics": metrics})
    assert (refused.code, refused.message.reason) == (ExitCode.INVALID_INPUT, "InvalidInput")
    assert "evaluation.metrics[Judge]" in refused.message.message
    assert "does not accept the key" in refused.message.message
    assert KEY not in refused.message.model_dump_json()
    assert not refused.run.questions_file.exists()


def test_own_rows_are_checked_before_the_model_is_fetched_and_have_their_own_credentials(
    prepare: Prepare, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALUATION_HF_TOKEN", TOKEN)
    with hub_server() as hub:
        hub.add("model", "acme/tiny", files_of(tiny))
        rows = chat_row("a", "b").encode() * 3
        hub.add("dataset", "acme/rows", {"train.jsonl": b"", "test.jsonl": rows + b"bad\n"}, private=True)
        job: dict[str, Any] = {
            "model": "hf://acme/tiny",
            "train": write(tmp_path / "train.jsonl", *pairs(20)),
            "platform": {"hf_endpoint": hub.endpoint},
            "evaluation": evaluating(data={"source": {"uri": "hf://acme/rows"}}),
        }
        result = prepare(**job)
        assert [(row["line"], row["class"]) for row in result.message.summary["rows"]] == [
            (4, "invalid_json")
        ]
        assert hub.downloads() == ["test.jsonl"]

        hub.add("dataset", "acme/rows", {"train.jsonl": b"", "test.jsonl": rows})
        assert len(questions(prepare(**job))) == 3
        before = hub.downloads()
        assert len(questions(prepare(**job))) == 3
        assert hub.downloads() == before, "the same questions fetch nothing"


def test_a_source_that_is_not_there_is_named(prepare: Prepare, tiny: Path, tmp_path: Path) -> None:
    result = prepare(
        model=tiny,
        train=write(tmp_path / "train.jsonl", *pairs(20)),
        evaluation=evaluating(
            data={"source": {"uri": "pvc://inputs/no.jsonl", "mount": str(tmp_path / "no")}}
        ),
    )
    assert result.code == ExitCode.INVALID_INPUT
    assert "pvc://inputs/no.jsonl does not exist." in result.message.message
    assert result.message.message.endswith("Correct evaluation.dataset.uri.")


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_request_is_rendered_as_what_is_learned_was(template: str) -> None:
    """Over all templates: what the server makes of the messages that are sent has the tokens of training."""
    found = 0
    for name, (messages, tools) in (CONVERSATIONS | FORMS).items():
        learned = learner(template, "merges")
        tokeniser = learned.tokeniser()
        rows = examples(tokeniser, messages, tools)
        if not isinstance(rows, list):
            continue
        assert tokeniser.turns is not None
        prompter = Prompter(learned.tokenizer, tokeniser.turns.template)
        contexts = [row.input_ids[:start].tolist() for row in rows for start, _ in spans_of(row)]
        turns = trained_turns(messages)[tokeniser.turns.notes.unasked :]
        conversation = check_messages(messages, where="messages")
        offered = check_tools(tools, None)
        for turn, context in zip(turns, contexts, strict=True):
            asked = sent(conversation.messages[:turn])
            received = check_messages(list(asked), where="messages", needs_assistant=False).messages
            prompt = prompter.chat(received, check_tools(list(sent_tools(offered)), None))
            assert json.loads(json.dumps(asked)) == list(asked), "it is JSON"
            text = prompter.rendered(received, offered)
            ids = learned.tokenizer(text, add_special_tokens=False)["input_ids"]
            assert (ids, prompt.tokens) == (context, len(context)), (name, turn)
            found += 1
    assert found or template in ("numbers", "ends the last turn")
