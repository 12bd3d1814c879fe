"""The report as a page: all that was found is on it, and nothing that models wrote is more than text."""

from __future__ import annotations

import gc
import re
import weakref
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest

from kubetune_trainer.evaluate.page import page
from kubetune_trainer.evaluate.page_drawing import Axis
from kubetune_trainer.evaluate.page_rows import LISTED, SHOWN
from kubetune_trainer.evaluate.page_text import block, bounded, last_message
from kubetune_trainer.pages.document import DARK, LIGHT
from kubetune_trainer.scoring.report import Report, ReportRow
from tests.support import evaluation_reports as reports

_VOID = {"meta", "br", "img", "input", "link", "hr", "base", "source"}
_ELEMENTS = {"html", "meta", "title", "style", "main", "h1", "h2", "h3", "h4", "p", "div", "strong", "small"}
_ELEMENTS |= {"ul", "li", "section", "article", "pre", "table", "thead", "tbody", "tr", "th", "td", "figure"}
_ELEMENTS |= {"figcaption", "svg", "desc", "line", "text", "g", "circle", "polyline"}


class Parsed(HTMLParser):
    """A page as a browser takes it apart: elements that must close in order, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.identities: list[str] = []
        self.named: list[str] = []
        self.headings: list[str] = []
        self.rows = 0
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _VOID:
            self.open.append(tag)
        self.elements.add(tag)
        self.rows += tag == "article"
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id" and value:
                self.identities.append(value)
            if name == "aria-labelledby" and value:
                self.named += value.split()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.words += data
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def made(report: Report, rows: list[ReportRow] | None = None) -> str:
    return "".join(page(report, reports.rows(report) if rows is None else rows))


@pytest.mark.parametrize("name", reports.SAMPLES)
def test_a_page_is_well_formed_and_can_neither_run_nor_load_anything(name: str) -> None:
    text = made(reports.SAMPLES[name]())
    text.encode()
    parsed = Parsed(text)
    assert parsed.open == []
    assert parsed.elements <= _ELEMENTS
    assert not {
        name for name in parsed.attributes if name.startswith("on") or name in ("src", "href", "style")
    }
    assert "default-src 'none'; style-src 'unsafe-inline'" in text
    assert len(parsed.identities) == len(set(parsed.identities))
    assert set(parsed.named) <= set(parsed.identities)
    assert "url(" not in text.partition("</style>")[0]


def test_what_was_trained_elsewhere_is_said_to_be() -> None:
    assert "Trained elsewherepvc://models/adapter, sha256:5c5c" in Parsed(made(reports.measured())).words
    assert "Trained elsewhere" not in made(reports.passed())


def test_what_cannot_be_seen_is_spelled_out() -> None:
    text = made(reports.hostile())
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f\ud800-\udfff]", text)
    assert r"\u202e" in text
    assert "\U0001f600" in text


def test_a_long_text_shows_its_beginning_and_its_end() -> None:
    report = reports.passed()
    answer = "begins" + "x" * 10_000 + "ends"
    rows = [reports.row(0, scores={"Tuned": 1.0, "Retrieval": 0.0}, answer=answer)]
    words = Parsed(made(report, rows)).words
    assert "begins" in words
    assert "ends" in words
    assert "... 8,810 characters ..." in words
    assert max(map(len, re.findall("x+", words))) < 1000
    assert bounded("a\n" * 100).splitlines()[17:19] == ["a", "... 76 lines ..."]


def test_an_answer_that_begins_with_a_new_line_or_is_empty_is_seen_as_such() -> None:
    assert block("\na") == '<pre dir="auto">\n\na</pre>'
    assert "(empty)" in block("")


def test_a_report_with_everything_has_every_part() -> None:
    parsed = Parsed(made(reports.passed()))
    assert parsed.headings == [
        "Warnings",
        "Candidates",
        "Gate",
        "General ability",
        "Cost and stability",
        "Loss",
        "Leaked rows",
        "Rows in which the tuned model beats Retrieval",
        "Rows in which the tuned model loses to Retrieval",
        "Training data",
        "Training settings",
        "Lineage",
    ]
    for told in (
        "0.79 (0.74 to 0.85)",
        "+0.08 (+0.03 to +0.13)",
        "31 / 15 / 154",
        "minDelta 0.02",
        "1,372",
        "1,234,567",
        "c1899de289a04d12100db370d81485cdf75e47ca",
        f"LoRA, sha256:{'3f' * 32}",
        "The server answers as training measured",
    ):
        assert told in parsed.words


def test_a_report_without_baselines_gate_losses_and_general_questions_has_the_rest() -> None:
    parsed = Parsed(made(reports.measured()))
    assert parsed.headings == ["Candidates", "Rows with the lowest scores", "Lineage"]
    assert "Measured" in parsed.words
    assert "not answered" not in parsed.words


def test_a_report_without_rows_has_a_page() -> None:
    assert Parsed(made(reports.passed(), [])).rows == 0


def test_who_overrode_the_gate_and_why_stands_beside_the_verdict() -> None:
    words = Parsed(made(reports.overridden())).words
    assert "Not passed, overridden" in words
    assert (
        "kubectl-annotate decided on 2026-03-14T16:00:00Z to serve it all the same: "
        "Retrieval costs us too many tokens" in words
    )


def test_rows_with_the_largest_differences_are_shown_the_earlier_first() -> None:
    report = reports.passed()
    scores = [0.5, 0.9, 0.9, 0.0, 0.4, *([0.6] * 20)]
    rows = [
        reports.row(index, scores={"Tuned": score, "Retrieval": 0.5}) for index, score in enumerate(scores)
    ]
    text = made(report, rows)
    won, lost = (
        [int(line) for line in re.findall(r"<h3>test.jsonl, line (\d+)", part)]
        for part in text.partition("the tuned model loses to")[::2]
    )
    assert won == [2, 3, *range(6, 6 + SHOWN - 2)]
    assert lost == [4, 5]
    assert "10 of 22, the clearest first, by ExactMatch." in text


def test_a_row_that_one_of_them_did_not_answer_is_neither_won_nor_lost() -> None:
    report = reports.passed()
    rows = [
        reports.row(0, scores={"Tuned": 1.0}),
        reports.row(1, scores={"Tuned": float("nan"), "Retrieval": 0.5}),
    ]
    assert Parsed(made(report, rows)).rows == 0


def test_general_questions_are_not_among_the_rows_that_decide() -> None:
    report = reports.passed()
    rows = [reports.row(0, set="General", scores={"Tuned": 0.0, "Base": 1.0, "Retrieval": 1.0})]
    parsed = Parsed(made(report, rows))
    assert parsed.rows == 1
    assert "General questions that the tuned model does worse" in parsed.headings


def test_only_rows_that_are_shown_are_held() -> None:
    report = reports.passed()
    alive: list[weakref.ref[ReportRow]] = []

    def passing() -> Iterator[ReportRow]:
        for index in range(500):
            row = reports.row(index, scores={"Tuned": index % 7 / 7, "Retrieval": 0.5}, leak="Exact")
            alive.append(weakref.ref(row))
            yield row

    parts = page(report, passing())
    next(parts)
    gc.collect()
    assert sum(ref() is not None for ref in alive) <= 2 * SHOWN + 1
    words = Parsed("<main>" + "".join(parts).removesuffix("</html>\n")).words
    assert f"The first {LISTED} of them" in words


def test_leaked_rows_are_named_once_however_many_turns_they_have() -> None:
    rows = [
        reports.row(7, scores={"Tuned": 1.0, "Retrieval": 1.0}, leak="Normalised", turn=turn)
        for turn in (1, 3)
    ]
    text = made(reports.passed(), rows)
    assert text.count('<tr><th scope="row">test.jsonl</th><td>8</td><td>Normalised</td></tr>') == 1


def test_calls_and_parts_of_a_message_are_shown_as_text() -> None:
    call = {"function": {"name": "find", "arguments": {"city": "Köln"}}}
    assert last_message([{"role": "assistant", "content": None, "tool_calls": [call]}]) == (
        "assistant",
        '{"function": {"name": "find", "arguments": {"city": "Köln"}}}',
    )
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": "u"}]
    assert last_message([{"role": "user", "content": parts}]) == (
        "user",
        'a\n{"type": "image_url", "image_url": "u"}',
    )
    assert last_message([]) == ("text", "")


@pytest.mark.parametrize("values", [[0.2, 0.9], [0.5, 0.5], [-0.031, 0.055], [0.0, 1e-12], [3, 40_000]])
def test_an_axis_shows_all_values_between_a_few_round_ticks(values: list[float]) -> None:
    axis = Axis.around(values, 10, 110)
    assert all(9.9 <= axis.at(value) <= 110.1 for value in values)
    assert 2 <= len(axis.ticks) <= 7
    assert len({axis.label(tick) for tick in axis.ticks}) == len(axis.ticks)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_text_has_the_contrast_that_wcag_asks_for(colours: dict[str, str]) -> None:
    """Level AA of WCAG 2.2 for text: 4.5 to 1."""
    for text in ("text", "quiet", "good", "bad"):
        for ground in ("ground", "panel"):
            bright, dim = sorted((_luminance(colours[text]), _luminance(colours[ground])), reverse=True)
            assert (bright + 0.05) / (dim + 0.05) >= 4.5, (text, ground)


def _luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
