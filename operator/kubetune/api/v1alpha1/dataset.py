"""spec.dataset: the rows, and how they are read."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, StringConstraints

from kubetune.api.base import ATOMIC, DNS_NAME, DecimalString, Map, Rule, SpecModel
from kubetune.api.v1alpha1.model import (
    BUCKET,
    CREDENTIALS_RULE,
    REPOSITORY,
    Credentials,
    Uri,
    uri_rules,
)

_SEGMENT: Final = r"[^/\x00-\x1f?#]+"  # names of files may have spaces
_PATH: Final = f"{_SEGMENT}(/{_SEGMENT})*"
_ROWS: Final = REPOSITORY + rf"(@[A-Za-z0-9][A-Za-z0-9._-]{{0,95}})?(/{_PATH})?"
_OBJECT: Final = f"{BUCKET}/{_PATH}"
_FILE: Final = f"pvc://{DNS_NAME}/{_PATH}"
_WEB: Final = rf"https://[a-zA-Z0-9]([a-zA-Z0-9.-]{{0,251}}[a-zA-Z0-9])?(:[0-9]{{1,5}})?/{_PATH}"
_KEY: Final = rf"configMap://{DNS_NAME}/[-._a-zA-Z0-9]+"

Column = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class DataFile(SpecModel):
    """One source of rows."""

    rules: ClassVar = (
        *uri_rules(
            _ROWS,
            _OBJECT,
            _FILE,
            _WEB,
            _KEY,
            message="not a dataset URI; write hf://org/name[@revision][/path], s3://bucket/key, "
            "https://host/path, pvc://claim/path or configMap://name/key",
        ),
        CREDENTIALS_RULE,
    )

    uri: Uri
    """Where the rows are: hf://org/name[@revision][/path], s3://bucket/key, https://host/path of a host that
    the platform allows, pvc://claim/path or configMap://name/key. Files are jsonl, json, csv or parquet by
    their extension, in UTF-8; all but parquet may be compressed (.gz, .zst)."""
    credentials: Credentials | None = None
    """Secret for a private source."""


class Columns(SpecModel):
    """The data's own column names for the standard ones."""

    prompt: Column | None = None
    """Column with what the user says (PromptCompletion)."""
    completion: Column | None = None
    """Column with what the model shall answer (PromptCompletion)."""
    messages: Column | None = None
    """Column with a list of chat messages (Chat)."""
    text: Column | None = None
    """Column with plain text (Text)."""
    conversations: Column | None = None
    """Column with a list of turns (ShareGPT)."""
    instruction: Column | None = None
    """Column with what the user asks (Alpaca)."""
    input: Column | None = None
    """Column with what the instruction is about (Alpaca)."""
    output: Column | None = None
    """Column with what the model shall answer (Alpaca)."""
    system: Column | None = None
    """Column with a system message (all but Text)."""
    tools: Column | None = None
    """Column with the tools that the model may call (all but Text)."""


class Dataset(SpecModel):
    """Rows to train on, and rows to validate with."""

    model_config = ATOMIC

    rules: ClassVar = (
        Rule(
            cel="!(has(self.validation) && has(self.validationFraction))",
            check=lambda data: data.validation is None or data.validation_fraction is None,
            path=".validationFraction",
            message="validation and validationFraction exclude each other; remove one",
        ),
        Rule(
            cel="!has(self.validationFraction) || "
            "(double(self.validationFraction) > 0.0 && double(self.validationFraction) < 1.0)",
            check=lambda data: data.validation_fraction is None or 0 < data.validation_fraction < 1,
            path=".validationFraction",
            message='must be above 0 and below 1; write for example "0.1"',
        ),
    )

    train: DataFile
    """Rows to train on."""
    validation: DataFile | None = None
    """Rows that are only measured on. Without it and validationFraction there is no validation loss."""
    validation_fraction: DecimalString | None = None
    """Part of the training rows that is held out for validation, such as "0.1"."""
    format: Literal["Auto", "Chat", "ShareGPT", "PromptCompletion", "Alpaca", "Text"] = "Auto"
    """How rows are read. Chat: messages in OpenAI's format, trained on the assistant's turns. ShareGPT:
    conversations with from and value. PromptCompletion: trained on the completion. Alpaca: instruction, input
    and output, trained on the output. Text: trained on everything. Auto: by the columns.
    docs/reference/data.md has all rules."""
    columns: Columns | None = None
    """The data's own column names for the standard ones, such as {prompt: question, completion: answer}."""
    system_prompt: Annotated[str, StringConstraints(min_length=1, max_length=8192)] | None = None
    """System message that is put before rows without one."""
    max_length: int = Field(default=1024, ge=8, le=1048576, strict=True)
    """Longest row in tokens; longer ones are treated as onTooLong says."""
    on_too_long: Literal["Truncate", "Drop", "Fail"] = "Drop"
    """Drop leaves rows out that are too long, and counts them. Truncate keeps those of their learned turns
    that fit whole, and the beginning of plain text. Fail stops the job."""
    chat_template: Annotated[str, StringConstraints(min_length=1, max_length=65536)] | None = None
    """Chat template in Jinja, for a base model without one or in the place of its own. It is published with
    the result, and served."""
    chat_template_kwargs: Map[Annotated[str, StringConstraints(max_length=256)]] | None = None
    """What the chat template is given besides the conversation, in training and by default in serving, such
    as {enable_thinking: "false"}. Values are in quotes; true, false and numbers become what they say."""
    on_leak: Literal["Warn", "Fail"] = "Warn"
    """What follows when validation rows stand in the training rows as well, also where only case, spaces or
    punctuation differ. Warn counts them in status.dataset.leakedRows and names the first lines. Fail stops
    the job."""
