"""What an artifact says about conversations: tokenizer, chat template and ends, as training had them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..contract.config import TrainerConfig
from ..contract.layout import RunDirectory
from ..template.ends import write_stops
from ..template.source import ChatSource, chat_source


def write_chat_files(config: TrainerConfig, run: RunDirectory, base: Path, directory: Path) -> dict[str, Any]:
    """Write the tokenizer with the job's chat template, and the ends that the base's server would run over.

    Returns what the artifact's summary says of them.
    """
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    rows = config.dataset
    source = chat_source(tokenizer, template=rows.chat_template, arguments=rows.chat_template_kwargs)
    details = json.loads(run.dataset_file.read_bytes()).get("details", {})
    stops = write_stops(base, directory, own=tokenizer.eos_token_id, added=details.get("ends", ()))
    write_template(source, tokenizer, directory)
    tokenizer.save_pretrained(directory)
    return {
        "chat_content": content_of(source),
        "generation_config": stops and not config.training.adapter.full,
    }


def write_template(source: ChatSource | None, tokenizer: Any, directory: Path) -> None:
    """Write the chat template as servers read it, and what it is given; the tokenizer gets it too."""
    if source is None:
        return
    tokenizer.chat_template = source.text
    (directory / "chat_template.jinja").write_text(source.text, encoding="utf-8")
    if source.arguments:
        (directory / "chat_template_kwargs.json").write_text(
            json.dumps(dict(source.arguments), sort_keys=True) + "\n", encoding="utf-8"
        )


def content_of(source: ChatSource | None) -> str | None:
    """How a template takes the content of messages, under vLLM's names; None without one."""
    if source is None:
        return None
    return "openai" if source.content_parts else "string"
