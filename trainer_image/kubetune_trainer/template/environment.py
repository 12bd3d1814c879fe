"""Compiles chat templates as transformers does, in a sandbox that is quicker for plain data.

Powers and products are bounded: they are computed in one step, which no limit of time interrupts.

Long conversations are rendered once for each turn, and most of that time went into the sandbox checking
attributes of dictionaries, strings and namespaces, which depends on nothing but the type and the name.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jinja2
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from transformers.utils.chat_template_utils import _compile_jinja_template
from typing_extensions import override

_METHODS = frozenset(dir(dict))
_MOST_BITS = 4096
"""Of a number that a template computes."""
_MOST_REPEATED = 64 * 1024 * 1024
"""Characters or items of a text or list that is repeated."""


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(("*", "**"))

    @override
    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if isinstance(left, int) and isinstance(right, int):
            bits = (left.bit_length(), right.bit_length())
            if (bits[0] * abs(right) if operator == "**" else sum(bits)) > _MOST_BITS:
                raise SecurityError("a number is too large")
        for repeated, times in ((left, right), (right, left)):
            is_repeated = isinstance(repeated, str | list | tuple) and isinstance(times, int)
            if is_repeated and times * len(repeated) > _MOST_REPEATED:
                raise SecurityError("a text or list is repeated too often")
        return super().call_binop(context, operator, left, right)

    @override
    def getattr(self, obj: Any, attribute: str) -> Any:
        kind = type(obj)
        if kind is dict and attribute not in _METHODS:
            # What an attribute that is none comes to in the end: the key, or nothing.
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        if isinstance(obj, Namespace | LoopContext) and not attribute.startswith("_"):
            try:
                return getattr(obj, attribute)
            except AttributeError:
                return self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    @override
    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if type(obj) is str:
            return _is_safe_for_text(self, attr)
        return super().is_safe_attribute(obj, attr, value)


@lru_cache(maxsize=256)
def _is_safe_for_text(environment: ImmutableSandboxedEnvironment, attribute: str) -> bool:
    return ImmutableSandboxedEnvironment.is_safe_attribute(environment, "", attribute, None)


@lru_cache(maxsize=16)
def compile_template(text: str) -> jinja2.Template:
    """Compile a chat template with the globals, filters and extensions that transformers gives it.

    Raises:
        jinja2.TemplateError: it is none.
    """
    theirs = _compile_jinja_template(
        ""
    ).environment  # theirs computes what is constant in a text, without bounds
    ours = _Environment(
        trim_blocks=theirs.trim_blocks,
        lstrip_blocks=theirs.lstrip_blocks,
        extensions=[type(extension) for extension in theirs.extensions.values()],
    )
    ours.filters |= theirs.filters
    ours.globals |= theirs.globals
    return ours.from_string(text)
