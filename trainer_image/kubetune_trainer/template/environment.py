"""Compiles chat templates as transformers does, in a sandbox that is quicker for plain data.

Long conversations are rendered once for each turn, and most of that time went into the sandbox checking
attributes of dictionaries, strings and namespaces, which depends on nothing but the type and the name.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jinja2
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from transformers.utils.chat_template_utils import _compile_jinja_template
from typing_extensions import override

_METHODS = frozenset(dir(dict))


class _Environment(ImmutableSandboxedEnvironment):
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
    theirs = _compile_jinja_template(text).environment
    ours = _Environment(
        trim_blocks=theirs.trim_blocks,
        lstrip_blocks=theirs.lstrip_blocks,
        extensions=[type(extension) for extension in theirs.extensions.values()],
    )
    ours.filters |= theirs.filters
    ours.globals |= theirs.globals
    return ours.from_string(text)
