"""Chat template, tokens and ends of an artifact that was trained elsewhere: those of its folder.

A server of an adapter has the base's tokenizer: the folder's may have no tokens of its own that matter.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ..artifact.chat import content_of, write_template
from ..contract.config import TrainerConfig
from ..contract.errors import ModelUnavailable, first_line, name_list
from ..data.chat import Conversation
from ..template.ends import base_stops, write_stops
from ..template.source import ChatSource, chat_source
from ..template.tokens import Tokeniser
from .folder import MERGE, refusal

_TEMPLATE: Final = "chat_template.jinja"
_CONFIG: Final = "tokenizer_config.json"
_FAST: Final = "tokenizer.json"

Read = Mapping[str, Any]


def write_adapter_text(
    config: TrainerConfig, base: Path, source: Path, names: Collection[str], directory: Path
) -> tuple[dict[str, Any], list[str]]:
    """Write the base's tokenizer with the folder's chat template, and more ends than the base's.

    Returns what the artifact's summary says of them, and warnings.

    Raises:
        AdapterInvalid: the template writes tokens that the base's tokenizer has not.
        ModelUnavailable: a template or tokenizer cannot be used.
    """
    uri = config.adopt.uri if config.adopt else ""
    tokenizer = _tokenizer(base, config.model.uri)
    own = tokenizer.chat_template
    tokenizer.chat_template = _template(source, names) or own
    chat = _chat(config, tokenizer)
    vocabulary = tokenizer.get_vocab()
    strangers = sorted({text for identity, text in _added(source, names) if vocabulary.get(text) != identity})
    if used := [token for token in strangers if chat and token in chat.text]:
        raise refusal(
            uri,
            f"has a chat template with tokens that the tokenizer of {config.model.uri} has not "
            f"({name_list(used, 3)}), which is the one that an adapter is served with",
            MERGE,
        )
    ends = [*_ends(source, names, vocabulary), *_ends_of_turns(tokenizer, chat, base)]
    stops = write_stops(base, directory, own=tokenizer.eos_token_id, added=ends)
    write_template(chat, tokenizer, directory)
    tokenizer.save_pretrained(directory)
    warnings = []
    if strangers:
        warnings.append(
            f"The artifact's tokenizer has tokens that the base's has not ({name_list(strangers, 3)}): the "
            "server reads and writes none of them."
        )
    return {"chat_content": content_of(chat), "generation_config": stops}, warnings


def write_model_text(
    config: TrainerConfig, base: Path, names: Collection[str], directory: Path
) -> dict[str, Any]:
    """See to it that a full model in ``directory`` has a tokenizer, its chat template, and its ends.

    Returns what the artifact's summary says of them.

    Raises:
        ModelUnavailable: a template or tokenizer cannot be used.
    """
    brought = _FAST in names or _CONFIG in names
    tokenizer = _tokenizer(directory if brought else base, config.adopt.uri if config.adopt else "")
    tokenizer.chat_template = _template(directory, names) or tokenizer.chat_template
    chat = _chat(config, tokenizer)
    vocabulary = tokenizer.get_vocab()
    ends = [*_ends(directory, names, vocabulary), *_ends_of_turns(tokenizer, chat, directory)]
    write_stops(directory, directory, own=tokenizer.eos_token_id, added=ends)
    write_template(chat, tokenizer, directory)
    if not brought:
        tokenizer.save_pretrained(directory)
    return {"chat_content": content_of(chat), "generation_config": False}


def _tokenizer(path: Path, uri: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever a wrong tokenizer file makes the library raise
        raise ModelUnavailable(f"The tokenizer of {uri} cannot be loaded: {first_line(error)}") from error


def _chat(config: TrainerConfig, tokenizer: Any) -> ChatSource | None:
    rows = config.dataset
    return chat_source(tokenizer, template=rows.chat_template, arguments=rows.chat_template_kwargs)


def _template(source: Path, names: Collection[str]) -> Any:
    """The folder's chat template, or several by name; None without one."""
    if _TEMPLATE in names:
        return (source / _TEMPLATE).read_text(encoding="utf-8", errors="replace")
    said = _read(source, names, _CONFIG).get("chat_template")
    if isinstance(said, list):
        return {of.get("name"): of.get("template") for of in said if isinstance(of, dict)}
    return said


def _added(source: Path, names: Collection[str]) -> Iterator[tuple[int, str]]:
    """Id and text of the tokens that the folder's tokenizer has beside its vocabulary."""
    try:
        for token in _read(source, names, _FAST).get("added_tokens") or ():
            yield int(token["id"]), str(token["content"])
        for identity, token in (_read(source, names, _CONFIG).get("added_tokens_decoder") or {}).items():
            yield int(identity), str(token["content"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return  # of a form of its own: the server has the base's tokenizer anyway


def _ends(source: Path, names: Collection[str], vocabulary: Mapping[str, int]) -> Iterator[int]:
    """Tokens that the folder's files say to end with."""
    token = _read(source, names, _CONFIG).get("eos_token")
    text = str(token.get("content") if isinstance(token, dict) else token)
    if text in vocabulary:
        yield vocabulary[text]
    if "generation_config.json" in names:
        yield from (i for i in base_stops(source) if i in vocabulary.values())


def _ends_of_turns(tokenizer: Any, chat: ChatSource | None, model: Path) -> list[int]:
    """The token with which the template ends an assistant's turn, found as training would find it."""
    if chat is None:
        return []
    said = ({"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello."})
    tokeniser = Tokeniser(
        tokenizer, chat, max_length=4096, on_too_long="Drop", stops=frozenset(base_stops(model))
    )
    list(tokeniser.rows([(1, Conversation(messages=said, trained=(False, True)))], file=""))
    return list(tokeniser.ends)


def _read(source: Path, names: Collection[str], name: str) -> Read:
    """A JSON object of the folder; an empty one where there is none that can be read."""
    if name not in names:
        return {}
    try:
        value = json.loads((source / name).read_bytes())
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
