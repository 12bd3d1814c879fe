"""Columns and what stands in them: other formats, nulls, lists as text, and what is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kubetune_trainer.contract.config import DatasetConfig, FileSource
from kubetune_trainer.contract.errors import DataInvalid
from kubetune_trainer.data.chat import Conversation
from kubetune_trainer.data.findings import Findings
from kubetune_trainer.data.formats import Example, Plain, RowReader
from kubetune_trainer.data.row import Row

USER = {"role": "user", "content": "q"}
ANSWER = {"role": "assistant", "content": "a"}
SYSTEM = {"role": "system", "content": "s"}
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}


def reader(*, name: str = "train.jsonl", has_template: bool = True, **fields: Any) -> RowReader:
    config = DatasetConfig(train=FileSource(uri=f"pvc://d/{name}"), **fields)
    return RowReader(config, name=name, has_template=has_template)


def conversation(*messages: dict[str, Any], **fields: Any) -> Conversation:
    trained = tuple(message["role"] == "assistant" for message in messages)
    return Conversation(messages=messages, trained=trained, **fields)


def call(identity: str | None, city: str, **more: Any) -> dict[str, Any]:
    named = {"id": identity} if identity else {}
    return {**named, "type": "function", "function": {"name": "look_up", "arguments": {"city": city, **more}}}


def calls(*made: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": "", "tool_calls": list(made)}


def result(identity: str | None, content: str) -> dict[str, Any]:
    named = {"tool_call_id": identity} if identity else {}
    return {"role": "tool", "content": content, **named}


READ: dict[str, tuple[dict[str, Any], dict[str, Any], Example]] = {
    "Alpaca": (
        {"instruction": "Translate.", "input": "Brot", "output": "bread"},
        {},
        conversation({"role": "user", "content": "Translate.\n\nBrot"}, {**ANSWER, "content": "bread"}),
    ),
    "Alpaca without an input, with a system text and the rendered prompt beside it": (
        {"instruction": "q", "input": "", "output": "a", "system": "s", "text": "### Instruction: q"},
        {},
        conversation(SYSTEM, USER, ANSWER),
    ),
    "Alpaca by other names": (
        {"instruction": "q", "context": "c", "response": "a"},
        {"columns": {"instruction": "instruction", "input": "context", "output": "response"}},
        conversation({"role": "user", "content": "q\n\nc"}, ANSWER),
    ),
    "ShareGPT": (
        {
            "conversations": [
                {"from": "system", "value": "s"},
                {"from": "human", "value": "q"},
                {"from": "gpt", "value": "a", "weight": None},
            ]
        },
        {},
        conversation(SYSTEM, USER, ANSWER),
    ),
    "ShareGPT with OpenAI's keys": (
        {"conversations": [USER, ANSWER], "system": "s"},
        {"format": "ShareGPT"},
        conversation(SYSTEM, USER, ANSWER),
    ),
    "ShareGPT as text in a cell": (
        {"conversations": json.dumps([{"from": "user", "value": "q"}, {"from": "assistant", "value": "a"}])},
        {"name": "train.csv"},
        conversation(USER, ANSWER),
    ),
    "ShareGPT with tools": (
        {
            "conversations": [
                {"from": "human", "value": "q"},
                {"from": "function_call", "value": '{"name": "look_up", "arguments": {"city": "Bern"}}'},
                {"from": "observation", "value": "rain"},
                {"from": "gpt", "value": "a"},
            ],
            "tools": '[{"name": "look_up", "parameters": {"type": "object"}}]',
        },
        {},
        conversation(USER, calls(call(None, "Bern")), result(None, "rain"), ANSWER, tools=(TOOL,)),
    ),
    "turns with from and value in a column messages": (
        {"messages": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        {},
        conversation(USER, ANSWER),
    ),
    "null keys of messages, as SDKs write them": (
        {
            "messages": [
                {**USER, "audio": None, "name": None},
                {**ANSWER, "refusal": None, "tool_calls": None, "function_call": None, "weight": None},
            ],
            "tools": None,
        },
        {},
        conversation(USER, ANSWER),
    ),
    "a column that is null beside those of another format": (
        {"messages": None, "text": None, "prompt": "q", "completion": "a"},
        {},
        conversation(USER, ANSWER),
    ),
    "a cell that is empty beside those of another format": (
        {"messages": "", "prompt": "q", "completion": "a"},
        {"name": "train.csv"},
        conversation(USER, ANSWER),
    ),
    "nulls in JSON text": (
        {"messages": json.dumps([{**USER, "name": None}, ANSWER]), "tools": "None", "functions": "nan"},
        {"name": "train.csv"},
        conversation(USER, ANSWER),
    ),
    "arguments of other calls, which Parquet fills up with nulls": (
        {"messages": [USER, calls(call(None, "Bern", content=None, path=None))]},
        {"name": "train.parquet"},
        conversation(USER, calls(call(None, "Bern"))),
    ),
    "a system text that is blank": (
        {"system": " ", "messages": [USER, ANSWER]},
        {},
        conversation(USER, ANSWER),
    ),
    "a system text that is a message too": (
        {"system": "s", "messages": [SYSTEM, USER, ANSWER]},
        {},
        conversation(SYSTEM, USER, ANSWER),
    ),
    "a system text that is mapped, before the job's": (
        {"role_play": "s", "prompt": "q", "completion": "a"},
        {"columns": {"system": "role_play"}, "system_prompt": "of the job"},
        conversation(SYSTEM, USER, ANSWER),
    ),
    "a system message that is not in front, instead of the job's": (
        {"messages": [USER, ANSWER, SYSTEM, USER, ANSWER]},
        {"system_prompt": "of the job"},
        conversation(USER, ANSWER, SYSTEM, USER, ANSWER),
    ),
    "parameters of a tool as text": (
        {
            "messages": [USER, ANSWER],
            "tools": [
                {"type": "function", "function": {"name": "look_up", "parameters": '{"type": "object"}'}}
            ],
        },
        {},
        conversation(USER, ANSWER, tools=(TOOL,)),
    ),
    "results in the order of the calls": (
        {
            "messages": [
                USER,
                calls(call("b", "Bern"), call("c", "Cairo")),
                result("c", "hot"),
                result("b", "cold"),
                ANSWER,
            ]
        },
        {},
        conversation(
            USER,
            calls(call("b", "Bern"), call("c", "Cairo")),
            result("b", "cold"),
            result("c", "hot"),
            ANSWER,
        ),
    ),
    "results of each turn by themselves": (
        {
            "messages": [
                USER,
                calls(call("x", "Bern")),
                result("x", "cold"),
                calls(call("x", "Cairo"), call("y", "Oslo")),
                result("y", "wet"),
                result("x", "hot"),
                ANSWER,
            ]
        },
        {},
        conversation(
            USER,
            calls(call("x", "Bern")),
            result("x", "cold"),
            calls(call("x", "Cairo"), call("y", "Oslo")),
            result("x", "hot"),
            result("y", "wet"),
            ANSWER,
        ),
    ),
    "results without ids, as they stand": (
        {
            "messages": [
                USER,
                calls(call(None, "Bern"), call(None, "Oslo")),
                result(None, "1"),
                result(None, "2"),
                ANSWER,
            ]
        },
        {},
        conversation(
            USER, calls(call(None, "Bern"), call(None, "Oslo")), result(None, "1"), result(None, "2"), ANSWER
        ),
    ),
    "calls at the end, without results": (
        {"messages": [USER, calls(call("b", "Bern"))]},
        {},
        conversation(USER, calls(call("b", "Bern"))),
    ),
}


@pytest.mark.parametrize("case", READ)
def test_row_is_read(case: str) -> None:
    columns, fields, expected = READ[case]
    assert reader(**fields).read(Row(1, columns)) == expected


def answered(*results: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [USER, calls(call("b", "Bern"), call("c", "Cairo")), *results, ANSWER]}


PYTHON = str([USER, ANSWER])

REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "a result of no call": (
        answered(result("b", "1"), result("x", "2")),
        {},
        "invalid_tool_result",
        "The tool_call_id of message 4 is the id of no call of the message before.",
    ),
    "two results of one call": (
        answered(result("b", "1"), result("b", "2")),
        {},
        "invalid_tool_result",
        "The tool_call_id of message 4 is that of another result.",
    ),
    "a call without a result": (
        answered(result("c", "1")),
        {},
        "invalid_tool_result",
        "1 of the calls of message 2 have no result with their id.",
    ),
    "a result without an id": (
        answered(result("c", "1"), result(None, "2")),
        {},
        "invalid_tool_result",
        "Message 4 has no tool_call_id, but other results of message 2 have.",
    ),
    "two calls with one id": (
        {"messages": [USER, calls(call("b", "Bern"), call("b", "Oslo")), result("b", "1"), ANSWER]},
        {},
        "invalid_tool_result",
        "Two calls of message 2 have the same id, so that their results cannot be told.",
    ),
    "a blank answer": (
        {"messages": [USER, {**ANSWER, "content": " \n"}]},
        {},
        "missing_content",
        "The content of message 2 is empty.",
    ),
    "a blank part": (
        {"messages": [{**USER, "content": [{"type": "text", "text": "\t"}]}, ANSWER]},
        {},
        "missing_content",
        "The content of message 1 is empty.",
    ),
    "an empty cell of messages": (
        {"messages": " "},
        {"name": "train.csv"},
        "missing_messages_list",
        "messages is empty.",
    ),
    "a system text that is a list": (
        {"messages": [USER, ANSWER], "system": ["s"]},
        {},
        "data_type",
        "system is a list, not a string.",
    ),
    "a tool without function around it": (
        {"messages": [USER, ANSWER], "tools": [{"type": "function", "name": "f", "parameters": {}}]},
        {},
        "invalid_tools",
        "Tool 1 has its name outside: name, description and parameters belong under the key function.",
    ),
    "parameters that are no object": (
        {"messages": [USER, ANSWER], "tools": [{"function": {"name": "f", "parameters": "none"}}]},
        {},
        "invalid_tools",
        "The parameters of tool 1 are a string, not an object.",
    ),
    "a default that is no JSON": (
        {
            "messages": [USER, ANSWER],
            "tools": [{"function": {"name": "f", "parameters": {"d": float("nan")}}}],
        },
        {},
        "invalid_tools",
        "Tool 1 has NaN or Infinity, which are no JSON.",
    ),
    "an argument that is no JSON": (
        {"messages": [USER, calls({"function": {"name": "f", "arguments": '{"x": [1e400]}'}})]},
        {},
        "invalid_tool_call",
        "The arguments of a tool call of message 2 have NaN or Infinity, which are no JSON.",
    ),
    "an argument that stands twice": (
        {"messages": [USER, calls({"function": {"name": "f", "arguments": '{"x": 1, "x": 2}'}})]},
        {},
        "invalid_tool_call",
        "The arguments of a tool call of message 2 cannot be used: an object has the key 'x' twice.",
    ),
    "messages as Python writes them": (
        {"messages": PYTHON},
        {"name": "train.csv"},
        "invalid_json",
        "messages is a list as Python writes it, not JSON: write it with json.dumps.",
    ),
    "a completion as Python writes it": (
        {"question": "q", "answer": PYTHON},
        {"name": "train.csv", "columns": {"prompt": "question", "completion": "answer"}},
        "invalid_json",
        "completion (column answer) is a list as Python writes it, not JSON: write it with json.dumps.",
    ),
    "messages as numpy writes them": (
        {"messages": "[{'role': 'user', 'content': 'q'}\n {'role': 'assistant', 'content': 'a'}]"},
        {"name": "train.csv"},
        "invalid_json",
        "messages is a list as Python writes it, not JSON: write it with json.dumps.",
    ),
    "a key that stands twice in a cell": (
        {"messages": '[{"role": "user", "content": "q", "content": "r"}]'},
        {"name": "train.csv"},
        "duplicate_key",
        "messages cannot be used: an object has the key 'content' twice.",
    ),
    "a system text that differs from the message": (
        {"system": "other", "messages": [SYSTEM, USER, ANSWER]},
        {},
        "conflicting_keys",
        "The row has a column system and a system message, which differ. Keep one of them.",
    ),
    "a system text beside text": (
        {"text": "a", "system": "s"},
        {},
        "unsupported_column",
        "The row has system beside text, where it is not learned. Write it into the text.",
    ),
    "a system text without a chat template": (
        {"prompt": "q", "completion": "a", "system": "s"},
        {"has_template": False},
        "unsupported_column",
        "system and tools need a model with a chat template: remove the columns.",
    ),
    "pictures": (
        {"messages": [USER, ANSWER], "images": ["a.png"]},
        {},
        "unsupported_column",
        "The row has images; only text can be trained on. Remove the column.",
    ),
    "a history": (
        {"instruction": "q", "output": "a", "history": [["x", "y"]]},
        {},
        "unsupported_column",
        "The row has a history, which is not read. Write the row as messages.",
    ),
    "an unknown speaker of ShareGPT": (
        {"conversations": [{"from": "narrator", "value": "q"}, {"from": "gpt", "value": "a"}]},
        {},
        "unrecognized_role",
        "conversations[1] has the role 'narrator'; known are system, developer, user, assistant, tool, "
        "function.",
    ),
    "a function_call of ShareGPT that is no call": (
        {
            "conversations": [
                {"from": "human", "value": "q"},
                {"from": "function_call", "value": "look it up"},
            ]
        },
        {},
        "invalid_tool_call",
        "conversations[2] has a tool call without a function name.",
    ),
    "an output of Alpaca that is a number": (
        {"instruction": "q", "output": 4},
        {},
        "data_type",
        "output is a number, not a string.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_row_is_refused_by_name(case: str) -> None:
    columns, fields, kind, message = REFUSED[case]
    with pytest.raises(Findings) as caught:
        reader(**fields).read(Row(1, columns))
    assert [(finding.kind, finding.message) for finding in caught.value.findings] == [(kind, message)]


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, "chosen and rejected answers"),
        ({"chosen": [USER, ANSWER], "rejected": [USER, ANSWER]}, "chosen and rejected answers"),
        ({"prompt": "q", "completion": "a", "label": False}, "a label that is true or false"),
    ],
)
def test_rows_of_preference_methods_are_refused_for_the_file(columns: dict[str, Any], what: str) -> None:
    with pytest.raises(DataInvalid, match=rf"train\.jsonl has .*{what}: .*preference methods .*come later"):
        reader().read(Row(1, columns))


def test_chosen_answers_may_be_learned_by_themselves() -> None:
    rows = reader(columns={"completion": "chosen"})
    row = Row(1, {"prompt": "q", "chosen": "a", "rejected": "b"})
    assert rows.read(row) == conversation(USER, ANSWER)


def test_instructions_need_a_chat_template() -> None:
    with pytest.raises(DataInvalid, match="has instructions, but the model has no chat template"):
        reader(has_template=False).read(Row(1, {"instruction": "q", "output": "a"}))


def test_columns_that_are_not_read_are_known_and_some_warned_of() -> None:
    rows = reader()
    rows.read(Row(1, {"prompt": "q", "completion": "a", "id": 7, "context": "c", "reasoning": None}))
    assert rows.unread == {"id", "context"}
    assert rows.warnings() == [
        "train.jsonl has context beside prompt and completion: not read, though it may be part of what the "
        "model is told. Map it in dataset.columns, or remove it."
    ]


def test_text_that_looks_like_python_stays_an_answer() -> None:
    text = "[{'city': 'Bern'}]"
    assert reader(name="train.csv", has_template=False).read(
        Row(1, {"prompt": "q", "completion": text})
    ) == Plain(prompt="q", completion=text)
