"""Formats: every class of bad row, what is accepted, and the shape that rows get for chat templates."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kubetune_trainer.contract.config import DatasetConfig, FileSource
from kubetune_trainer.contract.errors import DataInvalid, InvalidInput
from kubetune_trainer.data.chat import Conversation
from kubetune_trainer.data.findings import Findings
from kubetune_trainer.data.formats import Example, Plain, RowReader
from kubetune_trainer.data.row import Row

USER = {"role": "user", "content": "q"}
ANSWER = {"role": "assistant", "content": "a"}
CALL = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"city": "Oslo"}'}}
TOOL = {
    "type": "function",
    "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}},
}


def reader(*, name: str = "train.jsonl", has_template: bool = True, **fields: Any) -> RowReader:
    config = DatasetConfig(train=FileSource(uri=f"pvc://d/{name}"), **fields)
    return RowReader(config, name=name, has_template=has_template)


def read(row: dict[str, Any], *, has_template: bool = True, **fields: Any) -> Example:
    return reader(has_template=has_template, **fields).read(Row(1, row))


def chat(*messages: Any, **columns: Any) -> dict[str, Any]:
    return {"messages": list(messages), **columns}


def findings(row: dict[str, Any], **fields: Any) -> list[tuple[str, str]]:
    with pytest.raises(Findings) as caught:
        read(row, **fields)
    return [(finding.kind, finding.message) for finding in caught.value.findings]


BAD_CHAT: dict[str, tuple[Any, str, str]] = {
    "messages is a string": (
        {"messages": "hello"},
        "missing_messages_list",
        "messages is a string, not a list.",
    ),
    "messages is empty": ({"messages": []}, "missing_messages_list", "messages is empty."),
    "there are no messages": (
        {"chat": []},
        "missing_messages_list",
        "The row has no messages; it has the columns chat.",
    ),
    "the row has no columns": ({}, "missing_messages_list", "The row has no messages; it has no columns."),
    "a message is a string": (chat("hello", ANSWER), "data_type", "Message 1 is a string, not an object."),
    "a message has no role": (
        chat({"content": "q"}, ANSWER),
        "message_missing_key",
        "Message 1 has no role.",
    ),
    "a message has no content": (
        chat(USER, {"role": "assistant"}),
        "message_missing_key",
        "Message 2 has no content.",
    ),
    "a message has an unknown key": (
        chat({**USER, "text": "q"}, ANSWER),
        "message_unrecognized_key",
        "Message 1 has the unknown key 'text'. Remove it.",
    ),
    "a role is unknown": (
        chat({"role": "human", "content": "q"}, ANSWER),
        "unrecognized_role",
        "Message 1 has the role 'human'; known are system, developer, user, assistant, tool, function.",
    ),
    "a role is no string": (
        chat({"role": 7, "content": "q"}, ANSWER),
        "unrecognized_role",
        "Message 1 has the role a number; known are system, developer, user, assistant, tool, function.",
    ),
    "content is null": (
        chat(USER, {"role": "assistant", "content": None}),
        "missing_content",
        "The content of message 2 is empty.",
    ),
    "content is empty": (
        chat({**USER, "content": ""}, ANSWER),
        "missing_content",
        "The content of message 1 is empty.",
    ),
    "content is a number": (
        chat({**USER, "content": 5}, ANSWER),
        "missing_content",
        "The content of message 1 is a number, not a string.",
    ),
    "content has an image": (
        chat({**USER, "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, ANSWER),
        "missing_content",
        "Message 1 has a content part of type 'image_url'; only text can be trained on.",
    ),
    "content has a broken part beside a refusal": (
        chat(USER, {"role": "assistant", "content": [{"text": "a"}], "refusal": "I cannot."}),
        "missing_content",
        "Message 2 has a content part of type unknown; only text can be trained on.",
    ),
    "content has a part that is no object": (
        chat({**USER, "content": ["q"]}, ANSWER),
        "missing_content",
        "Message 1 has a content part of type unknown; only text can be trained on.",
    ),
    "no message is the assistant's": (
        chat(USER),
        "example_missing_assistant_message",
        "No message has the role assistant, so there is nothing to learn.",
    ),
    "a user message has a weight": (
        chat({**USER, "weight": 1}, ANSWER),
        "invalid_weight",
        "Message 1 has a weight; only assistant messages may have one.",
    ),
    "a weight is a half": (
        chat(USER, {**ANSWER, "weight": 0.5}),
        "invalid_weight",
        "Message 2 has a weight other than 0 and 1.",
    ),
    "a weight is true": (
        chat(USER, {**ANSWER, "weight": True}),
        "invalid_weight",
        "Message 2 has a weight other than 0 and 1.",
    ),
    "every weight is 0": (
        chat(USER, {**ANSWER, "weight": 0}),
        "nothing_to_train",
        "Every assistant message has weight 0.",
    ),
    "a tool call has no name": (
        chat(USER, {"role": "assistant", "content": None, "tool_calls": [{"function": {"arguments": "{}"}}]}),
        "invalid_tool_call",
        "Message 2 has a tool call without a function name.",
    ),
    "arguments are broken JSON": (
        chat(USER, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}),
        "invalid_tool_call",
        "The arguments of a tool call of message 2 are no JSON object.",
    ),
    "a user calls a tool": (
        chat({**USER, "tool_calls": [CALL]}, ANSWER),
        "invalid_tool_call",
        "Message 1 calls a tool; only assistant messages may.",
    ),
    "tools is an object": (
        chat(USER, ANSWER, tools={"name": "f"}),
        "invalid_tools",
        "tools is an object, not a list.",
    ),
    "functions is an object": (
        chat(USER, ANSWER, functions={"name": "f"}),
        "invalid_tools",
        "functions is an object, not a list.",
    ),
    "functions is a string": (
        chat(USER, ANSWER, functions="f"),
        "invalid_tools",
        "functions is a string, not a list.",
    ),
    "there are tools and functions": (
        chat(USER, ANSWER, tools=[TOOL], functions=[TOOL["function"]]),
        "invalid_tools",
        "The row has both tools and functions. Keep tools.",
    ),
    "a tool has no function": (
        chat(USER, ANSWER, tools=[{"description": "f"}]),
        "invalid_tools",
        "Tool 1 has no function with a name.",
    ),
    "a refusal is a number": (
        chat(USER, {"role": "assistant", "content": None, "refusal": 5}),
        "data_type",
        "refusal of message 2 is a number, not a string.",
    ),
    "a refusal is a list": (
        chat(USER, {**ANSWER, "refusal": ["I cannot."]}),
        "data_type",
        "refusal of message 2 is a list, not a string.",
    ),
    "two kinds of reasoning differ": (
        chat(USER, {**ANSWER, "reasoning_content": "x", "thinking": "y"}),
        "conflicting_keys",
        "Message 2 has reasoning_content and thinking, which differ. Keep one of them.",
    ),
    "a refusal stands beside content": (
        chat(USER, {**ANSWER, "refusal": "I cannot."}),
        "conflicting_keys",
        "Message 2 has content and a refusal. Keep one of them.",
    ),
    "reasoning is a list": (
        chat(USER, {**ANSWER, "reasoning_content": ["x"]}),
        "data_type",
        "reasoning_content of message 2 is a list, not a string.",
    ),
}


@pytest.mark.parametrize("case", BAD_CHAT)
def test_bad_chat_row_is_named_by_class_and_sentence(case: str) -> None:
    columns, kind, message = BAD_CHAT[case]
    assert findings(columns, format="Chat") == [(kind, message)]


def test_every_class_of_a_row_is_reported_once() -> None:
    found = findings(chat({"content": ""}, {"role": "bot", "content": "", "x": 1}), format="Chat")
    assert [kind for kind, _ in found] == [
        "message_missing_key",
        "missing_content",
        "unrecognized_role",
        "message_unrecognized_key",
        "example_missing_assistant_message",
    ]


def test_messages_come_out_as_chat_templates_take_them() -> None:
    example = read(
        chat(
            {
                "role": "developer",
                "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}],
            },
            {**USER, "name": "ada"},
            {"role": "assistant", "content": None, "tool_calls": [CALL], "thinking": "Look it up."},
            {"role": "tool", "content": "", "tool_call_id": "c1"},
            {"role": "assistant", "content": None, "refusal": "I cannot.", "weight": 0},
            ANSWER,
            tools=[TOOL],
            parallel_tool_calls=False,
            id=7,
        )
    )
    assert example == Conversation(
        messages=(
            {"role": "developer", "content": "Be \nbrief.", "parts": ("Be ", "brief.")},
            {"role": "user", "content": "q", "name": "ada"},
            {
                "role": "assistant",
                "content": "",
                "reasoning_content": "Look it up.",
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "look_up", "arguments": {"city": "Oslo"}},
                    }
                ],
            },
            {"role": "tool", "content": "", "tool_call_id": "c1"},
            {"role": "assistant", "content": "I cannot."},
            {"role": "assistant", "content": "a"},
        ),
        trained=(False, False, True, False, False, True),
        tools=(TOOL,),
    )


def test_keys_that_say_the_same_are_no_conflict() -> None:
    answer = {**ANSWER, "reasoning_content": "x", "thinking": "x", "reasoning": "", "refusal": "a"}
    example = read(chat(USER, answer))
    assert isinstance(example, Conversation)
    assert example.messages[1] == {**ANSWER, "reasoning_content": "x"}


def test_legacy_functions_become_tools() -> None:
    example = read(
        chat(
            USER,
            {"role": "assistant", "content": None, "function_call": {"name": "look_up", "arguments": "{}"}},
            {"role": "function", "name": "look_up", "content": "42"},
            ANSWER,
            functions=[TOOL["function"]],
        )
    )
    assert isinstance(example, Conversation)
    assert example.tools == (TOOL,)
    assert example.messages[1] == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": {"name": "look_up", "arguments": {}}}],
    }
    assert example.messages[2] == {"role": "tool", "content": "42", "name": "look_up"}


def test_system_prompt_is_put_in_front_only_where_there_is_none() -> None:
    rows = reader(system_prompt="Name the intent.")
    with_own = rows.read(Row(1, chat({"role": "system", "content": "Own."}, USER, ANSWER)))
    without = rows.read(Row(2, chat(USER, ANSWER)))
    assert isinstance(with_own, Conversation)
    assert isinstance(without, Conversation)
    assert [message["content"] for message in with_own.messages] == ["Own.", "q", "a"]
    assert [message["content"] for message in without.messages] == ["Name the intent.", "q", "a"]
    assert without.trained == (False, False, True)


def test_prompt_and_completion_become_a_conversation_when_there_is_a_chat_template() -> None:
    example = read({"prompt": "q", "completion": "a", "extra": 1}, system_prompt="s")
    assert example == Conversation(
        messages=({"role": "system", "content": "s"}, USER, ANSWER), trained=(False, False, True), added=1
    )


def test_prompt_and_completion_stay_text_when_there_is_none() -> None:
    assert read({"prompt": "q", "completion": "a"}, has_template=False) == Plain(prompt="q", completion="a")


def test_columns_map_own_names_and_choose_the_format() -> None:
    rows = reader(columns={"prompt": "text", "completion": "category"})
    assert rows.format == "PromptCompletion"
    example = rows.read(Row(2, {"text": "Where is my card?", "category": "card_arrival"}))
    assert isinstance(example, Conversation)
    assert [message["content"] for message in example.messages] == ["Where is my card?", "card_arrival"]


def test_only_the_completion_of_message_lists_is_trained_on() -> None:
    example = read({"prompt": [USER, ANSWER, USER], "completion": [ANSWER]})
    assert isinstance(example, Conversation)
    assert example.trained == (False, False, False, True)


def test_messages_may_be_json_text_in_a_csv_column() -> None:
    example = read({"messages": json.dumps([USER, ANSWER]), "tools": json.dumps([TOOL])}, name="train.csv")
    assert example == Conversation(messages=(USER, ANSWER), trained=(False, True), tools=(TOOL,))


@pytest.mark.parametrize("empty", ["", " ", "[]"])
def test_empty_cells_of_tools_are_absent(empty: str) -> None:
    row = {"messages": json.dumps([USER, ANSWER]), "tools": empty, "functions": empty}
    assert read(row, name="train.csv") == Conversation(messages=(USER, ANSWER), trained=(False, True))


def test_prompt_may_be_a_list_of_messages_in_a_csv_cell() -> None:
    example = read({"prompt": json.dumps([USER, ANSWER, USER]), "completion": "a"}, name="train.csv")
    assert isinstance(example, Conversation)
    assert example.messages == (USER, ANSWER, USER, ANSWER)


@pytest.mark.parametrize("name", ["train.jsonl", "train.csv"])
@pytest.mark.parametrize(
    "text",
    [
        '[{"a": 1}]',
        '[{"role": "editor", "members": ["ada"]}]',
        '[{"role": "user", "name": "ada"}]',
        '[{"function": {"name": "f"}}]',
        "[1, 2]",
        "[]",
        '"quoted"',
        "5",
    ],
)
def test_text_that_looks_like_json_stays_text(name: str, text: str) -> None:
    example = read({"prompt": text, "completion": text}, name=name)
    assert isinstance(example, Conversation)
    assert [message["content"] for message in example.messages] == [text, text]


def test_messages_as_text_in_jsonl_are_text() -> None:
    text = json.dumps([USER, ANSWER])
    example = read({"prompt": "q", "completion": text})
    assert isinstance(example, Conversation)
    assert example.messages[1]["content"] == text


BAD_PAIRS = {
    "the mapped column is missing": (
        {"text": "q"},
        {"columns": {"prompt": "text", "completion": "label"}},
        "missing_column",
        "The row has no column label, which dataset.columns names for completion.",
    ),
    "the prompt is missing": (
        {"completion": "a"},
        {"format": "PromptCompletion"},
        "missing_column",
        "The row has no prompt; it has the columns completion.",
    ),
    "the completion is a number": (
        {"text": "q", "label": 3},
        {"columns": {"prompt": "text", "completion": "label"}},
        "data_type",
        "completion (column label) is a number, not a string.",
    ),
    "the completion is empty": (
        {"prompt": "q", "completion": "  "},
        {},
        "missing_content",
        "completion is empty.",
    ),
    "the text is empty": ({"text": ""}, {}, "missing_content", "text is empty."),
    "the text is a list": ({"text": ["a"]}, {}, "data_type", "text is a list, not a string."),
    "nothing is recognised": (
        {"question": "q", "answer": "a"},
        {},
        "missing_messages_list",
        "The row has the columns answer, question; a row has messages, conversations, prompt and completion, "
        "instruction and output, or text. Other names are mapped in dataset.columns.",
    ),
}


@pytest.mark.parametrize("case", BAD_PAIRS)
def test_bad_pair_or_text_is_named(case: str) -> None:
    columns, fields, kind, message = BAD_PAIRS[case]
    assert findings(columns, **fields) == [(kind, message)]


def test_all_rows_of_a_file_have_the_format_of_the_first() -> None:
    rows = reader()
    rows.read(Row(1, chat(USER, ANSWER)))
    with pytest.raises(Findings) as caught:
        rows.read(Row(2, {"prompt": "q", "completion": "a"}))
    assert [(finding.kind, finding.message) for finding in caught.value.findings] == [
        (
            "mixed_format",
            "The row is PromptCompletion, but earlier rows of the file are Chat: use one format per file.",
        )
    ]


@pytest.mark.parametrize(
    ("columns", "fields", "message"),
    [
        (chat(USER, ANSWER), {}, "has chat messages, but the model has no chat template"),
        (chat(USER, ANSWER), {"format": "Chat"}, "has chat messages, but the model has no chat template"),
        (
            {"prompt": "q", "completion": "a"},
            {"system_prompt": "s"},
            "systemPrompt needs a model with a chat template",
        ),
    ],
)
def test_model_without_chat_template_refuses_what_needs_one(
    columns: dict[str, Any], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataInvalid, match=message):
        read(columns, has_template=False, **fields)


def test_system_prompt_is_refused_for_plain_text() -> None:
    with pytest.raises(DataInvalid, match=r"dataset\.systemPrompt belongs to conversations"):
        read({"text": "a"}, system_prompt="s")


def test_columns_must_map_standard_names() -> None:
    with pytest.raises(InvalidInput, match=r"dataset\.columns maps 'question', which is no standard name"):
        reader(columns={"question": "text"})
