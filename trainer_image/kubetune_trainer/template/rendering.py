"""Renders conversations as the server renders requests: the same template, arguments, and form of messages.

What vLLM 0.32 makes of a request before the template sees it stands in its ``renderers/chat_utils.py``
(``_parse_chat_message_content``, ``_postprocess_messages``), in ``renderers/hf.py``
(``_consolidate_system_messages``) and in ``ChatCompletionToolsParam``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from ..contract.errors import DataInvalid
from ..data.chat import INSTRUCTS, PARTS, Conversation, Message, texts
from ..data.findings import Finding, Findings
from .bounded import SECONDS, bounded_render
from .source import ChatSource

_REFUSES = (
    jinja2.TemplateError,
    TypeError,
    ValueError,
    KeyError,
    AttributeError,
    ArithmeticError,
    IndexError,
)
"""What a template that cannot take a row raises."""


class ChatTemplate:
    """A chat template with its arguments.

    Raises:
        DataInvalid: the template does not end, or takes so long that all rows would not.
    """

    def __init__(
        self,
        source: ChatSource,
        *,
        seconds: float = SECONDS,
        on_average: float = 1.0,
        patience: float = 60.0,
    ) -> None:
        """``seconds`` are for one rendering; all may take ``on_average`` each, beside ``patience``."""
        self._source = source
        self._seconds = seconds
        self._on_average, self._patience = on_average, patience
        self._spent, self._renderings = 0.0, 0
        self._compiled = source.compiled()
        self._knows_developers = any(quoted in source.text for quoted in ('"developer"', "'developer'"))
        self._arguments = {"documents": None, **source.special_tokens, **source.arguments}
        self.arguments_as_text = False
        """Whether the template takes arguments of tool calls as JSON text only; the server gives objects."""

    def render(self, messages: Sequence[Message], tools: Sequence[Any] = (), *, prompt: bool = False) -> str:
        """Text of a conversation; with ``prompt`` it ends where the assistant goes on.

        Raises:
            Findings: the template refuses it.
        """
        served = self.served(messages)
        if not prompt and messages and messages[-1]["role"] == "assistant":
            served[-1] = self.said(messages[-1])
        return self.render_served(served, tools, prompt=prompt)

    def render_served(
        self, messages: Sequence[Message], tools: Sequence[Any] = (), *, prompt: bool = False
    ) -> str:
        """Like ``render``, of messages in the form that ``served`` gives."""
        begun = time.monotonic()
        try:
            return bounded_render(
                self._compiled,
                name=self._source.name,
                seconds=self._seconds,
                messages=self._instructed(messages),
                tools=[server_tool(tool) for tool in tools] or None,
                add_generation_prompt=prompt,
                **self._arguments,
            )
        except _REFUSES as error:
            raise _refused(error, messages, tools) from None
        finally:
            self._spend(time.monotonic() - begun)

    def _spend(self, seconds: float) -> None:
        """Count the time of a rendering: each may be quick enough, and a million of them no more."""
        self._spent += seconds
        self._renderings += 1
        if self._spent > self._patience + self._on_average * self._renderings:
            raise DataInvalid(
                f"{self._source.name} takes {self._spent / self._renderings:.1f} seconds for a conversation, "
                f"over {self._renderings:,} of them: give a simpler one in dataset.chatTemplate."
            )

    def _instructed(self, messages: Sequence[Message]) -> Sequence[Message]:
        """With messages of developers as the server writes them."""
        if not any(message["role"] == "developer" for message in messages):
            return messages
        if self._knows_developers:
            return [
                {**message, "tools": None} if message["role"] == "developer" else message
                for message in messages
            ]
        return _with_one_system_message(messages)

    def whole(self, conversation: Conversation) -> str:
        """Text of a whole conversation.

        Raises:
            Findings: the template refuses it.
            DataInvalid: it takes no system prompt of the job.
        """
        try:
            return self._in_either_form(conversation)
        except Findings:
            if conversation.added:  # if the template takes the row without it, it is not the row's fault
                self.whole(conversation.without_added())
                raise no_system_role() from None
            raise

    def _in_either_form(self, conversation: Conversation) -> str:
        """Text of a conversation; with arguments of calls as JSON text, where the template needs that."""
        try:
            return self.render(conversation.messages, conversation.tools)
        except Findings:
            calls = any("tool_calls" in message for message in conversation.messages)
            if self.arguments_as_text or not calls:
                raise
            self.arguments_as_text = True
            try:
                return self.render(conversation.messages, conversation.tools)
            except Findings:
                self.arguments_as_text = False
            raise

    def said(self, message: Message) -> Message:
        """A message that the model is to write: its reasoning has every name that templates read it by."""
        given = self._message(message)
        return given | {"thinking": message["reasoning_content"]} if "reasoning_content" in message else given

    def served(self, messages: Sequence[Message]) -> list[Message]:
        """Messages as the server hands them to templates."""
        return [self._message(message) for message in messages]

    def _message(self, message: Message) -> Message:
        """The message as the server hands it to templates."""
        given = {key: value for key, value in message.items() if key != PARTS}
        if self._source.content_parts and message["role"] != "tool":
            given["content"] = [{"type": "text", "text": text} for text in texts(message) if text]
        if "reasoning_content" in message:
            given["reasoning"] = message["reasoning_content"]
        if self.arguments_as_text and "tool_calls" in message:
            given["tool_calls"] = [_with_text(call) for call in message["tool_calls"]]
        return given


def server_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool as the server hands it to templates: its keys in its order, null where one is absent."""
    function = tool["function"]
    kept = {key: function.get(key) for key in ("name", "description", "parameters")}
    kept |= {key: function[key] for key in ("strict", "defer_loading") if function.get(key) is not None}
    return {"type": "function", "function": kept}


def _with_one_system_message(messages: Sequence[Message]) -> list[Message]:
    """The messages that instruct as one in front, as the server has it once a developer is among them."""
    own = [message for message in messages if message["role"] in INSTRUCTS]
    others = [message for message in messages if message["role"] not in INSTRUCTS]
    if len(own) == 1 and messages[0] is own[0]:
        return [{**own[0], "role": "system"}, *others]
    said = [
        content if isinstance(content, str) else "\n".join(part["text"] for part in content)
        for content in (message["content"] for message in own)
    ]
    return [{"role": "system", "content": "\n\n".join(filter(None, said))}, *others]


def no_system_role() -> DataInvalid:
    """The job's system prompt is at fault, and so no row."""
    return DataInvalid(
        "The model's chat template takes no system message as dataset.systemPrompt adds it: remove "
        "dataset.systemPrompt, write it into the user messages, or use a model that knows system messages."
    )


def _with_text(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    text = json.dumps(function["arguments"], ensure_ascii=False)
    return {**call, "function": {**function, "arguments": text}}


def _refused(error: Exception, messages: Sequence[Message], tools: Sequence[Any]) -> Findings:
    sentence = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    message = f"The model's chat template refuses the row: {sentence}"
    if tools or any("tool_calls" in message for message in messages):
        message += " (it may not know tools)"
    return Findings([Finding("template_refuses", message)])
