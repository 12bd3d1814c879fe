"""Checks chat messages in OpenAI's format and brings them into the form that chat templates expect.

The classes of findings are those of OpenAI's own checks, and a few more for tools and weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from .findings import Finding, Findings
from .json_text import DuplicateKey, decode, is_finite, kind_of

Message = dict[str, Any]

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")
MESSAGE_KEYS = frozenset(
    (
        "role",
        "content",
        "name",
        "weight",
        "refusal",
        "function_call",
        "tool_calls",
        "tool_call_id",
        *REASONING_KEYS,
    )
)
_SAID = ("content", "reasoning_content")
PARTS = "parts"
"""Texts of a message with several, which some templates write one by one; all others get them as lines."""
_GIVEN_IN_PARTS = (
    "system",
    "developer",
    "user",
)  # a model answers in one piece, and vLLM joins what tools say
INSTRUCTS = ("system", "developer")
"""Roles of messages that are nobody's turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Messages as a chat template takes them, and which of them are trained on."""

    messages: tuple[Message, ...]
    trained: tuple[bool, ...]
    """True for assistant messages whose weight is not 0."""
    tools: tuple[dict[str, Any], ...] = ()
    added: int = 0
    """Messages in front that the job adds: the row's own are counted from 1 after them."""

    def number(self, index: int) -> int:
        """How the row counts one of its messages."""
        return index + 1 - self.added

    def without_added(self) -> Conversation:
        """What the row itself says."""
        return replace(
            self, messages=self.messages[self.added :], trained=self.trained[self.added :], added=0
        )

    @property
    def characters(self) -> int:
        """Size of what is said."""
        said = (message[key] for message in self.messages for key in _SAID if key in message)
        return sum(map(len, said))

    def with_tools(self, tools: tuple[dict[str, Any], ...]) -> Conversation:
        """Offer tools to the model."""
        return replace(self, tools=tools) if tools else self

    def with_system_prompt(self, prompt: str | None) -> Conversation:
        """Put the job's system message in front, unless there is one anywhere."""
        if prompt is None or any(message["role"] in INSTRUCTS for message in self.messages):
            return self
        messages = ({"role": "system", "content": prompt}, *self.messages)
        return replace(self, messages=messages, trained=(False, *self.trained), added=1)


def check_messages(value: Any, *, where: str, needs_assistant: bool = True) -> Conversation:
    """Check a list of messages; raises Findings with one finding per class."""
    if not isinstance(value, list) or not value:
        what = "is empty" if value == [] else f"is {kind_of(value)}, not a list"
        raise Findings([Finding("missing_messages_list", f"{where} {what}.")])
    found: dict[str, Finding] = {}
    for number, message in enumerate(value, start=1):
        for finding in _problems(
            message, f"Message {number}" if where == "messages" else f"{where}[{number}]"
        ):
            found.setdefault(finding.kind, finding)
    roles = [message.get("role") if isinstance(message, dict) else None for message in value]
    if needs_assistant and "assistant" not in roles:
        message = "No message has the role assistant, so there is nothing to learn."
        found["example_missing_assistant_message"] = Finding("example_missing_assistant_message", message)
    if found:
        raise Findings(list(found.values()))
    trained = tuple(message["role"] == "assistant" and message.get("weight", 1) != 0 for message in value)
    if needs_assistant and not any(trained):
        raise Findings([Finding("nothing_to_train", "Every assistant message has weight 0.")])
    return Conversation(messages=tuple(_normal(message) for message in value), trained=trained)


def _problems(message: Any, where: str) -> Iterator[Finding]:
    if not isinstance(message, dict):
        yield Finding("data_type", f"{where} is {kind_of(message)}, not an object.")
        return
    if "role" not in message:
        yield Finding("message_missing_key", f"{where} has no role.")
    elif message["role"] not in ROLES:
        role = message["role"]
        shown = repr(role[:40]) if isinstance(role, str) else kind_of(role)
        yield Finding("unrecognized_role", f"{where} has the role {shown}; known are {', '.join(ROLES)}.")
    if unknown := sorted(set(message) - MESSAGE_KEYS):
        yield Finding(
            "message_unrecognized_key", f"{where} has the unknown key {unknown[0][:40]!r}. Remove it."
        )
    calls = message.get("tool_calls") or message.get("function_call")
    if "content" not in message and not calls and not message.get("refusal"):
        yield Finding("message_missing_key", f"{where} has no content.")
    else:
        wrong = not isinstance(message.get("refusal"), str | None)  # which is said below
        may_be_empty = bool(calls) or message.get("role") in _RESULTS or wrong
        yield from _content_problems(message, where, may_be_empty=may_be_empty)
    yield from _weight_problems(message, where)
    yield from _call_problems(message, where)
    for key in ("name", "tool_call_id", "refusal", *REASONING_KEYS):
        if not isinstance(message.get(key), str | None):
            yield Finding("data_type", f"{key} of {_lower(where)} is {kind_of(message[key])}, not a string.")
    yield from _conflicts(message, where)


