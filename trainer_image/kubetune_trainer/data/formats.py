"""Recognises the format of a row and brings it into one of two shapes: a Conversation or a Plain text.

The format is decided once per file, by ``dataset.format`` or the first row. Rows of another are errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..contract.config import DatasetConfig
from ..contract.errors import DataInvalid, InvalidInput, name_list
from .cells import structured
from .chat import INSTRUCTS, Conversation, check_messages
from .columns import (
    KNOWN,
    REQUIRED,
    STANDARD,
    Format,
    format_of,
    may_matter,
    require_readable,
    require_sft,
    unread,
)
from .files import kind_of_name
from .findings import Finding, Findings
from .json_text import kind_of, without_nulls
from .row import Row
from .sharegpt import are_turns, as_messages
from .tool_results import in_order_of_calls
from .tools import check_tools


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

    def __init__(
        self, config: DatasetConfig, *, name: str, has_template: bool, field: str = "dataset"
    ) -> None:
        """``field`` of the job has ``columns``; messages name it."""
        if unknown := sorted(set(config.columns) - STANDARD):
            raise InvalidInput(
                f"{field}.columns maps {unknown[0]!r}, which is no standard name; these are "
                f"{', '.join(sorted(STANDARD))}."
            )
        self._columns = config.columns
        self._field = field
        self.columns = KNOWN | set(config.columns.values())
        """Columns of the file that are looked at."""
        self._system_prompt = config.system_prompt
        self._name = name
        kind = kind_of_name(name)
        self._has_cells = kind is not None and kind.form in ("csv", "parquet")
        self._has_template = has_template
        self.format: Format | None = None if config.format == "Auto" else config.format
        self._detected = self.format is None
        if self.format is None:
            self.format = format_of(dict.fromkeys(config.columns, ""))
        self._checked = False
        self.unread: set[str] = set()
        """Names of columns with values that no row was made from."""

    def read(self, row: Row) -> Example:
        """Check a row and bring it into its shape.

        Raises:
            Findings: the row cannot be used.
            DataInvalid: the file cannot.
        """
        columns = self._renamed(without_nulls(row.columns))
        if self.format is None:
            require_sft(columns, self._name)
            self.format = format_of(self._with_values(columns)) or format_of(columns)
            if self.format is None:
                raise Findings([Finding("missing_messages_list", _no_format(columns, self._field))])
        self._check_model(self.format)
        self._require_columns(columns, self.format)
        columns = {
            key: structured(key, value, called=self._called(key), has_cells=self._has_cells)
            for key, value in columns.items()
        }
        require_readable(columns, self.format)
        self.unread |= unread(self._with_values(columns), self.format)
        match self.format:
            case "Chat":
                return self._chat(columns, "messages")
            case "ShareGPT":
                return self._chat(columns, "conversations")
            case "PromptCompletion":
                return self._prompt_completion(columns)
            case "Alpaca":
                return self._alpaca(columns)
            case "Text":
                return Plain(prompt="", completion=self._string(columns, "text"))

    def warnings(self) -> list[str]:
        """What users should know about columns of the file that were not read."""
        names = may_matter(self.unread)
        if not names or self.format is None:
            return []
        return [
            f"{self._name} has {name_list(names)} beside {' and '.join(REQUIRED[self.format])}: not read, "
            f"though it may be part of what the model is told. Map it in {self._field}.columns, or remove it."
        ]

    def _check_model(self, kind: Format) -> None:
        if self._checked:
            return
        self._checked = True
        if kind == "Text" and self._system_prompt is not None:
            raise DataInvalid(
                "dataset.systemPrompt belongs to conversations; the rows are plain text: remove it."
            )
        if self._has_template:
            return
        if kind in ("Chat", "ShareGPT", "Alpaca"):
            what = "instructions" if kind == "Alpaca" else "chat messages"
            raise DataInvalid(
                f"{self._name} has {what}, but the model has no chat template: use the instruct "
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

    def _with_values(self, columns: dict[str, Any]) -> dict[str, Any]:
        """Columns that say something: of files with cells, an empty one is absent."""
        if not self._has_cells:
            return columns
        return {key: value for key, value in columns.items() if value not in ("", [])}

    def _require_columns(self, columns: dict[str, Any], kind: Format) -> None:
        missing = next((key for key in REQUIRED[kind] if key not in columns), None)
        if missing is None:
            return
        other = format_of(columns)
        if other and self._detected:
            message = f"The row is {other}, but earlier rows of the file are {kind}: use one format per file."
            raise Findings([Finding("mixed_format", message)])
        found = "missing_messages_list" if missing in ("messages", "conversations") else "missing_column"
        raise Findings([Finding(found, self._missing(missing, columns))])

    def _chat(self, columns: dict[str, Any], key: str) -> Conversation:
        value = columns[key]
        if key == "conversations" or are_turns(value):
            value = as_messages(value)
        return self._finished(check_messages(value, where=key), columns)

    def _alpaca(self, columns: dict[str, Any]) -> Conversation:
        said, answer = self._string(columns, "instruction"), self._string(columns, "output")
        if "input" in columns and (more := self._string(columns, "input", blank=True)).strip():
            said = f"{said}\n\n{more}"
        messages = [*_as_messages(said, "user"), *_as_messages(answer, "assistant")]
        return self._finished(check_messages(messages, where="messages"), columns)

    def _prompt_completion(self, columns: dict[str, Any]) -> Example:
        prompt, completion = columns["prompt"], columns["completion"]
        for key, value in (("prompt", prompt), ("completion", completion)):
            if not isinstance(value, list):
                self._string(columns, key)
        if not self._has_template:
            if isinstance(prompt, list) or isinstance(completion, list):
                raise Findings([Finding("data_type", "Message lists need a model with a chat template.")])
            if self._with_values(columns).keys() & {"system", "tools", "functions"}:
                message = "system and tools need a model with a chat template: remove the columns."
                raise Findings([Finding("unsupported_column", message)])
            return Plain(prompt=prompt, completion=completion)
        before = check_messages(_as_messages(prompt, "user"), where="prompt", needs_assistant=False)
        after = check_messages(_as_messages(completion, "assistant"), where="completion")
        joined = Conversation(
            messages=before.messages + after.messages,
            trained=(False,) * len(before.messages) + after.trained,
        )
        return self._finished(joined, columns)

    def _finished(self, conversation: Conversation, columns: dict[str, Any]) -> Conversation:
        """Add the row's system text, its tools, and the job's system prompt."""
        conversation = in_order_of_calls(conversation)
        if "system" in columns and (text := self._string(columns, "system", blank=True)).strip():
            conversation = _with_system(conversation, text)
        tools = check_tools(columns.get("tools"), columns.get("functions"), bare=self.format == "ShareGPT")
        return conversation.with_tools(tools).with_system_prompt(self._system_prompt)

    def _string(self, columns: dict[str, Any], key: str, *, blank: bool = False) -> str:
        value = columns[key]
        if not isinstance(value, str):
            raise Findings([Finding("data_type", f"{self._called(key)} is {kind_of(value)}, not a string.")])
        if not value.strip() and not blank:
            raise Findings([Finding("missing_content", f"{self._called(key)} is empty.")])
        return value

    def _called(self, key: str) -> str:
        own = self._columns.get(key)
        return f"{key} (column {own})" if own else key

    def _missing(self, key: str, columns: dict[str, Any]) -> str:
        if key in self._columns:
            return f"The row has no column {self._columns[key]}, which {self._field}.columns names for {key}."
        return f"The row has no {key}; it has {_keys(columns)}."


def _with_system(conversation: Conversation, text: str) -> Conversation:
    """Put the text of a column in front."""
    own = [message["content"] for message in conversation.messages if message["role"] in INSTRUCTS]
    if own and own[0] != text:
        message = "The row has a column system and a system message, which differ. Keep one of them."
        raise Findings([Finding("conflicting_keys", message)])
    if own:
        return conversation
    return Conversation(
        messages=({"role": "system", "content": text}, *conversation.messages),
        trained=(False, *conversation.trained),
    )


def _no_format(columns: Mapping[str, Any], field: str) -> str:
    return (
        f"The row has {_keys(columns)}; a row has messages, conversations, prompt and completion, "
        f"instruction and output, or text. Other names are mapped in {field}.columns."
    )


def _keys(columns: Iterable[str]) -> str:
    names = sorted(columns)
    shown = ", ".join(name[:40] for name in names[:8]) + (", ..." if len(names) > 8 else "")
    return f"the columns {shown}" if names else "no columns"


def _as_messages(value: Any, role: str) -> Any:
    return [{"role": role, "content": value}] if isinstance(value, str) else value
