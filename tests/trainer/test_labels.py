"""Labels: what is trained on, with the chat templates of real model families.

The tokenizer has one token per byte and per special token, so positions can be counted by hand.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubetune_trainer.contract.errors import BadRow, DataInvalid, ModelUnavailable
from kubetune_trainer.data.chat import Conversation, check_messages
from kubetune_trainer.data.findings import Finding, Findings
from kubetune_trainer.data.formats import Plain
from kubetune_trainer.data.tools import check_tools
from kubetune_trainer.template.source import chat_source
from kubetune_trainer.template.tokens import IGNORED, Dropped, Tokeniser, TokenRow
from tests.support.chat_templates import CHATML, MISTRAL, SHORT, stored_template
from tests.support.tiny_model import tiny_tokenizer

pytestmark = pytest.mark.trainer

USER = {"role": "user", "content": "Where is it?"}
ANSWER = {"role": "assistant", "content": "Here."}
USER_2 = {"role": "user", "content": "Since when?"}
ANSWER_2 = {"role": "assistant", "content": "Since May."}
REASONED = {**ANSWER, "reasoning_content": "I see it."}
INLINE = {**ANSWER, "content": "<think>\nI see it.\n</think>\n\nHere."}
CALL = {
    "id": "abcdefghi",
    "type": "function",
    "function": {"name": "look_up", "arguments": '{"city": "Oslo"}'},
}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "content": "rain", "tool_call_id": "abcdefghi", "name": "look_up"}
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "Name."}}},
    },
}

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "SmolLM2": (CHATML, {}),
    "Llama 3": ("llama3", {"bos": "<|begin_of_text|>", "eos": "<|eot_id|>"}),
    "Llama 3.1": ("llama3_1", {"bos": "<|begin_of_text|>", "eos": "<|eot_id|>"}),
    "Qwen 2.5": ("qwen2_5", {}),
    "Qwen 3": ("qwen3", {}),
    "Mistral": (MISTRAL, {"bos": "<s>", "eos": "</s>"}),
    "Gemma": ("gemma", {"bos": "<bos>", "eos": "<eos>"}),
    "Phi 3": ("phi3", {"eos": "<|endoftext|>"}),
    "Qwen 3.5": ("qwen3_5_think", {}),
    "DeepSeek R1": (
        stored_template("deepseek_r1_distill").replace("<\uff5cend▁of▁sentence\uff5c>", "</s>"),
        {"eos": "</s>"},
    ),
    "gpt-oss": ("gptoss", {"eos": "<|return|>"}),
}

FAMILY_ENDS = [
    ("SmolLM2", "<|im_end|>"),
    ("Llama 3", "<|eot_id|>"),
    ("Qwen 3", "<|im_end|>"),
    ("Mistral", "</s>"),
    ("Gemma", "<end_of_turn>"),
]

SPECIAL_LIKE = re.compile(r"<[|\uff5c][^<>|\uff5c\s]+[|\uff5c]>|<\w+_of_turn>")


def tokenizer_for(family: str) -> Any:
    template, tokens = FAMILIES[family]
    text = template if "{%" in template else stored_template(template)
    return tiny_tokenizer(chat_template=text, **tokens)


def conversation(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None) -> Conversation:
    return check_messages(messages, where="messages").with_tools(check_tools(tools, None))


def tokeniser_of(tokenizer: Any, *, max_length: int = 4096, on_too_long: Any = "Fail") -> Tokeniser:
    return Tokeniser(tokenizer, chat_source(tokenizer), max_length=max_length, on_too_long=on_too_long)


def tokenised(tokenizer: Any, row: Conversation) -> list[TokenRow]:
    """The row's examples; raises its findings."""
    found = []
    for example in tokeniser_of(tokenizer).rows([(1, row)], file=""):
        if isinstance(example, BadRow):
            raise Findings([Finding(example.kind, example.message)])
        assert isinstance(example, TokenRow)
        learned = example.labels != IGNORED
        assert (example.labels[learned] == example.input_ids[learned]).all()
        found.append(example)
    return found


def runs(tokenizer: Any, example: TokenRow) -> list[str]:
    """The learned runs of text, decoded from tokens, as training sees them."""
    found: list[list[int]] = [[]]
    for label in example.labels.tolist():
        if label != IGNORED:
            found[-1].append(label)
        elif found[-1]:
            found.append([])
    return [tokenizer.decode(run) for run in found if run]