def _conflicts(message: Message, where: str) -> Iterator[Finding]:
    """Keys of which only one can be learned."""
    reasoning = [key for key in REASONING_KEYS if message.get(key)]
    if any(message[key] != message[reasoning[0]] for key in reasoning):
        keys = " and ".join(reasoning)
        yield Finding("conflicting_keys", f"{where} has {keys}, which differ. Keep one of them.")
    refusal = message.get("refusal")
    if (
        isinstance(refusal, str)
        and refusal
        and message.get("content")
        and _text(message) not in ("", refusal)
    ):
        yield Finding("conflicting_keys", f"{where} has content and a refusal. Keep one of them.")


_RESULTS = ("tool", "function")  # a tool may answer with nothing


def _content_problems(message: Message, where: str, *, may_be_empty: bool) -> Iterator[Finding]:
    content = message.get("content")
    if isinstance(content, list):
        for part in content:
            if not _is_text(part):
                kind = part.get("type") if isinstance(part, dict) else None
                shown = repr(kind[:40]) if isinstance(kind, str) else "unknown"
                text = f"{where} has a content part of type {shown}; only text can be trained on."
                yield Finding("missing_content", text)
                return
    elif content is not None and not isinstance(content, str):
        yield Finding(
            "missing_content", f"The content of {_lower(where)} is {kind_of(content)}, not a string."
        )
        return
    if not _text(message).strip() and not may_be_empty:
        yield Finding("missing_content", f"The content of {_lower(where)} is empty.")


def _is_text(part: Any) -> bool:
    """Whether a part of a message's content is text, or a refusal."""
    kind = part.get("type") if isinstance(part, dict) else None
    return kind in ("text", "refusal") and isinstance(part.get(kind), str)


def _weight_problems(message: Message, where: str) -> Iterator[Finding]:
    if (weight := message.get("weight")) is None:
        return
    if message.get("role") != "assistant":
        yield Finding("invalid_weight", f"{where} has a weight; only assistant messages may have one.")
    elif isinstance(weight, bool) or weight not in (0, 1):
        yield Finding("invalid_weight", f"{where} has a weight other than 0 and 1.")


def _call_problems(message: Message, where: str) -> Iterator[Finding]:
    calls = message.get("tool_calls")
    if calls is not None and not isinstance(calls, list):
        yield Finding("invalid_tool_call", f"tool_calls of {_lower(where)} is {kind_of(calls)}, not a list.")
        return
    functions = [call.get("function", call) if isinstance(call, dict) else None for call in calls or ()]
    if message.get("function_call") is not None:
        functions.append(message["function_call"])
    if functions and message.get("role") not in ("assistant", None):
        yield Finding("invalid_tool_call", f"{where} calls a tool; only assistant messages may.")
    for function in functions:
        if (
            not isinstance(function, dict)
            or not isinstance(function.get("name"), str)
            or not function["name"]
        ):
            yield Finding("invalid_tool_call", f"{where} has a tool call without a function name.")
        elif problem := _argument_problem(function.get("arguments")):
            yield Finding("invalid_tool_call", f"The arguments of a tool call of {_lower(where)} {problem}.")


def _argument_problem(value: Any) -> str | None:
    try:
        arguments = _arguments(value)
    except DuplicateKey as error:
        return f"cannot be used: {error}"
    except (ValueError, RecursionError):
        return "are no JSON object"
    if not isinstance(arguments, dict):
        return "are no JSON object"
    return None if is_finite(arguments) else "have NaN or Infinity, which are no JSON"


def _arguments(value: Any) -> Any:
    """OpenAI writes arguments as a JSON string; templates expect the object."""
    if value in (None, ""):
        return {}
    return decode(value) if isinstance(value, str) else value


def texts(message: Message) -> tuple[str, ...]:
    """What the message says: its parts, or its content."""
    return message.get(PARTS) or (message["content"],)


def _text(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(part[part["type"]] for part in content if _is_text(part))
    refusal = message.get("refusal")
    return content or (refusal if isinstance(refusal, str) else "")


def _normal(message: Message) -> Message:
    """Keys in the form of chat templates: plain text, tool calls with decoded arguments, no weight."""
    role = message["role"]
    normal: Message = {"role": "tool" if role == "function" else role, "content": _text(message)}
    if isinstance(message.get("content"), list) and len(message["content"]) > 1 and role in _GIVEN_IN_PARTS:
        normal[PARTS] = tuple(part[part["type"]] for part in message["content"])
    for key in ("name", "tool_call_id"):
        if message.get(key):
            normal[key] = message[key]
    if reasoning := next((message[key] for key in REASONING_KEYS if message.get(key)), None):
        normal["reasoning_content"] = reasoning
    calls = list(message.get("tool_calls") or ())
    if message.get("function_call"):
        calls.append({"function": message["function_call"]})
    if calls:
        normal["tool_calls"] = [_call(call) for call in calls]
    return normal


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function", call)
    decoded = {"name": function["name"], "arguments": _arguments(function.get("arguments"))}
    identity = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
    return {**identity, "type": "function", "function": decoded}


def _lower(where: str) -> str:
    return where[0].lower() + where[1:]
