"""Which chat template a job has: one text, with which it trains, and which is published and served.

A tokenizer may have several by name; they become one that chooses as the library does. Today's date is
written into it: the same data must have the same tokens tomorrow, and the server the same prompt.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final

import jinja2
import jinja2.meta
import jinja2.nodes

from ..contract.errors import DataInvalid, ModelUnavailable
from .bounded import SECONDS, bounded_compile, bounded_render

TEMPLATE_DATE = date(2024, 7, 26)
"""What templates get for today: Llama 3's own default."""

_TODAY = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")

_GIVEN: Final = frozenset(
    ("messages", "tools", "documents", "add_generation_prompt", "continue_final_message", "chat_template")
)
"""What the server says itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSource:
    """A chat template's text, and what it is given besides the conversation."""

    text: str
    name: str
    """How messages call it: the field or the model that it comes from."""
    special_tokens: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """``dataset.chatTemplateKwargs``."""
    content_parts: bool = False
    """Whether the template wants content as a list of parts, where it is text otherwise."""

    def digest(self) -> str:
        """Digest of what decides how conversations are written."""
        decides = [self.text, dict(self.arguments), self.content_parts]
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    def compiled(self) -> jinja2.Template:
        """The template in the environment that the library and the server compile it in."""
        return _compiled(self.text, self.name)


def chat_source(
    tokenizer: Any, *, template: str | None = None, arguments: Mapping[str, Any] | None = None
) -> ChatSource | None:
    """Find the job's chat template: ``template``, else the tokenizer's; None without one.

    Raises:
        DataInvalid: ``template`` or ``arguments`` cannot be used.
        ModelUnavailable: the model's own template cannot be used.
    """
    name = "dataset.chatTemplate" if template is not None else "The model's chat template"
    text = template if template is not None else _one(tokenizer.chat_template)
    if text is None:
        if arguments:
            raise DataInvalid("dataset.chatTemplateKwargs needs a chat template, and the model has none.")
        return None
    text = _TODAY.sub(lambda call: repr(TEMPLATE_DATE.strftime(call[2])), text)
    compiled = _compiled(text, name)
    tree = compiled.environment.parse(text)
    if any(isinstance(call.node, jinja2.nodes.Name) and call.node.name == "strftime_now"
           for call in tree.find_all(jinja2.nodes.Call)):  # fmt: skip
        raise _unusable(name, "asks for today's date in a format that it computes, which cannot be fixed")
    source = ChatSource(
        text=text,
        name=name,
        special_tokens={key: str(value) for key, value in tokenizer.special_tokens_map.items()},
        arguments=dict(arguments or {}),
    )
    _check_arguments(source, jinja2.meta.find_undeclared_variables(tree))
    return replace(source, content_parts=True) if _wants_parts(source) else source


def _one(template: str | Mapping[str, str] | None) -> str | None:
    """Several templates by name as one text; it chooses between them as ``get_chat_template`` does."""
    if not isinstance(template, Mapping):
        return template
    if "default" not in template:
        raise ModelUnavailable(
            f"The model has several chat templates ({', '.join(sorted(template))}) and none of them is the "
            "default: give one in dataset.chatTemplate."
        )
    # Jinja drops one line end where a template ends; + keeps those beside the tags.
    default, tools = (template.get(key, "").removesuffix("\n") for key in ("default", "tool_use"))
    if not tools:
        return template["default"]
    return f"{{% if tools +%}}{tools}{{%+ else +%}}{default}{{%+ endif %}}"


def _compiled(text: str, name: str) -> jinja2.Template:
    from .environment import compile_template  # transformers takes seconds to import

    try:
        return bounded_compile(compile_template, text, name=name)
    except jinja2.TemplateError as error:
        raise _unusable(name, f"is no Jinja template: {str(error).splitlines()[0][:200]}") from None


def _unusable(name: str, why: str) -> DataInvalid | ModelUnavailable:
    if name.startswith("dataset."):
        return DataInvalid(f"{name} {why}.")
    return ModelUnavailable(f"{name} {why}: give another in dataset.chatTemplate.")


def _check_arguments(source: ChatSource, variables: set[str]) -> None:
    if given := sorted(source.arguments.keys() & (_GIVEN | source.special_tokens.keys())):
        raise DataInvalid(f"dataset.chatTemplateKwargs may not set {given[0]}: the server sets it.")
    if unknown := sorted(source.arguments.keys() - variables):
        known = sorted(variables - _GIVEN - source.special_tokens.keys() - _GLOBALS)
        said = f"it knows {', '.join(known)}" if known else "it knows none"
        raise DataInvalid(
            f"dataset.chatTemplateKwargs has {unknown[0]}, which the chat template does not read; {said}."
        )


_GLOBALS: Final = frozenset(
    ("range", "dict", "lipsum", "cycler", "joiner", "namespace", "raise_exception", "strftime_now")
)


def _wants_parts(source: ChatSource) -> bool:
    """Whether the template writes a text that is the only part of a list, but not one by itself."""
    return not _writes(source, _SAID) and _writes(source, [{"type": "text", "text": _SAID}])


_SAID: Final = "kubetune says"


def _writes(source: ChatSource, content: Any) -> bool:
    messages = [{"role": "user", "content": content}]
    try:
        text = bounded_render(
            source.compiled(),
            name=source.name,
            seconds=SECONDS,
            messages=messages,
            tools=None,
            documents=None,
            add_generation_prompt=True,
            **source.special_tokens,
            **source.arguments,
        )
    except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError):
        return False
    return _SAID in text