def trained(
    tokenizer: Any, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None
) -> list[str] | list[list[str]]:
    """What is learned of the row's text, or of each where it has several."""
    examples = [runs(tokenizer, example) for example in tokenised(tokenizer, conversation(messages, tools))]
    return examples[0] if len(examples) == 1 else examples


def refused(family: str, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None) -> str:
    with pytest.raises(Findings) as caught:
        tokenised(tokenizer_for(family), conversation(messages, tools))
    return f"{caught.value.findings[0].kind}: {caught.value.findings[0].message}"


EMPTY = "<think>\n\n</think>\n\n"
FINAL = "<|channel|>final<|message|>"

TRAINED: dict[str, tuple[str, list[dict[str, Any]], list[str] | list[list[str]]]] = {
    "SmolLM2 learns every answer with its end token": (
        "SmolLM2",
        [USER, ANSWER, USER_2, ANSWER_2],
        ["Here.<|im_end|>", "Since May.<|im_end|>"],
    ),
    "Llama 3 learns every answer with its end token": (
        "Llama 3",
        [USER, ANSWER, USER_2, ANSWER_2],
        ["Here.<|eot_id|>", "Since May.<|eot_id|>"],
    ),
    "Mistral learns the end of the sequence after each answer": (
        "Mistral",
        [USER, ANSWER, USER_2, ANSWER_2],
        ["Here.</s>", "Since May.</s>"],
    ),
    "Gemma learns its end of turn, not the line end after it": (
        "Gemma",
        [USER, ANSWER, USER_2, ANSWER_2],
        ["Here.<end_of_turn>", "Since May.<end_of_turn>"],
    ),
    "Phi 3 learns the token at which the server stops, which ends the last turn only, for each turn": (
        "Phi 3",
        [USER, ANSWER, USER_2, ANSWER_2],
        [["Here.<|end|>\n<|endoftext|>"], ["Since May.<|end|>\n<|endoftext|>"]],
    ),
    "Qwen 3, which writes an empty thought into the last turn only, learns each turn as the last": (
        "Qwen 3",
        [USER, ANSWER, USER_2, ANSWER_2],
        [[f"{EMPTY}Here.<|im_end|>"], [f"{EMPTY}Since May.<|im_end|>"]],
    ),
    "Qwen 3, which drops earlier reasoning, learns the reasoning of each turn": (
        "Qwen 3",
        [USER, REASONED, USER_2, ANSWER_2],
        [["<think>\nI see it.\n</think>\n\nHere.<|im_end|>"], [f"{EMPTY}Since May.<|im_end|>"]],
    ),
    "Qwen 3 learns inline reasoning of each turn": (
        "Qwen 3",
        [USER, INLINE, USER_2, ANSWER_2],
        [["<think>\nI see it.\n</think>\n\nHere.<|im_end|>"], [f"{EMPTY}Since May.<|im_end|>"]],
    ),
    "Qwen 3.5, whose prompt opens a thought, learns the reasoning and the end of the thought": (
        "Qwen 3.5",
        [USER, REASONED],
        ["I see it.\n</think>\n\nHere.<|im_end|>"],
    ),
    "DeepSeek R1, whose template drops reasoning, learns it after the prompt, which opens a thought": (
        "DeepSeek R1",
        [USER, REASONED],
        ["I see it.\n</think>\n\nHere.</s>"],
    ),
    "DeepSeek R1 learns inline reasoning too": (
        "DeepSeek R1",
        [USER, INLINE],
        ["I see it.\n</think>\n\nHere.</s>"],
    ),
    "DeepSeek R1 learns to close the thought of its prompt where the row has none": (
        "DeepSeek R1",
        [USER, ANSWER],
        ["\n</think>\n\nHere.</s>"],
    ),
    "gpt-oss learns of each turn what follows the prompt": (
        "gpt-oss",
        [USER, ANSWER, USER_2, ANSWER_2],
        [[f"{FINAL}Here.<|return|>"], [f"{FINAL}Since May.<|return|>"]],
    ),
    "a turn that no request can come before is context only": (
        "SmolLM2",
        [ANSWER, USER_2, ANSWER_2],
        ["Since May.<|im_end|>"],
    ),
    "a greeting that the template takes only with what follows it is context only": (
        "Qwen 3.5",
        [ANSWER, USER_2, ANSWER_2],
        ["\n</think>\n\nSince May.<|im_end|>"],
    ),
    "Qwen 3 learns the reasoning of the last turn": (
        "Qwen 3",
        [USER, REASONED],
        ["<think>\nI see it.\n</think>\n\nHere.<|im_end|>"],
    ),
    "Qwen 3 learns reasoning that is written into the content": (
        "Qwen 3",
        [USER, INLINE],
        ["<think>\nI see it.\n</think>\n\nHere.<|im_end|>"],
    ),
    "a turn of weight 0 is context only": (
        "Qwen 2.5",
        [USER, {**ANSWER, "weight": 0}, USER_2, {**ANSWER_2, "weight": 1}],
        ["Since May.<|im_end|>"],
    ),
    "dropped reasoning of a turn of weight 0 does no harm": (
        "Qwen 3",
        [USER, {**REASONED, "weight": 0}, USER_2, ANSWER_2],
        ["<think>\n\n</think>\n\nSince May.<|im_end|>"],
    ),
    "messages after the last answer are left out": ("SmolLM2", [USER, ANSWER, USER_2], ["Here.<|im_end|>"]),
    "two answers in a row are both learned": (
        "SmolLM2",
        [USER, ANSWER, ANSWER_2],
        ["Here.<|im_end|>", "Since May.<|im_end|>"],
    ),
    "an answer that repeats the question is found in the right place": (
        "Qwen 3",
        [{**USER, "content": "Here."}, ANSWER, {**USER_2, "content": "Here."}, ANSWER],
        [[f"{EMPTY}Here.<|im_end|>"], [f"{EMPTY}Here.<|im_end|>"]],
    ),
    "text with a token of the template is learned whole": (
        "SmolLM2",
        [USER, {**ANSWER, "content": "Say <|im_end|> twice."}],
        ["Say <|im_end|> twice.<|im_end|>"],
    ),
    "umlauts and emoji, of several bytes each, are learned whole": (
        "Llama 3",
        [{**USER, "content": "Größe? 🦜"}, {**ANSWER, "content": "Über 1 m 🦜"}],
        ["Über 1 m 🦜<|eot_id|>"],
    ),
}


