"""Recognises the format of a row and brings it into one of two shapes: a Conversation or a Text.

The format is decided once per file, by ``dataset.format`` or the first row. Rows of another are errors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

from ..contract.config import DatasetConfig
from ..contract.errors import DataInvalid, InvalidInput
from .chat import ROLES, Conversation, check_messages, check_tools
from .findings import Finding, Findings
from .rows import Row, kind_of

Format = Literal["Chat", "PromptCompletion", "Text"]

REQUIRED: dict[Format, tuple[str, ...]] = {
    "Chat": ("messages",),
    "PromptCompletion": ("prompt", "completion"),
    "Text": ("text",),
}
"""Standard columns of each format."""

_STANDARD = {"messages", "prompt", "completion", "text", "tools", "functions"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """Text without a chat template: tokens of ``prompt`` are not trained on."""

    prompt: str
    completion: str

    @property
    def characters(self) -> int:
        """Size of the text."""
        return len(self.prompt) + len(self.completion)


Example = Conversation | Plain


class RowReader:
    """Turns the rows of one file into examples."""

    def __init__(self, config: DatasetConfig, *, name: str, has_template: bool) -> None:
        if unknown := sorted(set(config.columns) - _STANDARD):
            raise InvalidInput(
                f"dataset.columns maps {unknown[0]!r}, which is no standard name; these are "
                f"{', '.join(sorted(_STANDARD))}."
            )
        self._columns = config.columns
        self._system_prompt = config.system_prompt
        self._name = name
        self._has_cells = PurePath(name).suffix.lower() != ".jsonl"
        self._has_template = has_template
        self.format: Format | None = None if config.format == "Auto" else config.format
        self._detected = self.format is None
        if self.format is None:
            self.format = _format_of(dict.fromkeys(config.columns, ""))
        self._checked = False

    def read(self, row: Row) -> Example:
        """Check a row and bring it into its shape; raises Findings."""
        columns = self._renamed(row.columns)
        if self.format is None:
            self.format = _format_of(columns)
            if self.format is None:
                raise Findings([Finding("missing_messages_list", _no_format(columns))])
        self._check_model()
        match self.format:
            case "Chat":
                return self._chat(columns)
            case "PromptCompletion":
                return self._prompt_completion(columns)
            case "Text":
                return Plain(prompt="", completion=self._string(columns, "text"))

    def _check_model(self) -> None:
        if self._checked:
            return
        self._checked = True
        if self.format == "Text" and self._system_prompt is not None:
            raise DataInvalid(
                "dataset.systemPrompt belongs to conversations; the rows are plain text: remove it."
            )
        if self._has_template:
            return
        if self.format == "Chat":
            raise DataInvalid(
                f"{self._name} has chat messages, but the model has no chat template: use the instruct "
                "variant of the model, or rows with prompt and completion."
            )
        if self._system_prompt is not None:
            raise DataInvalid(
                "dataset.systemPrompt needs a model with a chat template: remove it, or use another model."
            )

    def _renamed(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        own = set(self._columns.values())
        kept = {key: value for key, value in columns.items() if key not in own}
        return kept | {name: columns[theirs] for name, theirs in self._columns.items() if theirs in columns}

    def _chat(self, columns: dict[str, Any]) -> Conversation:
        if "messages" not in columns:
            other = _format_of(columns)
            if other and self._detected:
                message = (
                    f"The row is {other}, but earlier rows of the file are Chat: use one format per file."
                )
                raise Findings([Finding("mixed_format", message)])
            raise Findings([Finding("missing_messages_list", self._missing("messages", columns))])
        conversation = check_messages(self._cell(columns["messages"]), where="messages")
        return self._finished(conversation, columns)

    def _prompt_completion(self, columns: dict[str, Any]) -> Example:
        if missing := [key for key in ("prompt", "completion") if key not in columns]:
            other = _format_of(columns)
            if other and self._detected:
                message = f"The row is {other}, but earlier rows of the file are PromptCompletion."
                raise Findings([Finding("mixed_format", message)])
            raise Findings([Finding("missing_column", self._missing(missing[0], columns))])
        prompt, completion = self._said(columns["prompt"]), self._said(columns["completion"])
        for key, value in (("prompt", prompt), ("completion", completion)):
            if not isinstance(value, list):
                self._string(columns, key)
        if isinstance(prompt, str) and isinstance(completion, str) and not self._has_template:
            return Plain(prompt=prompt, completion=completion)
        if not self._has_template:
            raise Findings([Finding("data_type", "Message lists need a model with a chat template.")])
        before = check_messages(_as_messages(prompt, "user"), where="prompt", needs_assistant=False)
        after = check_messages(_as_messages(completion, "assistant"), where="completion")
        joined = Conversation(
            messages=before.messages + after.messages,
            trained=(False,) * len(before.messages) + after.trained,
        )
        return self._finished(joined, columns)

    def _finished(self, conversation: Conversation, columns: dict[str, Any]) -> Conversation:
        """Add the row's tools and the job's system prompt."""
        tools, functions = (self._cell(columns.get(key)) for key in ("tools", "functions"))
        return conversation.with_tools(check_tools(tools, functions)).with_system_prompt(self._system_prompt)

    def _cell(self, value: Any) -> Any:
        """A list; CSV and some Parquet files hold it as JSON text, or an empty cell."""
        if not self._has_cells or not isinstance(value, str):
            return value
        if not value.strip():
            return []
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value

    def _said(self, value: Any) -> Any:
        """Text, or a list of messages; text of a cell that is a list of messages is one too."""
        decoded = self._cell(value)
        return decoded if decoded is not value and _are_messages(decoded) else value

    def _string(self, columns: dict[str, Any], key: str) -> str:
        if key not in columns:
            raise Findings([Finding("missing_column", self._missing(key, columns))])
        value = columns[key]
        if not isinstance(value, str):
            raise Findings([Finding("data_type", f"{self._called(key)} is {kind_of(value)}, not a string.")])
        if not value.strip():
            raise Findings([Finding("missing_content", f"{self._called(key)} is empty.")])
        return value

    def _called(self, key: str) -> str:
        own = self._columns.get(key)
        return f"{key} (column {own})" if own else key

    def _missing(self, key: str, columns: dict[str, Any]) -> str:
        if key in self._columns:
            return f"The row has no column {self._columns[key]}, which dataset.columns names for {key}."
        return f"The row has no {key}; it has {_keys(columns)}."


def _format_of(columns: Mapping[str, Any]) -> Format | None:
    return next((name for name, keys in REQUIRED.items() if all(key in columns for key in keys)), None)


def _no_format(columns: Mapping[str, Any]) -> str:
    return (
        f"The row has {_keys(columns)}; a row has messages, or prompt and completion, or text. "
        "Other names are mapped in dataset.columns."
    )


def _keys(columns: Mapping[str, Any]) -> str:
    names = sorted(columns)
    shown = ", ".join(name[:40] for name in names[:8]) + (", ..." if len(names) > 8 else "")
    return f"the columns {shown}" if names else "no columns"


def _are_messages(value: Any) -> bool:
    """Whether decoded text is a list of messages, and not an answer that happens to be JSON."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(item, dict) and item.keys() & _SAYS and item.get("role") in ROLES for item in value
        )
    )


_SAYS = {"content", "tool_calls", "function_call"}


def _as_messages(value: Any, role: str) -> Any:
    return [{"role": role, "content": value}] if isinstance(value, str) else value
