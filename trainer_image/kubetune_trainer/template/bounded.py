"""Renders within bounds: templates come from repositories and from users, and their loops know no end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import jinja2

from ..contract.errors import DataInvalid
from ..data.memory import bounded_memory

SECONDS: Final = 20.0
"""Most that one rendering may take; the server has a limit of its own."""

CHARACTERS: Final = 64 * 1024 * 1024
"""Most that one rendering may write; a line of data has at most 1 MiB."""


MEMORY: Final = 1024**3
"""Bytes that one rendering may take beside what the process has."""


class _Endless(Exception):  # noqa: N818 - raised where the template is, and explained by bounded_render
    """The template wrote too much, or took too long."""


def bounded_render(template: jinja2.Template, *, name: str, seconds: float, **variables: Any) -> str:
    """Render a template; ``name`` says in an error where it comes from.

    Raises:
        DataInvalid: it does not end.
    """
    pieces: list[str] = []
    size = 0
    try:
        with _time_limit(seconds), bounded_memory(MEMORY):
            for piece in template.generate(**variables):
                pieces.append(piece)
                size += len(piece)
                if size > CHARACTERS:
                    raise _Endless(f"writes more than {CHARACTERS // 2**20} MiB")
    except (_Endless, MemoryError) as error:
        raise DataInvalid(
            f"{name} {_how(error)} for one conversation, so it does not seem to end: give another in "
            "dataset.chatTemplate."
        ) from None
    return "".join(pieces)


def bounded_compile(compile_: Callable[[str], jinja2.Template], text: str, *, name: str) -> jinja2.Template:
    """Compile a template, which computes what is constant in it.

    Raises:
        DataInvalid: it does not end.
    """
    try:
        with _time_limit(SECONDS), bounded_memory(MEMORY):
            return compile_(text)
    except (_Endless, MemoryError, RecursionError) as error:
        raise DataInvalid(
            f"{name} {_how(error)} before it is used: give another in dataset.chatTemplate."
        ) from None


def _how(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    return str(error) if isinstance(error, _Endless) else f"needs more than {MEMORY // 2**20:,} MiB of memory"


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """End what runs by a signal, which only the main thread can be sent."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise _Endless(f"takes more than {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
