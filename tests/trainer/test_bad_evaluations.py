"""What ``prepare`` says of evaluations that cannot be meant: a sentence each, before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kubetune_trainer.contract.messages import ExitCode
from kubetune_trainer.scoring.questions import Question, read_questions
from tests.support import trained_elsewhere as elsewhere
from tests.support.hub_server import hub_server
from tests.support.judge_server import MODEL, Reply, fails, judge_server, says
from tests.support.prepare_runs import Prepare, Prepared, pairs, write
from tests.support.tiny_model import chat_row, make_tiny_model

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # peft's
]

SHORT = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ m.tool_calls | default('') }}<|end|>"
    "{% endfor %}{{ tools or '' }}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
EXACT = {"name": "ExactMatch", "type": "ExactMatch"}
NAME = "pvc://inputs/eval.jsonl"
TOOL = {"type": "function", "function": {"name": "now", "description": "The time.", "parameters": {}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "now", "arguments": "{}"}}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny", chat_template=SHORT, eos="<|end|>")


def own(path: Path, **fields: Any) -> dict[str, Any]:
    return {"source": {"uri": f"pvc://inputs/{path.name}", "mount": str(path)}, **fields}


def evaluated(
    prepare: Prepare, model: Path, rows: list[str], *, job: dict[str, Any] | None = None, **evaluation: Any
) -> Prepared:
    """Prepare a job whose evaluation has these rows."""
    beside = model.parent / "rows"
    beside.mkdir(exist_ok=True)
    return prepare(
        model=model,
        **{"train": write(beside / "train.jsonl", *pairs(20)), **(job or {})},
        evaluation={"metrics": [EXACT], "data": own(write(beside / "eval.jsonl", *rows)), **evaluation},
    )


def questions(result: Prepared) -> list[Question]:
    assert result.code == ExitCode.COMPLETED, result.message
    return list(read_questions(result.run.questions_file))


def refused(result: Prepared) -> str:
    assert result.code == ExitCode.INVALID_INPUT, result.message
    assert not result.run.questions_file.exists()
    return result.message.message


def row_of_tools(*, tools: bool = True, calls: bool = True) -> str:
    answer = {"tool_calls": [CALL]} if calls else {"content": "Noon."}
    messages = [{"role": "user", "content": "What time is it?"}, {"role": "assistant", **answer}]
    return json.dumps({"messages": messages, **({"tools": [TOOL]} if tools else {})}) + "\n"


@pytest.mark.parametrize(
    ("row", "what"),
    [
        (row_of_tools(calls=False), "lists tools"),
        (row_of_tools(tools=False), "expects a call of a tool"),
    ],
)
def test_rows_with_tools_need_a_server_that_reads_calls(
    prepare: Prepare, tiny: Path, row: str, what: str
) -> None:
    rows = [*pairs(2, start=100), row]
    metrics = [{"name": "Regex", "type": "Regex", "pattern": "."}, EXACT]
    assert refused(evaluated(prepare, tiny, rows, metrics=metrics)) == (
        f"{NAME}, line 3, {what}, and the server takes no tools without a parser of the model's calls: set "
        "serving.engineArgs.tool-call-parser to the one for this model, such as hermes, or leave such rows "
        "out of the evaluation."
    )


def test_rows_with_tools_are_asked_where_the_server_reads_calls(prepare: Prepare, tiny: Path) -> None:
    job: dict[str, Any] = {"serving": {"tool_call_parser": True}}
    metrics = [{"name": "ToolCall", "type": "ToolCall"}]
    result = evaluated(prepare, tiny, [row_of_tools()], job=job, metrics=metrics)
    (asked,) = questions(result)
    assert [tool["function"]["name"] for tool in asked.tools] == ["now"]
    assert [call["function"] for call in asked.expected_calls] == [{"name": "now", "arguments": {}}]
    job["serving"] = {}
    again = evaluated(prepare, tiny, [row_of_tools()], job=job, metrics=metrics)
    assert "tool-call-parser" in again.message.message, "what another server was asked is not taken"


MISFITS: dict[str, tuple[dict[str, Any], str, str]] = {
    "ExactMatch": (
        {"type": "ExactMatch", "ignore": ["Punctuation"]},
        chat_row("q", "?!"),
        "nothing is left of its expected answer without what the metric's ignore lists",
    ),
    "Contains": (
        {"type": "Contains"},
        row_of_tools(),
        "its expected answer is empty",
    ),
    "Regex": (
        {"type": "Regex", "pattern": "^[0-9]+$"},
        chat_row("q", "seven"),
        "the metric's pattern is not found in its expected answer",
    ),
    "TokenF1": ({"type": "TokenF1"}, chat_row("q", "The."), "its expected answer has only articles and"),
    "RougeL": ({"type": "RougeL"}, chat_row("q", "..."), "its expected answer has no words"),
    "NumericMatch": ({"type": "NumericMatch"}, chat_row("q", "seven"), "its expected answer has no number"),
    "JSONSchema": (
        {"type": "JSONSchema", "json_schema": {"type": "object"}},
        chat_row("q", "[1]"),
        "its expected answer does not fit the metric's schema",
    ),
    "ToolCall": ({"type": "ToolCall"}, chat_row("q", "now()"), "its expected answer calls no tool"),
    "ToolCall without tools": (
        {"type": "ToolCall"},
        row_of_tools(tools=False),
        "it lists no tools, and without them a server reads no calls",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_metric_that_does_not_fit_a_row_is_told_with_the_line(
    prepare: Prepare, tiny: Path, case: str
) -> None:
    metric, row, why = MISFITS[case]
    job = {"serving": {"tool_call_parser": True}}
    result = evaluated(prepare, tiny, [row], job=job, metrics=[{"name": "M", **metric}])
    assert refused(result).startswith(
        f"1 of 1 rows cannot be used. {NAME}, line 1: The metric M cannot score it: {why}"
    )
    assert (result.message.reason, result.message.summary["classes"]) == ("DataInvalid", {"metric_misfit": 1})


REFUSED: dict[str, tuple[list[str], dict[str, Any], str]] = {
    "a pattern that is none": (
        pairs(1),
        {"metrics": [{"name": "R", "type": "Regex", "pattern": "("}]},
        "evaluation.metrics[R].pattern is no regular expression: missing ) at position 1.",
    ),
    "a pattern that does not end": (
        [chat_row("q", "a" * 60 + "!")],
        {"metrics": [{"name": "R", "type": "Regex", "pattern": "^(?:a|aa)+$"}]},
        "evaluation.metrics[R].pattern takes more than 1 s to search one answer: write it without "
        "repetitions inside of repetitions.",
    ),
    "a schema that is none": (
        pairs(1),
        {"metrics": [{"name": "S", "type": "JSONSchema", "json_schema": {"type": "objet"}}]},
        "evaluation.metrics[S].schema.type is no JSON Schema: 'objet' is not valid under any of the given "
        "schemas.",
    ),
    "a schema with a pattern that is none": (
        [chat_row("q", '"a"')],
        {"metrics": [{"name": "S", "type": "JSONSchema", "json_schema": {"pattern": "("}}]},
        "evaluation.metrics[S].schema.pattern is no JSON Schema: '(' is not a 'regex'.",
    ),
    "a schema of elsewhere": (
        [chat_row("q", "{}")],
        {"metrics": [{"name": "S", "type": "JSONSchema", "json_schema": {"$ref": "https://x.org/s"}}]},
        "evaluation.metrics[S].schema refers to https://x.org/s, which is not in it: only references within "
        "the schema are followed; copy it there, under $defs.",
    ),
    "a gate on what is not measured": (
        pairs(30),
        {"gate": {"metric": "Other", "min_score": "0.5"}},
        "evaluation.gate.metric Other is none of evaluation.metrics: add it, or name one of them.",
    ),
    "a gate on too few rows": (
        pairs(19),
        {"gate": {"metric": "ExactMatch", "min_score": "0.5"}},
        "evaluation.gate cannot decide on 19 questions: give at least 20 rows in evaluation.dataset or for "
        "validation, or remove the gate.",
    ),
    "a gate on few of many rows": (
        pairs(30),
        {"gate": {"metric": "ExactMatch", "min_score": "0.5"}, "max_rows": 10},
        "evaluation.gate cannot decide on 10 questions: raise evaluation.maxRows, which is 10, to at least "
        "20, or remove the gate.",
    ),
    "a confidence that rows cannot give": (
        pairs(20),
        {"gate": {"metric": "ExactMatch", "min_delta": "0", "confidence": "0.9999999"}},
        "evaluation.gate cannot decide on 20 questions with a confidence of 0.9999999, at which they show no "
        "difference, however large: lower evaluation.gate.confidence, or give more rows.",
    ),
    "answers as long as the context": (
        pairs(1),
        {"generation": {"max_tokens": 2048}},
        "evaluation.generation.maxTokens 2,048 leaves no room for a prompt in the server's 2,048 tokens: "
        "lower it, or raise max-model-len in serving.engineArgs if the model reads more.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_evaluated_is_refused_with_its_field(prepare: Prepare, tiny: Path, case: str) -> None:
    rows, fields, sentence = REFUSED[case]
    assert refused(evaluated(prepare, tiny, rows, **fields)) == sentence


COLUMNS: dict[str, tuple[dict[str, str], str]] = {
    "a name that is none": (
        {"question": "q"},
        "evaluation.dataset.columns maps 'question', which is no standard name; these are completion, "
        "conversations, functions, input, instruction, messages, output, prompt, system, text, tools.",
    ),
    "a column that no row has": (
        {"prompt": "question", "completion": "a"},
        f"1 of 1 rows cannot be used. {NAME}, line 1: The row has no column question, which "
        "evaluation.dataset.columns names for prompt.",
    ),
    "no names": (
        {},
        f"1 of 1 rows cannot be used. {NAME}, line 1: The row has the columns a, q; a row has messages, "
        "conversations, prompt and completion, instruction and output, or text. Other names are mapped in "
        "evaluation.dataset.columns.",
    ),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_columns_that_are_not_there_are_told(prepare: Prepare, tiny: Path, tmp_path: Path, case: str) -> None:
    columns, sentence = COLUMNS[case]
    data = own(write(tmp_path / "eval.jsonl", json.dumps({"q": "q", "a": "a"})), columns=columns)
    assert refused(evaluated(prepare, tiny, [], data=data)) == sentence


NO_COLUMN = (
    "1: The row has the columns prompt; a row has messages, conversations, prompt and completion, "
    "instruction and output, or text. Other names are mapped in evaluation.dataset.columns."
)
EMPTY = {
    "chat": ("jsonl", chat_row("q", " "), "1: The content of message 2 is empty."),
    "completion": ("jsonl", json.dumps({"prompt": "q", "completion": ""}), "1: completion is empty."),
    "output": ("jsonl", json.dumps({"instruction": "q", "output": "  "}), "1: output is empty."),
    "a cell": ("csv", "prompt,completion\nq,\n", "2: completion is empty."),
    "none": ("jsonl", json.dumps({"prompt": "q"}), NO_COLUMN),
    "null": ("jsonl", json.dumps({"prompt": "q", "completion": None}), NO_COLUMN),
}


@pytest.mark.parametrize("case", EMPTY)
def test_an_expected_answer_that_is_empty_is_told_with_its_line(
    prepare: Prepare, tiny: Path, tmp_path: Path, case: str
) -> None:
    ending, row, sentence = EMPTY[case]
    data = own(write(tmp_path / f"empty.{ending}", row))
    said = refused(evaluated(prepare, tiny, [], data=data))
    assert said == f"1 of 1 rows cannot be used. pvc://inputs/empty.{ending}, line {sentence}"


def test_more_examples_than_training_rows_are_told(prepare: Prepare, tiny: Path) -> None:
    baselines = [{"type": "FewShot", "examples": 30}, {"type": "Retrieval", "examples": 20}]
    result = evaluated(prepare, tiny, pairs(1, start=100), baselines=baselines)
    assert result.summary.dataset.warnings[-1] == (
        "evaluation.baselines FewShot asks for 30 examples, and there are 20 different training rows: its "
        "prompts have fewer."
    )


def test_validation_rows_of_plain_text_ask_nothing(prepare: Prepare, tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "plain", chat_template=None)
    rows = write(tmp_path / "text.jsonl", *[json.dumps({"text": f"text {n}"}) + "\n" for n in range(20)])
    result = prepare(model=model, train=rows, validation=rows, evaluation={"metrics": [EXACT]})
    assert refused(result) == (
        "An evaluation asks prompts, and the validation rows are plain text (format Text): give rows with "
        "messages, or with prompt and completion, in evaluation.dataset."
    )


JUDGES: dict[str, tuple[Reply, str]] = {
    "nonsense": (
        says("Well."),
        "The judge of evaluation.metrics[Judge], judge-1, gave no grade from 1 to 5, and none when it was "
        "reminded: take a model in judge.model that follows instructions.",
    ),
    "no key": (
        fails(401, "No key."),
        "The judge of evaluation.metrics[Judge] at URL wants a key (status 401): name a Secret in "
        "judge.credentials, which has the key as OPENAI_API_KEY.",
    ),
    "another model": (
        fails(404, "No such model."),
        "The judge of evaluation.metrics[Judge] at URL has no model judge-1, or is no OpenAI-compatible URL "
        "(status 404): correct judge.model, or judge.url, which ends in /v1.",
    ),
    "a small context": (
        fails(400, "The prompt is longer than the context of 512 tokens."),
        "The judge of evaluation.metrics[Judge] at URL refuses what it is asked (status 400): The prompt is "
        "longer than the context of 512 tokens.",
    ),
    "another site": (
        Reply(200, "<html>Welcome</html>"),
        "The judge of evaluation.metrics[Judge] at URL does not answer as OpenAI's API does: correct "
        "judge.url, which ends in /v1.",
    ),
}


def judged(url: str, **fields: Any) -> list[dict[str, Any]]:
    judge = {"url": url, "model": MODEL, "rubric": "Is it right?", **fields}
    return [{"name": "Judge", "type": "Judge", "judge": judge}]


@pytest.mark.parametrize("case", JUDGES)
def test_a_judge_that_cannot_grade_is_told_before_training(prepare: Prepare, tiny: Path, case: str) -> None:
    reply, sentence = JUDGES[case]
    with judge_server([reply]) as server:
        result = evaluated(prepare, tiny, pairs(1), metrics=judged(server.url))
        assert refused(result) == sentence.replace("at URL", f"at {server.url}")


def test_a_judge_that_is_not_reachable_may_be_later(prepare: Prepare, tiny: Path) -> None:
    with judge_server() as server:
        pass
    result = evaluated(prepare, tiny, pairs(1), metrics=judged(server.url))
    assert result.code == 1
    assert result.message.message.startswith(
        f"The judge of evaluation.metrics[Judge] at {server.url} cannot be reached: "
    )
    assert result.message.message.endswith("Correct judge.url if it is wrong.")


def test_questions_of_several_files_turns_and_equal_rows_have_names_of_their_own(
    prepare: Prepare, tiny: Path
) -> None:
    turns = [{"role": role, "content": text} for role, text in (("user", "q"), ("assistant", "a"))] * 2
    rows = [json.dumps({"messages": turns}) + "\n", *[chat_row("same", "a")] * 2] * 4
    content = "".join(rows).encode()
    parts = {f"test-{number:05}-of-00002.jsonl": content for number in range(2)}
    data = {"source": {"uri": "hf://acme/rows"}}
    gate = {"metric": "ExactMatch", "min_score": "0.5", "must_not_regress": {"max_drop": "0.1", "data": data}}
    with hub_server() as hub:
        hub.add("dataset", "acme/rows", parts)
        platform = {"hf_endpoint": hub.endpoint}
        job = {"platform": platform}
        result = evaluated(prepare, tiny, [], job=job, data=data, turns="All", gate=gate)
    found = [one.id for one in questions(result)]
    assert len(found) == len(set(found)) == 2 * 2 * 16
    assert found[:5] == ["1:1.1", "1:1.3", "1:2", "1:3", "1:4.1"]
    assert found[16:18] == ["2:1.1", "2:1.3"]
    assert found[32:34] == ["general-1:1.1", "general-1:1.3"]


SHOUTS = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}!!!<|end|>{% endfor %}<|assistant|>"


def test_an_adopted_artifact_without_rows_of_the_job_is_asked_through_its_own_template(
    prepare: Prepare, tiny: Path, tmp_path: Path
) -> None:
    folder = elsewhere.lora(tiny, tmp_path / "adapter")
    job: dict[str, Any] = {"train": None, "adopt": folder, "name": "plain"}
    gate = {"metric": "ExactMatch", "min_score": "0.5"}
    plain = evaluated(prepare, tiny, pairs(20), job=job, gate=gate)
    asked = questions(plain)
    assert [one.line for one in asked] == list(range(1, 21))
    assert (plain.summary.evaluation and plain.summary.evaluation.prompt_tokens) == {"Tuned": 7, "Base": 7}
    assert plain.summary.evaluation is not None
    assert (plain.summary.evaluation.break_even_requests, plain.summary.dataset.train_rows) == (None, 0)
    assert (plain.summary.dataset.warnings, plain.run.evaluation_leaks_file.exists()) == ((), False)
    made = plain.run.questions_file.stat().st_ino
    assert evaluated(prepare, tiny, pairs(20), job=job, gate=gate).summary == plain.summary
    assert plain.run.questions_file.stat().st_ino == made

    (folder / "chat_template.jinja").write_text(SHOUTS)
    loud = evaluated(prepare, tiny, pairs(20), job=job, gate=gate)
    assert {one.prompts["Plain"].tokens for one in questions(loud)} == {10}
    assert loud.run.root == plain.run.root