@pytest.mark.parametrize("case", TRAINED)
def test_what_is_trained_on(case: str) -> None:
    family, messages, expected = TRAINED[case]
    assert trained(tokenizer_for(family), messages) == expected


WITH_TOOLS: dict[str, Any] = {
    "Llama 3.1": ['{"name": "look_up", "parameters": {"city": "Oslo"}}<|eot_id|>', "Here.<|eot_id|>"],
    "Qwen 2.5": [
        '<tool_call>\n{"name": "look_up", "arguments": {"city": "Oslo"}}\n</tool_call><|im_end|>',
        "Here.<|im_end|>",
    ],
    "Qwen 3": [
        [EMPTY + '<tool_call>\n{"name": "look_up", "arguments": {"city": "Oslo"}}\n</tool_call><|im_end|>'],
        [f"{EMPTY}Here.<|im_end|>"],
    ],
}


@pytest.mark.parametrize("family", WITH_TOOLS)
def test_tool_calls_are_trained_on_with_arguments_as_objects_and_results_are_not(family: str) -> None:
    assert trained(tokenizer_for(family), [USER, CALLED, RESULT, ANSWER], [TOOL]) == WITH_TOOLS[family]


@pytest.mark.parametrize("family", ["Llama 3.1", "Qwen 2.5", "Qwen 3"])
@pytest.mark.parametrize("result", ["", "  two\n lines ", '{"rain": "\u00e4 "heavy""}', "look_up"])
def test_any_tool_result_is_context(family: str, result: str) -> None:
    messages = [USER, CALLED, {**RESULT, "content": result}, ANSWER]
    assert trained(tokenizer_for(family), messages, [TOOL]) == WITH_TOOLS[family]


