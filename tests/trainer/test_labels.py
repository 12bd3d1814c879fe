"""Labels: what is trained on, with the chat templates of real model families.

The tokenizer has one token per byte and per special token, so positions can be counted by hand.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubetune_trainer.contract.errors import BadRow, DataInvalid, ModelUnavailable
from kubetune_trainer.data.chat import Conversation, check_messages, check_tools
from kubetune_trainer.data.findings import Findings
from kubetune_trainer.data.formats import Plain
from kubetune_trainer.template.source import chat_source
from kubetune_trainer.template.tokens import IGNORED, Dropped, Tokeniser, TokenRow
from tests.support.chat_templates import CHATML, MISTRAL, stored_template
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


def trained(
    tokenizer: Any, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None
) -> list[str]:
    """The trained runs of text, decoded from tokens, as training sees them."""
    tokeniser = Tokeniser(tokenizer, max_length=4096, on_too_long="Fail")
    (row,) = tokeniser.rows([(1, conversation(messages, tools))], file="")
    assert isinstance(row, TokenRow), row
    assert [label for label in row.labels if label != IGNORED] == [
        token for token, label in zip(row.input_ids, row.labels, strict=True) if label != IGNORED
    ]
    runs: list[list[int]] = [[]]
    for label in row.labels:
        if label != IGNORED:
            runs[-1].append(label)
        elif runs[-1]:
            runs.append([])
    return [tokenizer.decode(run) for run in runs if run]


def spans_of(tokenizer: Any, row: Conversation) -> tuple[str, list[Span]]:
    template = ChatTemplate(tokenizer)
    rendered = template.rendered(row)
    return rendered.text, template.assistant_spans(rendered)


def refused(family: str, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None) -> str:
    with pytest.raises(Findings) as caught:
        spans_of(tokenizer_for(family), conversation(messages, tools))
    return f"{caught.value.findings[0].kind}: {caught.value.findings[0].message}"


TRAINED: dict[str, tuple[str, list[dict[str, Any]], list[str]]] = {
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
    "Phi 3, which ends the conversation with one more token, learns the end of each turn": (
        "Phi 3",
        [USER, ANSWER, USER_2, ANSWER_2],
        ["Here.<|end|>", "Since May.<|end|>\n<|endoftext|>"],
    ),
    "Qwen 3, which adds an empty thought to the last turn only, learns both turns as they stand": (
        "Qwen 3",
        [USER, ANSWER, USER_2, ANSWER_2],
        ["Here.<|im_end|>", "<think>\n\n</think>\n\nSince May.<|im_end|>"],
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
    "messages after the last answer are context": ("SmolLM2", [USER, ANSWER, USER_2], ["Here.<|im_end|>"]),
    "an answer may come first": (
        "SmolLM2",
        [ANSWER, USER_2, ANSWER_2],
        ["Here.<|im_end|>", "Since May.<|im_end|>"],
    ),
    "two answers in a row are both learned": (
        "SmolLM2",
        [USER, ANSWER, ANSWER_2],
        ["Here.<|im_end|>", "Since May.<|im_end|>"],
    ),
    "an answer that repeats the question is found in the right place": (
        "Qwen 3",
        [{**USER, "content": "Here."}, ANSWER, {**USER_2, "content": "Here."}, ANSWER],
        ["Here.<|im_end|>", "<think>\n\n</think>\n\nHere.<|im_end|>"],
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


WITH_TOOLS = {
    "Llama 3.1": ['{"name": "look_up", "parameters": {"city": "Oslo"}}<|eot_id|>', "Here.<|eot_id|>"],
    "Qwen 2.5": [
        '<tool_call>\n{"name": "look_up", "arguments": {"city": "Oslo"}}\n</tool_call><|im_end|>',
        "Here.<|im_end|>",
    ],
    "Qwen 3": [
        '<tool_call>\n{"name": "look_up", "arguments": {"city": "Oslo"}}\n</tool_call><|im_end|>',
        "<think>\n\n</think>\n\nHere.<|im_end|>",
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
        "reasoning, set the message's weight to 0, or end the conversation with it.",
    ),
    "reasoning that the template drops from earlier turns": (
        "Qwen 3",
        [USER, REASONED, USER_2, ANSWER_2],
        None,
        "reasoning_dropped: The model's chat template drops the reasoning of message 2.",
    ),
    "inline reasoning that the template drops from earlier turns": (
        "Qwen 3",
        [USER, INLINE, USER_2, ANSWER_2],
        None,
        "reasoning_dropped: The model's chat template drops the reasoning of message 2.",
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
        "template_refuses: The model's chat template refuses the row: 'dict object' has no attribute "
        "'content' (it may not know tools)",
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
MARKS_CONTENT = (
    "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }}{% endgeneration %}"
    "{% for call in m.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}"
    "{% else %}{{ m.content }}{% endif %}<|end|>{% endfor %}"
)
DROPS_RESULTS = FIRST_CALL.replace("{{ m.content }}", "{{ m.content if m.role != 'tool' }}")
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
        (
            MARKS_CONTENT,
            [USER, {**CALLED, "content": "I will call look_up for Oslo."}, RESULT, ANSWER],
            "drops the tool calls of message 2",
        ),
        (SHOUTS, [USER, ANSWER], "drops or changes the content of message 2"),
        (LAST_ONLY, [USER, ANSWER, USER_2, ANSWER_2], "rewrites message 2"),
    ],
    ids=[
        "a dropped system message",
        "a dropped answer of weight 0",
        "the second of two calls of a function",
        "arguments of a call that repeats in its result",
        "a call that the template writes but does not mark as learned",
        "an answer in capitals",
        "an answer that is missing from history",
    ],
)
def test_template_that_changes_what_is_said_is_refused(
    template: str, messages: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(Findings, match=message):
        spans_of(tiny_tokenizer(chat_template=template), conversation(messages))


@pytest.mark.parametrize(
    ("template", "messages", "message"),
    [
        (SHOUTS, [USER, ANSWER], "the content of message 2."),
        (
            LAST_ONLY.replace("== 'user'", "!= 'assistant'"),
            [USER, ANSWER, USER_2, ANSWER_2],
            "rewrites message 2 ",
        ),
        (FIRST_CALL, [USER, {**CALLED, "tool_calls": [CALL, CALL]}, ANSWER], "the tool calls of message 2."),
        (DROPS_RESULTS, [USER, CALLED, RESULT, ANSWER], "message 3 (tool)."),
        (CHATML, [USER, REASONED], "the reasoning of message 2. "),
    ],
    ids=["content", "history", "calls", "results", "reasoning"],
)
def test_messages_are_counted_as_the_row_has_them_without_the_system_prompt_of_the_job(
    template: str, messages: list[dict[str, Any]], message: str
) -> None:
    row = conversation(messages).with_system_prompt("Be brief.")
    with pytest.raises(Findings) as caught:
        spans_of(tiny_tokenizer(chat_template=template), row)
    assert message in caught.value.findings[0].message


NO_SYSTEM_ROLE = (
    "The model's chat template takes no system message as dataset.systemPrompt adds it: remove "
    "dataset.systemPrompt, write it into the user messages, or use a model that knows system messages."
)


@pytest.mark.parametrize("template", [stored_template("gemma"), MISTRAL, DROPS_SYSTEM])
def test_template_without_a_system_role_blames_the_system_prompt_of_the_job_and_no_row(template: str) -> None:
    tokenizer = tiny_tokenizer(chat_template=template, bos="<s>", eos="</s>")
    tokeniser = Tokeniser(tokenizer, max_length=4096, on_too_long="Fail")
    row = conversation([USER, ANSWER]).with_system_prompt("Be brief.")
    with pytest.raises(DataInvalid) as caught:
        tokeniser.rows([(1, row), (2, row)], file="")
    assert caught.value.message == NO_SYSTEM_ROLE


def test_row_that_the_template_refuses_is_blamed_with_a_system_prompt_of_the_job_too() -> None:
    row = conversation([USER, CALLED]).with_system_prompt("Be brief.")
    with pytest.raises(Findings, match="refuses the row"):
        spans_of(tokenizer_for("SmolLM2"), row)


MARKED = (
    "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }}{% endgeneration %}<|im_end|>{% else %}{{ m.content }}{% endif %}"
    "{% endfor %}"
)


def test_generation_markers_are_used_and_the_end_token_after_them_too() -> None:
    tokenizer = tiny_tokenizer(chat_template=MARKED)
    messages = [USER, {**ANSWER, "weight": 0}, USER_2, ANSWER_2]
    assert trained(tokenizer, messages) == ["Since May.<|im_end|>"]


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
        found = trained(tokenizer_for(name), messages)
        assert [text.removeprefix("<think>\n\n</think>\n\n") for text in found] == expected


ORACLES = (
    "cohere", "deepseekv3", "gemma", "gemma3", "glm4moe", "gptoss", "lfm2", "llama3", "phi3",
    "qwen2_5", "qwen3", "qwen3_5_think", "qwen3_8", "qwen3_instruct_2507",
)  # fmt: skip


@pytest.mark.parametrize("family", ORACLES)
def test_turns_found_without_markers_are_those_that_marked_templates_mark(family: str) -> None:
    """trl's variants of these templates carry markers; where both write the same text, so must the turns be.

    What differs is the header: markers may include it, or the opening of a thought that the prompt ends with.
    """
    messages = [USER, ANSWER, USER_2, ANSWER_2]
    plain, marked = stored_template(family), stored_template(f"{family}_training")
    found = []
    for template in (plain, marked):
        tokens = sorted(set(SPECIAL_LIKE.findall(plain)))
        tokenizer = tiny_tokenizer(chat_template=template, bos="<s>", eos="</s>")
        tokenizer.add_special_tokens({"additional_special_tokens": tokens})
        text, spans = spans_of(tokenizer, conversation(messages))
        found.append((text, [text[start:end].strip() for start, end in spans]))
    (text, turns), (marked_text, marked_turns) = found
    for turn, marked_turn, message in zip(turns, marked_turns, (ANSWER, ANSWER_2), strict=True):
        assert message["content"] in turn
        if text == marked_text:
            assert marked_turn.endswith(turn)


def test_date_in_a_template_is_fixed_so_that_tomorrow_gives_the_same_tokens() -> None:
    template = ChatTemplate(tiny_tokenizer(chat_template="{{ strftime_now('%d %b %Y') }}|" + CHATML))
    assert template.rendered(conversation([USER, ANSWER])).text.startswith("26 Jul 2024|")


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
    tokeniser = Tokeniser(
        tiny_tokenizer(chat_template=template), max_length=max_length, on_too_long=on_too_long
    )
    return tokeniser.rows(list(enumerate(examples, start=1)), file="")


def test_prompt_is_ignored_and_completion_and_end_are_trained_on_without_a_template() -> None:
    (row,) = rows(Plain(prompt="ab", completion="cd"), template=None)
    assert isinstance(row, TokenRow)
    end = tiny_tokenizer().eos_token_id
    assert len(row.input_ids) == 5
    assert row.input_ids[-1] == end
    assert row.labels == [IGNORED, IGNORED, *row.input_ids[2:]]


def test_every_token_of_a_text_is_trained_on_and_the_end_is_added_once() -> None:
    plain, ended = rows(Plain(prompt="", completion="ab"), Plain(prompt="", completion="ab<|im_end|>"))
    assert isinstance(plain, TokenRow)
    assert isinstance(ended, TokenRow)
    assert plain.labels == plain.input_ids == ended.input_ids == ended.labels
    assert len(plain.input_ids) == 3


def test_tokenizer_without_an_end_token_is_refused() -> None:
    tokenizer = tiny_tokenizer(chat_template=None)
    tokenizer.eos_token = None
    with pytest.raises(ModelUnavailable, match="no end-of-sequence token"):
        Tokeniser(tokenizer, max_length=9, on_too_long="Drop").rows(
            [(1, Plain(prompt="a", completion="b"))], file=""
        )


# <|user|> q <|end|> <|assistant|> a b c d <|end|>: nine tokens, of which the last five are trained on.
SHORT = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
NINE = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "abcd"}]


@pytest.mark.parametrize(
    ("max_length", "learned", "truncated"), [(9, 5, False), (8, 4, True), (5, 1, True)], ids=str
)
def test_long_row_is_cut_at_the_end_and_counted(max_length: int, learned: int, truncated: bool) -> None:
    (row,) = rows(conversation(NINE), template=SHORT, max_length=max_length)
    assert isinstance(row, TokenRow)
    assert len(row.input_ids) == max_length
    assert sum(label != IGNORED for label in row.labels) == learned
    assert (row.truncated, row.answer_cut) == (truncated, truncated)


def test_turns_behind_the_cut_are_not_looked_for_but_counted() -> None:
    behind = [*NINE, USER, REASONED, USER_2, ANSWER_2]  # the template drops the reasoning
    (row,) = rows(conversation(behind), template=SHORT, max_length=12)
    assert isinstance(row, TokenRow)
    assert sum(label != IGNORED for label in row.labels) == 5
    assert (row.truncated, row.answer_cut) == (True, True)


def test_cutting_behind_the_answer_loses_nothing_of_it() -> None:
    (row,) = rows(conversation([*NINE, USER]), template=SHORT, max_length=9)
    assert isinstance(row, TokenRow)
    assert (row.truncated, row.answer_cut) == (True, False)


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
)


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
        tokeniser = Tokeniser(tokenizer, max_length=limit, on_too_long="Truncate")
        return tokeniser.rows([(1, example)], file="")[0]

    whole, cut = row(10**9), row(max_length)
    if not isinstance(whole, TokenRow):  # the template's check, of a turn that only it knows to be cut off
        return
    labels = whole.labels[:max_length]
    if all(label == IGNORED for label in labels[1:]):
        assert isinstance(cut, BadRow)
        assert cut.kind == "nothing_to_train"
    else:
        assert cut == TokenRow(
            line=1,
            input_ids=whole.input_ids[:max_length],
            labels=labels,
            truncated=len(whole.input_ids) > max_length,
            answer_cut=any(label != IGNORED for label in whole.labels[max_length:]),
        )


@pytest.mark.parametrize(
    ("on_too_long", "kind", "message"),
    [
        (
            "Truncate",
            "nothing_to_train",
            "The first 4 tokens (dataset.maxLength) of the row hold nothing of the answer: raise maxLength",
        ),
        ("Fail", "too_long", "The row has 9 tokens; dataset.maxLength is 4 and onTooLong is Fail."),
    ],
)
def test_row_that_cannot_be_used_is_reported_with_its_line(on_too_long: str, kind: str, message: str) -> None:
    (bad,) = rows(conversation(NINE), template=SHORT, max_length=4, on_too_long=on_too_long)
    assert isinstance(bad, BadRow)
    assert (bad.line, bad.kind) == (1, kind)
    assert bad.message.startswith(message)


def test_row_that_is_too_long_is_dropped_when_asked() -> None:
    short = conversation([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}])
    result = rows(conversation(NINE), short, template=SHORT, max_length=6, on_too_long="Drop")
    assert isinstance(result[0], Dropped)
    assert isinstance(result[1], TokenRow)


def test_slow_tokenizer_is_refused() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(ModelUnavailable, match=r"no tokenizer\.json"):
        Tokeniser(Slow(), max_length=1, on_too_long="Drop")
