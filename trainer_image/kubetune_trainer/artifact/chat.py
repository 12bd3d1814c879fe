"""What an artifact says about conversations: tokenizer, chat template and ends, as training had them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..contract.config import TrainerConfig
from ..contract.layout import RunDirectory
from ..template.ends import write_stops
from ..template.source import chat_source


def write_chat_files(config: TrainerConfig, run: RunDirectory, base: Path, directory: Path) -> dict[str, Any]:
    """Write the tokenizer with the job's chat template, and the ends that the base's server would run over.

    Returns what the artifact's summary says of them.
    """
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    rows = config.dataset
    source = chat_source(tokenizer, template=rows.chat_template, arguments=rows.chat_template_kwargs)
    if source is not None:
        tokenizer.chat_template = source.text
    tokenizer.save_pretrained(directory)
    if source is not None and source.arguments:
        (directory / "chat_template_kwargs.json").write_text(
            json.dumps(dict(source.arguments), sort_keys=True) + "\n", encoding="utf-8"
        )
    details = json.loads(run.dataset_file.read_bytes()).get("details", {})
    stops = write_stops(base, directory, own=tokenizer.eos_token_id, added=details.get("ends", ()))
    content = "openai" if source and source.content_parts else "string"
    return {
        "chat_content": content if source else None,
        "generation_config": stops and not config.training.adapter.full,
    }