REFUSED: dict[str, tuple[str, list[dict[str, Any]], list[dict[str, Any]] | None, str]] = {
    "reasoning that the template does not know": (
        "SmolLM2",
        [USER, REASONED],
        None,
        "reasoning_dropped: The model's chat template drops the reasoning of message 2. Remove the "
        "reasoning, or set the message's weight to 0.",
    ),
    "tools that the template does not know": (
        "Llama 3",
        [USER, ANSWER],
        [TOOL],
        "template_drops: The model's chat template drops the row's tools: use a model that knows tools.",
    ),
    "a tool call that the template does not know": (
        "SmolLM2",
        [USER, CALLED, RESULT, ANSWER],
        None,
        "template_drops: The model's chat template drops the tool calls of message 2.",
    ),
    "a tool call beside text that the template drops": (
        "SmolLM2",
        [USER, {**CALLED, "content": "I look."}, RESULT, ANSWER],
        None,
        "template_drops: The model's chat template drops the tool calls of message 2.",
    ),
    "a tool call beside text that names the function": (
        "SmolLM2",
        [USER, {**CALLED, "content": "I will call look_up for Oslo."}, RESULT, ANSWER],
        None,
        "template_drops: The model's chat template drops the tool calls of message 2.",
    ),
    "tools of which one is called like a word of the question": (
        "Llama 3",
        [{**USER, "content": "search for Oslo"}, ANSWER],
        [{"type": "function", "function": {"name": "search"}}],
        "template_drops: The model's chat template drops the row's tools: use a model that knows tools.",
    ),
    "a tool result that the template does not know, though the answer repeats it": (
        "Phi 3",
        [USER, {**ANSWER, "content": "I look."}, RESULT, {**ANSWER, "content": "There is rain."}],
        None,
        "template_drops: The model's chat template drops or changes message 3 (tool).",
    ),
    "a system message that the template refuses": (
        "Gemma",
        [{"role": "system", "content": "Be brief."}, USER, ANSWER],
        None,
        "template_refuses: The model's chat template refuses the row: System role not supported",
    ),
    "roles that do not alternate": (
        "Mistral",
        [USER, USER_2, ANSWER],
        None,
        "template_refuses: The model's chat template refuses the row: Conversation roles must alternate "
        "user/assistant/user/assistant/...",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_template_would_drop_is_an_error(case: str) -> None:
    family, messages, tools, message = REFUSED[case]
    assert refused(family, messages, tools).startswith(message)


DROPS_SYSTEM = (
    "{% for m in messages if m.role != 'system' %}{{ '<|user|>' if m.role == 'user' else '<|assistant|>' }}"
    "{{ m.content }}<|end|>{% endfor %}"
)
SHOUTS = (
    "{% for m in messages %}<|{{ m.role }}|>"
    "{{ m.content | upper if m.role == 'assistant' else m.content }}<|end|>{% endfor %}"
)
FIRST_CALL = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% if m.tool_calls %}<call>{{ m.tool_calls[0].function | tojson }}{% endif %}<|end|>{% endfor %}"
)
NO_ARGUMENTS = FIRST_CALL.replace("function | tojson", "function.name")
DROPS_RESULTS = FIRST_CALL.replace("{{ m.content }}", "{{ m.content if m.role != 'tool' }}")
OTHER_PROMPT = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>Sure: {% endif %}"
)
LAST_ONLY = (
    "{% for m in messages %}{% if m.role == 'user' or loop.last %}<|{{ m.role }}|>{{ m.content }}<|end|>"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.mark.parametrize(
    ("template", "messages", "message"),
    [
        (
            DROPS_SYSTEM,
            [{"role": "system", "content": "Be brief."}, USER, ANSWER],
            "drops or changes message 1",
        ),
        (
            LAST_ONLY,
            [{**USER, "content": "Here."}, {**ANSWER, "weight": 0}, USER_2, ANSWER_2],
            r"drops or changes message 2 \(assistant\)",
        ),
        (
            FIRST_CALL,
            [USER, {**CALLED, "tool_calls": [CALL, CALL]}, RESULT, RESULT, ANSWER],
            "drops the tool calls of message 2",
        ),
        (
            NO_ARGUMENTS,
            [USER, {**CALLED, "weight": 0}, {**RESULT, "content": "Oslo: rain"}, ANSWER],
            "drops arguments of the tool calls of message 2",
        ),
        (SHOUTS, [USER, ANSWER], "drops or changes the content of message 2"),
        (OTHER_PROMPT, [USER, ANSWER], "writes message 2 otherwise than its prompt for it begins"),
    ],
    ids=[
        "a dropped system message",
        "a dropped answer of weight 0",
        "the second of two calls of a function",
        "arguments of a call that repeats in its result",
        "an answer in capitals",
        "an answer after another prompt than the server's",
    ],
)
def test_template_that_changes_what_is_said_is_refused(
    template: str, messages: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(Findings, match=message):
        tokenised(tiny_tokenizer(chat_template=template), conversation(messages))


@pytest.mark.parametrize(
    ("template", "messages", "message"),
    [
        (SHOUTS, [USER, ANSWER], "the content of message 2."),
        (OTHER_PROMPT, [USER, ANSWER], "writes message 2 "),
        (FIRST_CALL, [USER, {**CALLED, "tool_calls": [CALL, CALL]}, ANSWER], "the tool calls of message 2."),
        (DROPS_RESULTS, [USER, CALLED, RESULT, ANSWER], "message 3 (tool)."),
        (CHATML, [USER, REASONED], "the reasoning of message 2. "),
    ],
    ids=["content", "prompt", "calls", "results", "reasoning"],
)
def test_messages_are_counted_as_the_row_has_them_without_the_system_prompt_of_the_job(
    template: str, messages: list[dict[str, Any]], message: str
) -> None:
    row = conversation(messages).with_system_prompt("Be brief.")
    with pytest.raises(Findings) as caught:
        tokenised(tiny_tokenizer(chat_template=template), row)
    assert message in caught.value.findings[0].message


NO_SYSTEM_ROLE = (
    "The model's chat template takes no system message as dataset.systemPrompt adds it: remove "
    "dataset.systemPrompt, write it into the user messages, or use a model that knows system messages."
)


@pytest.mark.parametrize("template", [stored_template("gemma"), MISTRAL, DROPS_SYSTEM])
def test_template_without_a_system_role_blames_the_system_prompt_of_the_job_and_no_row(template: str) -> None:
    tokenizer = tiny_tokenizer(chat_template=template, bos="<s>", eos="</s>")
    row = conversation([USER, ANSWER]).with_system_prompt("Be brief.")
    with pytest.raises(DataInvalid) as caught:
        list(tokeniser_of(tokenizer).rows([(1, row), (2, row)], file=""))
    assert caught.value.message == NO_SYSTEM_ROLE


def test_row_that_the_template_refuses_is_blamed_with_a_system_prompt_of_the_job_too() -> None:
    row = conversation([USER, USER_2, ANSWER]).with_system_prompt("Be brief.")
    with pytest.raises(Findings, match="must alternate"):
        tokenised(tokenizer_for("Mistral"), row)


def test_generation_markers_change_nothing_as_the_server_knows_none() -> None:
    marked = CHATML.replace(
        "message['content']", "'' }}{% generation %}{{ message['content'] }}{% endgeneration %}{{ ''"
    )
    messages = [USER, {**ANSWER, "weight": 0}, USER_2, ANSWER_2]
    assert trained(tiny_tokenizer(chat_template=marked), messages) == ["Since May.<|im_end|>"]


PLAIN = (
    "{% for m in messages %}<|{{ m.role }}|>"
    "{% if m.content is string %}{{ m.content }}"
    "{% else %}{% for part in m.content %}[{{ part.text }}]{% endfor %}{% endif %}"
    "<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
KNOWS_DEVELOPERS = PLAIN + "{# 'developer' #}"
WANTS_PARTS = PLAIN.replace("m.content is string", "m.content is string and m.role != 'user'")
SYSTEM = {"role": "system", "content": "Be brief."}
DEVELOPER = {"role": "developer", "content": "Be kind."}
IN_PARTS = {"role": "user", "content": [{"type": "text", "text": text} for text in ("Where ", "is it?")]}


def asked(template: str, messages: list[dict[str, Any]]) -> list[str]:
    """What the last turn's text has before it, for each text of the row."""
    tokenizer = tiny_tokenizer(chat_template=template, bos="<s>", eos="</s>")
    return [
        tokenizer.decode(example.input_ids[: np.flatnonzero(example.labels != IGNORED)[0]])
        for example in tokenised(tokenizer, conversation(messages))
    ]


@pytest.mark.parametrize(
    ("template", "messages", "prompts"),
    [
        (
            PLAIN,
            [DEVELOPER, USER, ANSWER],
            ["<|system|>Be kind.<|end|><|user|>Where is it?<|end|><|assistant|>"],
        ),
        (
            PLAIN,
            [SYSTEM, USER, {**ANSWER, "weight": 0}, DEVELOPER, USER_2, ANSWER_2],
            [
                "<|system|>Be brief.\n\nBe kind.<|end|><|user|>Where is it?<|end|><|assistant|>Here.<|end|>"
                "<|user|>Since when?<|end|><|assistant|>"
            ],
        ),
        (
            PLAIN,  # what a later developer says stands in front of a turn before it only then
            [USER, ANSWER, DEVELOPER, USER_2, ANSWER_2],
            [
                "<|user|>Where is it?<|end|><|assistant|>",
                "<|system|>Be kind.<|end|><|user|>Where is it?<|end|><|assistant|>Here.<|end|>"
                "<|user|>Since when?<|end|><|assistant|>",
            ],
        ),
        (
            KNOWS_DEVELOPERS,
            [SYSTEM, DEVELOPER, USER, ANSWER],
            [
                "<|system|>Be brief.<|end|><|developer|>Be kind.<|end|>"
                "<|user|>Where is it?<|end|><|assistant|>"
            ],
        ),
        (
            WANTS_PARTS,
            [SYSTEM, {**IN_PARTS, "role": "developer"}, USER, ANSWER],
            ["<|system|>Be brief.\n\nWhere \nis it?<|end|><|user|>[Where is it?]<|end|><|assistant|>"],
        ),
        (PLAIN, [IN_PARTS, ANSWER], ["<|user|>Where \nis it?<|end|><|assistant|>"]),
        (WANTS_PARTS, [IN_PARTS, ANSWER], ["<|user|>[Where ][is it?]<|end|><|assistant|>"]),
    ],
    ids=[
        "a developer",
        "developers beside a system message",
        "a later developer",
        "a template that knows developers",
        "a developer in parts",
        "parts become lines",
        "a template that wants parts",
    ],
)
def test_instructions_and_parts_are_written_as_the_server_writes_them(
    template: str, messages: list[dict[str, Any]], prompts: list[str]
) -> None:
    assert asked(template, messages) == prompts


def test_turn_of_which_history_keeps_nothing_is_learned_by_itself() -> None:
    tokenizer = tiny_tokenizer(chat_template=LAST_ONLY)
    assert trained(tokenizer, [USER, ANSWER, USER_2, ANSWER_2]) == [["Here.<|end|>"], ["Since May.<|end|>"]]


TEXT = st.text(min_size=1, max_size=12).filter(lambda text: text == text.strip() and "think>" not in text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(
    turns=st.lists(st.tuples(TEXT, TEXT, st.booleans()), min_size=1, max_size=4),
    family=st.sampled_from(FAMILY_ENDS),
)
def test_any_text_is_learned_exactly_where_the_assistant_says_it(
    turns: list[tuple[str, str, bool]], family: tuple[str, str]
) -> None:
    name, end = family
    messages: list[dict[str, Any]] = []
    for question, answer, learned in turns:
        messages += [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer, "weight": int(learned)},
        ]
    expected = [f"{answer}{end}" for _, answer, learned in turns if learned]
    if expected:
        found = tokenised(tokenizer_for(name), conversation(messages))
        texts = [text for example in found for text in runs(tokenizer_for(name), example)]
        assert [text.removeprefix(EMPTY) for text in texts] == expected


def test_date_in_a_template_is_fixed_so_that_tomorrow_gives_the_same_tokens() -> None:
    tokenizer = tiny_tokenizer(chat_template="{{ strftime_now('%d %b %Y') }}|" + CHATML)
    (example,) = tokenised(tokenizer, conversation([USER, ANSWER]))
    assert tokenizer.decode(example.input_ids).startswith("26 Jul 2024|")


def sentencepiece_like(chat_template: str) -> Any:
    """A tokenizer that writes spaces as a mark and puts one in front of the text, as Llama 2's does."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", *"abcdefghijklmnopqrstuvwxyz.?S", "\u2581"]
    merges = [("\u2581", "H"), ("e", "r")]
    words += ["H", "\u2581H", "er", "\n"]
    tokenizer = Tokenizer(models.BPE(vocab={word: index for index, word in enumerate(words)}, merges=merges))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in ("<s>", "</s>")])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    fast.chat_template = chat_template
    return fast


def test_tokens_that_take_a_space_with_them_are_learned_from_the_first_letter() -> None:
    # The token that holds the space before the answer holds the answer's first letter too, and is learned.
    template = (
        "{% for m in messages %}{% if m.role == 'user' %}{{ 'q ' + m.content + ' a' }}"
        "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
    )
    messages = [{"role": "user", "content": "where?"}, {"role": "assistant", "content": "Here."}]
    assert trained(sentencepiece_like(template), messages) == [" Here.</s>"]
    messages += [{"role": "user", "content": "since?"}, {"role": "assistant", "content": "Sure."}]
    assert trained(sentencepiece_like(template), messages) == [" Here.</s>", " Sure.</s>"]


def rows(
    *examples: Conversation | Plain,
    template: str | None = CHATML,
    max_length: int = 4096,
    on_too_long: Any = "Truncate",
) -> list[TokenRow | Dropped | BadRow]:
    tokenizer = tiny_tokenizer(chat_template=template)
    tokeniser = tokeniser_of(tokenizer, max_length=max_length, on_too_long=on_too_long)
    return list(tokeniser.rows(list(enumerate(examples, start=1)), file=""))


def test_prompt_is_ignored_and_completion_and_end_are_trained_on_without_a_template() -> None:
    (row,) = rows(Plain(prompt="ab", completion="cd"), template=None)
    assert isinstance(row, TokenRow)
    end = tiny_tokenizer().eos_token_id
    assert len(row.input_ids) == 5
    assert row.input_ids[-1] == end
    assert row.labels.tolist() == [IGNORED, IGNORED, *row.input_ids[2:].tolist()]


def test_every_token_of_a_text_is_trained_on_and_the_end_is_added_once() -> None:
    plain, ended = rows(Plain(prompt="", completion="ab"), Plain(prompt="", completion="ab<|im_end|>"))
    assert isinstance(plain, TokenRow)
    assert isinstance(ended, TokenRow)
    assert (
        plain.labels.tolist() == plain.input_ids.tolist() == ended.input_ids.tolist() == ended.labels.tolist()
    )
    assert len(plain.input_ids) == 3


def test_tokenizer_without_an_end_token_is_refused() -> None:
    tokenizer = tiny_tokenizer(chat_template=None)
    tokenizer.eos_token = None
    with pytest.raises(ModelUnavailable, match="no end-of-sequence token"):
        list(tokeniser_of(tokenizer).rows([(1, Plain(prompt="a", completion="b"))], file=""))


# <|user|> q <|end|> <|assistant|> a b c d <|end|>: nine tokens, of which the last five are trained on.
NINE = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "abcd"}]


def test_row_that_fits_is_learned_whole() -> None:
    (row,) = rows(conversation(NINE), template=SHORT, max_length=9)
    assert isinstance(row, TokenRow)
    assert (row.labels != IGNORED).tolist() == [False] * 4 + [True] * 5
    assert not row.truncated


def test_turn_that_does_not_fit_whole_is_not_learned_and_nothing_after_the_last_that_does_is_kept() -> None:
    more = conversation([*NINE, USER, ANSWER, USER_2, REASONED])  # the template drops the reasoning
    for max_length in (9, 14, 27):
        (row,) = rows(more, template=SHORT, max_length=max_length)
        assert isinstance(row, TokenRow)
        assert (row.labels != IGNORED).tolist() == [False] * 4 + [True] * 5
        assert row.truncated


def test_row_of_which_no_learned_turn_fits_is_left_out() -> None:
    assert rows(conversation(NINE), template=SHORT, max_length=8) == [Dropped(line=1)]


def test_answer_without_a_template_is_learned_whole_or_not_at_all_but_text_may_be_cut() -> None:
    answer, text = Plain(prompt="ab", completion="cd"), Plain(prompt="", completion="abcd")
    assert rows(answer, template=None, max_length=4) == [Dropped(line=1)]
    (row,) = rows(text, template=None, max_length=4)
    assert isinstance(row, TokenRow)
    assert row.truncated
    assert row.labels.tolist() == row.input_ids.tolist()
    assert tiny_tokenizer().decode(row.input_ids) == "abcd"


def test_turns_of_a_row_with_several_texts_fit_each_by_itself() -> None:
    tokenizer = tokenizer_for("Qwen 3")
    row = conversation([USER, {**ANSWER, "reasoning_content": "I see it. " * 30}, USER_2, ANSWER_2])
    lengths = [len(example.input_ids) for example in tokenised(tokenizer, row)]
    assert lengths[0] > lengths[1]
    for on_too_long, expected in (("Truncate", [(lengths[1], True)]), ("Drop", [])):
        found = tokeniser_of(tokenizer, max_length=lengths[1], on_too_long=on_too_long).rows(
            [(1, row)], file=""
        )
        kept = [(len(part.input_ids), part.truncated) for part in found if isinstance(part, TokenRow)]
        assert kept == expected


def byte_pairs() -> Any:
    """A tokenizer with merges, so that what is cut off could change the tokens before it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    words = [f"{a}{b}{c} " for a in ("who", "what", "    ") for b in ("ever", "soever", "aaa") for c in "abc"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        show_progress=False,
        special_tokens=["<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(words * 50, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>")
    fast.chat_template = CHATML
    return fast


LONG = st.builds(
    lambda parts, times: "".join(parts) * times,
    st.lists(
        st.sampled_from(["whosoever ", "what", "aaa", "    ", "\n", "é", "🦜", "<|im_end|>", "x" * 70]),
        min_size=1,
    ),
    st.integers(1, 400),
).filter(str.strip)  # a message of white space alone is refused


@settings(max_examples=80, deadline=None)
@given(
    turns=st.lists(st.tuples(LONG, LONG, st.booleans()), min_size=1, max_size=3),
    max_length=st.integers(20, 300),
    plain=st.booleans(),
)
def test_long_text_gives_the_tokens_and_counts_that_the_whole_text_gives(
    turns: list[tuple[str, str, bool]], max_length: int, plain: bool
) -> None:
    tokenizer = byte_pairs()
    example: Conversation | Plain
    if plain:
        tokenizer.chat_template = None
        example = Plain(prompt=turns[0][0], completion=turns[0][1])
    else:
        messages: list[dict[str, Any]] = []
        for question, answer, learned in turns:
            messages.append({"role": "user", "content": question})
            messages.append({"role": "assistant", "content": answer, "weight": int(learned)})
        messages += [USER, ANSWER]
        example = conversation(messages)

    def row(limit: int) -> Any:
        return next(
            iter(
                tokeniser_of(tokenizer, max_length=limit, on_too_long="Truncate").rows(
                    [(1, example)], file=""
                )
            )
        )

    whole, cut = row(10**9), row(max_length)
    if not isinstance(whole, TokenRow):  # the template's check, of a turn that only it knows to be cut off
        return
    edges = np.flatnonzero(np.diff(np.concatenate(([False], whole.labels != IGNORED, [False]))))
    ends = [int(end) for end in edges[1::2] if plain or end <= max_length]
    kept = min(ends[-1], max_length) if ends else 0
    if (plain and kept < len(whole.input_ids)) or not ends:
        assert cut == Dropped(line=1)
    else:
        assert cut.input_ids.tolist() == whole.input_ids[:kept].tolist()
        assert cut.labels.tolist() == whole.labels[:kept].tolist()
        assert cut.truncated == (kept < len(whole.input_ids))


def test_row_that_is_too_long_is_an_error_when_asked() -> None:
    (bad,) = rows(conversation(NINE), template=SHORT, max_length=4, on_too_long="Fail")
    message = "The row has 9 tokens; dataset.maxLength is 4 and onTooLong is Fail."
    assert bad == BadRow(line=1, kind="too_long", message=message, file="")


def test_row_that_is_too_long_is_dropped_when_asked() -> None:
    short = conversation([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}])
    result = rows(conversation(NINE), short, template=SHORT, max_length=6, on_too_long="Drop")
    assert isinstance(result[0], Dropped)
    assert isinstance(result[1], TokenRow)


def test_slow_tokenizer_is_refused() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(ModelUnavailable, match=r"no tokenizer\.json"):
        Tokeniser(Slow(), None, max_length=1, on_too_long="Drop")
