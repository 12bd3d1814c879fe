"""Simple commands in the shell text that pages show: enough of a shell's grammar for what people type."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

_PREFIXES = {"do", "then", "else", "if", "while", "!", "sudo", "time", "exec", "env"}
_ASSIGNED = re.compile(r"[A-Za-z_]\w*=")
_HEREDOC = re.compile(r"(<<-?\s*(['\"]?)(\w+)\2.*)\n(?:.*\n)*?\s*\3\s*$", re.MULTILINE)
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*$", re.MULTILINE)


def commands(text: str) -> list[list[str]]:
    """Return the words of each simple command, without assignments before it and files that it is led to."""
    text = _HEREDOC.sub(r"\1", text.replace("\\\n", " "))
    return [*_commands(_COMMENT.sub("", text))]


def _commands(text: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    redirected = False
    for token in [*lexer, "\n"]:
        for inner in re.findall(r"\$\(([^()]*)\)", token):
            yield from _commands(inner)
        if set(token) <= set("();|&\n") and token not in (">&", "<&"):
            if words:
                yield words
            words, redirected = [], False
        elif set(token) <= set("<>&"):
            redirected = True
        elif redirected:
            redirected = False
        elif words or not (token in _PREFIXES or _ASSIGNED.match(token)):
            words.append(token)


def option(words: list[str], *names: str) -> list[str]:
    """Return the values of an option of a command, however they are attached to it."""
    found: list[str] = []
    for place, word in enumerate(words):
        if word in names and place + 1 < len(words):
            found.append(words[place + 1])
        found += [word.removeprefix(f"{name}=") for name in names if word.startswith(f"{name}=")]
    return found


def positional(words: list[str], *, taking: frozenset[str]) -> list[str]:
    """Return the arguments that are no options.

    Options that are `taking` a value have it as their next word, unless that is an option: `logs -f -l a=b`.
    """
    found: list[str] = []
    skip = False
    for word in words:
        if skip and (word == "-" or not word.startswith("-")):
            skip = False
        elif word == "--":
            return found
        elif word.startswith("-") and len(word) > 1:
            skip = word in taking
        else:
            found.append(word)
    return found
