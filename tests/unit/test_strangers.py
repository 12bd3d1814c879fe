"""What pods, nodes and webhooks say is shown as plain text: no command to a terminal, no line of its own."""

from __future__ import annotations

import json
import logging
import sys
import unicodedata
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetune.cluster.kube.errors import Target, from_failure, from_response
from kubetune.facts.endings import end_of
from kubetune.facts.managers import decided
from kubetune.facts.parse import parse_job, parse_pod
from kubetune.facts.termination import message
from kubetune.vocabulary.errors import SpecError
from kubetune.vocabulary.log_lines import PlainFormatter
from kubetune.vocabulary.names import ANNOTATION_PROMOTE
from kubetune.vocabulary.sentences import sentences, shortened
from kubetune.vocabulary.strangers import MOST, all_plain, plain, plain_lines

_SEEN = {"\u200c", "\u200d"} | {  # joiners, and signs around numbers, words and hieroglyphs, which are drawn
    chr(number)
    for first, last in (
        (0x600, 0x605), (0x6DD, 0x6DD), (0x890, 0x891), (0x8E2, 0x8E2),
        (0x110BD, 0x110BD), (0x110CD, 0x110CD), (0x13430, 0x1343F),
    )
    for number in range(first, last + 1)
}  # fmt: skip


def hidden(text: str) -> list[str]:
    """Characters that nobody sees, or that a terminal obeys."""
    return [
        character
        for character in text
        if unicodedata.category(character) in ("Cc", "Cs", "Cf", "Zl", "Zp") and character not in _SEEN
    ]


ATTACK = (
    "\x1b[2J\x1b[31mred\x1b[0m\nStatus:\r\n  all is well \u202egnp.exe\u2066 \x1b]0;title\x07\x00\x9b1A\u200b"
)
CLEAN = "red Status: all is well \ufffdgnp.exe\ufffd \ufffd\ufffd"
ANY = st.text(st.one_of(st.characters(), st.sampled_from(["\x1b", "[", "]", "\n", "\u202e", "\x07", "m"])))


def test_an_attack_becomes_one_plain_line() -> None:
    assert plain(ATTACK) == CLEAN
    assert plain_lines(ATTACK).split("\n") == ["red", "Status:", f"  {CLEAN.removeprefix('red Status: ')}"]


def test_languages_and_emoji_stay() -> None:
    text = "Größe می\u200cخواهم 家族 👨\u200d👩\u200d👧 é\u0301 1\u00a0000 – “quoted” <b> \\u001b"  # noqa: RUF001
    assert plain(text) == text.replace("\u00a0", " ")


def test_every_character_that_is_not_seen_is_replaced() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    parts = [everything[start : start + MOST] for start in range(0, len(everything), MOST)]
    assert [character for part in parts for character in hidden(plain(part))] == []


@given(ANY)
def test_plain_text_is_one_line_without_hidden_characters_and_stays_so(text: str) -> None:
    line = plain(text)
    assert hidden(line) == []
    assert line == plain(line)
    assert hidden(plain_lines(text).replace("\n", "")) == []


def test_text_without_end_is_cut() -> None:
    assert len(plain("word " * MOST)) <= MOST


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | ANY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY, inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_all_texts_of_a_value_are_plain_and_the_rest_is_as_it_was(value: Any) -> None:
    def texts(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [text for pair in value.items() for item in pair for text in texts(item)]
        if isinstance(value, list):
            return [text for item in value for text in texts(item)]
        return [value] if isinstance(value, str) else []

    cleaned = all_plain(value)
    assert [text for text in texts(cleaned) if hidden(text)] == []
    if not texts(value):
        assert cleaned == value


@given(said=ANY, why=ANY, is_json=st.booleans(), code=st.sampled_from([0, 1, 42, 43, 44, 45, 46, 47, 137]))
def test_no_end_of_a_pod_is_told_in_other_than_plain_text(
    said: str, why: str, is_json: bool, code: int
) -> None:
    reason = {42: "DataInvalid", 43: "OutOfMemory"}.get(code, "Unknown")
    text = json.dumps({"reason": reason, "message": said, "summary": {"warnings": [said]}})
    terminated = {"exitCode": code, "reason": why, "message": text if is_json else said}
    condition = {"type": "DisruptionTarget", "status": "True" if code == 44 else "False", "message": why}
    status = {
        "phase": "Failed",
        "reason": "Evicted" if code == 137 else why,
        "message": why,
        "conditions": [condition],
        "containerStatuses": [{"name": "trainer", "state": {"terminated": terminated}}],
    }
    meta = {"name": "job-train-1-0-abcde", "uid": "1"}
    pod = parse_pod({"metadata": meta, "spec": {"nodeName": "node"}, "status": status})
    job = parse_job({"metadata": {"name": "job-train-1"}, "spec": {"completions": 1}})
    ending = end_of(job, [pod], more_memory="Ask for more")
    assert ending is not None
    assert hidden(ending.message) == []
    told = message(pod.termination)
    assert (told is not None) or not is_json
    assert told is None or hidden(told.message + "".join(told.summary["warnings"])) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (r'{"reason": "Completed", "message": "half \ud800 a character"}', "half � a character"),
        ('{"reason": "Completed", "message": "' + "x" * 9 + '"', None),
        ("[" * 4096, None),
        ('{"summary": ' * 340 + "1" + "}" * 340, None),
    ],
    ids=["surrogate", "cut", "deep", "nested"],
)
def test_a_message_is_read_or_is_none_whatever_its_json(text: str, told: str | None) -> None:
    found = message(text)
    assert (found.message if found else None) == told


def test_escapes_of_json_bring_no_command_back() -> None:
    text = json.dumps({"reason": "Completed", "message": ATTACK, "summary": {"warnings": [ATTACK]}})
    told = message(plain_lines(text))
    assert told is not None
    assert (told.message, told.summary) == (CLEAN, {"warnings": [CLEAN]})


def test_what_an_api_server_and_its_webhooks_say_is_plain() -> None:
    target = Target(verb="create", kind="Job", namespace="team", name="job")
    body = json.dumps({"message": f'admission webhook "x" denied the request: {ATTACK}'}).encode()
    assert str(from_response(target, 403, {}, body)).endswith(f"denied the request: {CLEAN}")
    assert hidden(str(from_response(target, 500, {}, ATTACK.encode()))) == []
    assert hidden(str(from_failure(target, OSError(ATTACK)))) == []


def test_a_persons_reason_is_plain() -> None:
    assert decided({ANNOTATION_PROMOTE: ATTACK}) == CLEAN


def test_a_value_of_the_spec_is_quoted_plainly() -> None:
    error = SpecError("spec.model", f'"{ATTACK}" is wrong', "correct it")
    assert str(error) == f'spec.model: "{CLEAN}" is wrong; correct it'


@pytest.mark.parametrize("made", [sentences(ATTACK), shortened(ATTACK)])
def test_sentences_are_one_line_whatever_they_are_made_of(made: str) -> None:
    assert made.removesuffix(".") == CLEAN


def test_a_log_for_people_obeys_nobody() -> None:
    try:
        raise ValueError(ATTACK)
    except ValueError:
        record = logging.makeLogRecord({"msg": "Failed", "levelname": "INFO", "reason": ATTACK})
        record.created = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
        record.exc_info = sys.exc_info()
    first, *others = PlainFormatter().format(record).split("\n")
    assert first.endswith(f" Failed reason={CLEAN}")
    assert [line for line in others if hidden(line)] == []
