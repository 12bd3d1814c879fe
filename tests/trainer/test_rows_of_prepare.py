"""Kinds of rows through ``prepare``: what the model sees of them and learns, and how people are shown it."""

from __future__ import annotations

import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from kubetune_trainer.contract.messages import ExitCode
from kubetune_trainer.prepare.preview import Decoder, Run, as_text
from kubetune_trainer.prepare.progress import EVERY_SECONDS, Progress
from kubetune_trainer.prepare.sample import FIRST, LONGEST, Sample
from tests.support.prepare_runs import Prepare, Prepared
from tests.support.tiny_model import make_tiny_model

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # peft's
]

# <bos> <|user|> question <|end|> <|assistant|> answer <|end|>
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{{ c.function | tojson }}{% endfor %}<|end|>{% endfor %}"
    "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
COUNT = 12


@pytest.fixture(scope="session")
def chatting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a chat template, whose tokenizer puts BOS before plain text."""
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    path = make_tiny_model(
        tmp_path_factory.mktemp("models") / "chatting", chat_template=TEMPLATE, bos="<bos>", eos="<|end|>"
    )
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", pair=None, special_tokens=[("<bos>", tokenizer.convert_tokens_to_ids("<bos>"))]
    )
    tokenizer.save_pretrained(path)
    return path


def jsonl(row: dict[str, Any]) -> bytes:
    return (json.dumps(row) + "\n").encode() * COUNT


def parquet(**columns: Any) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    table = pa.table({name: pa.array([value] * COUNT) for name, value in columns.items()})
    pq.write_table(table.append_column("logged", pa.array([2**63 - 1] * COUNT, pa.timestamp("ns"))), sink)
    return bytes(sink.getvalue())


ASKED = {"role": "user", "content": "q"}
ANSWERED = {"role": "assistant", "content": "a"}

SEEN: dict[str, tuple[str, bytes, str]] = {
    "Parquet beside a time that Python cannot hold": (
        "rows.parquet",
        parquet(prompt="q", completion="a", messages=None),
        "<bos><|user|>q<|end|><|assistant|>⟦a<|end|>⟧",
    ),
    "compressed JSON lines": (
        "rows.jsonl.gz",
        gzip.compress(jsonl({"messages": [ASKED, ANSWERED]})),
        "<bos><|user|>q<|end|><|assistant|>⟦a<|end|>⟧",
    ),
    "a JSON array of ShareGPT": (
        "rows.json",
        json.dumps(
            [{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}] * COUNT
        ).encode(),
        "<bos><|user|>q<|end|><|assistant|>⟦a<|end|>⟧",
    ),
    "the CSV of pandas, with a system text": (
        "rows.csv",
        b",system,prompt,completion\n" + b"0,s,q,a\n" * COUNT,
        "<bos><|system|>s<|end|><|user|>q<|end|><|assistant|>⟦a<|end|>⟧",
    ),
    "Alpaca": (
        "rows.jsonl",
        jsonl({"instruction": "q", "input": "i", "output": "a"}),
        r"<bos><|user|>q\n\ni<|end|><|assistant|>⟦a<|end|>⟧",
    ),
    "text that is rendered already": (
        "rows.jsonl",
        jsonl({"text": "<bos><|user|>q<|end|><|assistant|>a<|end|>"}),
        "<bos>⟦<|user|>q<|end|><|assistant|>a<|end|>⟧",
    ),
    "text": ("rows.jsonl", jsonl({"text": "a"}), "<bos>⟦a<|end|>⟧"),
}


@pytest.mark.parametrize("case", SEEN)
def test_rows_reach_the_model(
    prepare: Prepare, chatting: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    caplog.set_level("INFO")
    name, content, seen = SEEN[case]
    (tmp_path / name).write_bytes(content)
    result = prepare(model=chatting, train=tmp_path / name)
    assert result.summary.dataset.train_rows == COUNT
    shown = [line for line in caplog.messages if " as the model sees it" in line]
    assert [line.partition("⟦⟧: ")[2] for line in shown] == [seen] * 3


LONG = "control token of the model. Give the text without the chat template"

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a prompt that is rendered already": (
        {"prompt": "<bos><|user|>q<|end|><|assistant|>", "completion": "a<|end|>"},
        f"Message 1 has <bos>: it is a {LONG}",
    ),
    "an answer that ends itself": (
        {"messages": [ASKED, {**ANSWERED, "content": "a<|end|>"}]},
        f"Message 2 has <|end|>: it is a {LONG}",
    ),
    "a question that quotes a token": (
        {"messages": [{**ASKED, "content": "What is <|assistant|> for?"}, ANSWERED]},
        f"Message 1 has <|assistant|>: it is a {LONG}",
    ),
    "a call with a token in its arguments": (
        {
            "messages": [
                ASKED,
                {
                    "role": "assistant",
                    "tool_calls": [{"function": {"name": "f", "arguments": '{"x": "<bos>"}'}}],
                },
            ]
        },
        f"Message 2 has <bos>: it is a {LONG}",
    ),
    "a tool that is described with a token": (
        {"messages": [ASKED, ANSWERED], "tools": [{"function": {"name": "f", "description": "<|user|>"}}]},
        f"The row's tools have <|user|>: it is a {LONG}",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_control_tokens_within_messages_are_refused(
    prepare: Prepare, chatting: Path, tmp_path: Path, case: str
) -> None:
    row, message = REFUSED[case]
    (tmp_path / "rows.jsonl").write_bytes(jsonl(row))
    result = prepare(model=chatting, train=tmp_path / "rows.jsonl")
    assert (result.code, result.message.reason) == (ExitCode.INVALID_INPUT, "DataInvalid")
    first = result.message.summary["rows"][0]
    assert (first["line"], first["class"]) == (1, "control_token")
    assert first["message"].startswith(message)


NULS: dict[str, tuple[dict[str, Any], str]] = {
    "an argument in JSON text": (
        {
            "messages": [
                ASKED,
                {
                    "role": "assistant",
                    "tool_calls": [{"function": {"name": "f", "arguments": r'{"x": "\u0000"}'}}],
                },
            ]
        },
        r"Message 2 has a NUL character (\u0000). Remove it.",
    ),
    "plain text": ({"text": "a\0"}, r"The text has a NUL character (\u0000). Remove it."),
}


@pytest.mark.parametrize("case", NULS)
def test_nul_characters_are_refused(prepare: Prepare, chatting: Path, tmp_path: Path, case: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    row, message = NULS[case]
    pq.write_table(pa.Table.from_pylist([row] * COUNT), tmp_path / "rows.parquet")
    result = prepare(model=chatting, train=tmp_path / "rows.parquet")
    assert result.message.summary["rows"][0] == {"line": 1, "class": "nul_byte", "message": message}


def test_system_prompt_with_a_control_token_is_refused_once(
    prepare: Prepare, chatting: Path, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_bytes(jsonl({"messages": [ASKED, ANSWERED]}))
    result = prepare(model=chatting, train=tmp_path / "rows.jsonl", dataset={"system_prompt": "<|system|>s"})
    assert result.message.message.startswith(f"dataset.systemPrompt has <|system|>: it is a {LONG}")


def warnings(result: Prepared) -> list[str]:
    return [text for text in result.summary.dataset.warnings if "few" not in text and "repeat" not in text]


def test_text_with_control_tokens_and_marks_of_other_models_are_warned_of(
    prepare: Prepare, chatting: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(jsonl({"text": "<|user|>q"}))
    assert warnings(prepare(model=chatting, train=rows)) == [
        "12 rows of text have control tokens of the model: they are taken as they are, as text that was "
        "rendered already."
    ]


class Page(HTMLParser):
    """Text of a page by class, and what a page must not have."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[tuple[str, str]] = []
        self.headings: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag in ("span", "h2"):
            self._open.append(dict(attrs).get("class") or tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("span", "h2"):
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["h2"]:
            self.headings.append(data)
        elif self._open:
            self.runs.append((self._open[-1], data))


def test_preview_shows_what_is_learned_with_lines_of_the_file(
    prepare: Prepare, chatting: Path, tmp_path: Path
) -> None:
    said = "<script>alert(1)</script> & é"
    short = json.dumps({"messages": [{**ASKED, "content": said}, ANSWERED]}) + "\n"
    long = json.dumps({"messages": [ASKED, {**ANSWERED, "content": "b" * 150}]}) + "\n"
    (tmp_path / "rows.jsonl").write_text("\n" + short * 25 + long + short)
    result = prepare(model=chatting, train=tmp_path / "rows.jsonl")
    page = Page()
    page.feed((result.run.prepared / "preview.html").read_text())
    assert "script" not in page.tags
    assert page.links == []
    where = [heading.strip() for heading in page.headings if ", line " in heading]
    name = "pvc://inputs/rows.jsonl"
    assert where[:FIRST] == [f"{name}, line {line}" for line in range(2, FIRST + 2)]
    assert where[FIRST] == f"{name}, line 27"
    assert len(where) == FIRST + LONGEST
    shown = page.runs[page.runs.index(("context special", "<bos>")) :][:7]
    assert shown == [
        ("context special", "<bos>"),
        ("context special", "<|user|>"),
        ("context", said),
        ("context special", "<|end|>"),
        ("context special", "<|assistant|>"),
        ("learned", "a"),
        ("learned special", "<|end|>"),
    ]


def test_run_of_an_earlier_version_gets_a_preview(prepare: Prepare, chatting: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(jsonl({"messages": [ASKED, ANSWERED]}))
    preview = prepare(model=chatting, train=rows).run.prepared / "preview.html"
    lines = preview.read_text().count(", line ")
    preview.unlink()
    rows.write_bytes(b"\n" + jsonl({"messages": [ASKED, ANSWERED]}))  # another file with the same rows
    assert prepare(model=chatting, train=rows).run.prepared / "preview.html" == preview
    assert preview.read_text().count(", line ") == lines == COUNT


class _Tokenizer:
    """A tokenizer of SentencePiece's kind: the space before the first word is dropped."""

    words = ("<s>", " Hello", " world", "!", " Bye")
    added_tokens_decoder = {0: type("Token", (), {"special": True})}

    def decode(self, ids: list[int], **_: Any) -> str:
        return "".join(self.words[identity] for identity in ids).removeprefix(" ")


def test_runs_keep_the_spaces_between_them() -> None:
    runs = list(Decoder(_Tokenizer()).runs([0, 1, 2, 3, 4], [-100, -100, 2, 3, -100]))
    assert runs == [
        Run("context", "<s>", special=True),
        Run("context", " Hello"),
        Run("learned", " world!"),
        Run("context", " Bye"),
    ]
    assert as_text(runs) == "<s> Hello⟦ world!⟧ Bye"


def test_row_in_the_log_is_short_and_on_one_line() -> None:
    text = as_text([Run("learned", "a\n\x1b[31m" + "b" * 5000)])
    assert text.startswith("⟦a\\n\\x1b[31mbbb")
    assert re.search(r"b \.\.\. 3,\d\d\d characters \.\.\. b", text)
    assert text.endswith("b⟧")
    assert len(text) < 1300


def test_sample_is_the_first_rows_and_the_longest_of_the_others() -> None:
    sample = Sample()
    sample.add("one", [(line, 5) for line in range(1, 16)], start=0)
    sample.add("two", [(line, 100 + line) for line in range(1, 16)], start=15)
    sample.add("three", [(1, 3), (2, 500)], start=30)
    places = [(place.file, place.line, place.index) for place in sample.places()]
    assert places[:15] == [("one", line, line - 1) for line in range(1, 16)]
    assert places[15:] == [
        *(("two", line, line + 14) for line in range(1, 6)),
        ("three", 2, 31),
        ("two", 15, 29),
        ("two", 14, 28),
    ]


def test_progress_is_told_every_few_seconds(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    times = iter([0.0, 0.0, EVERY_SECONDS - 1, EVERY_SECONDS, EVERY_SECONDS + 1, 2 * EVERY_SECONDS])
    progress = Progress("train", clock=lambda: next(times))
    for _ in range(5):
        progress.read(rows=1000, tokens=7)
    assert caplog.messages == [
        "3,000 train rows read so far, 21 tokens",
        "5,000 train rows read so far, 35 tokens",
    ]
