"""Rows on both sides of training and validation: what is alike, what is found, and what stays together."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kubetune_trainer.contract.config import DatasetConfig, FileSource
from kubetune_trainer.data.formats import Example, RowReader
from kubetune_trainer.data.likeness import NO_PROMPT, Likeness, folded, likeness
from kubetune_trainer.data.row import Row
from kubetune_trainer.prepare.compared import Compared
from kubetune_trainer.prepare.held_out import alike, choose
from kubetune_trainer.prepare.leaks import Found, Side, find, refusal, warnings, write


def read(row: dict[str, Any], *, has_template: bool = True) -> Example:
    config = DatasetConfig(train=FileSource(uri="pvc://d/train.jsonl"))
    return RowReader(config, name="train.jsonl", has_template=has_template).read(Row(1, row))


def of(row: dict[str, Any], *, has_template: bool = True) -> Likeness:
    return likeness(read(row, has_template=has_template))


def chat(*said: str, **answer: Any) -> dict[str, Any]:
    roles = ("user", "assistant")
    messages = [{"role": roles[index % 2], "content": text} for index, text in enumerate(said)]
    messages[-1] |= answer
    return {"messages": messages}


def call(identity: str, city: str) -> dict[str, Any]:
    function = {"name": "look_up", "arguments": json.dumps({"city": city})}
    return {"tool_calls": [{"id": identity, "type": "function", "function": function}]}


QUESTION, ANSWER = "What is the capital of France?", "It is Paris."
PLAIN = {"prompt": QUESTION, "completion": ANSWER}


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("  It  is\nPARIS ", "it is paris"),
        ("It is: «Paris»!", "it is paris"),
        ("\uff30aris \ufb01n", "paris fin"),  # full width, a ligature
        ("STRASSE", "straße".casefold()),
        ("-5", "-5"),
        ("3.5 is not 35.", "3.5 is not 35"),
        ("a+b < c", "a+b < c"),
        (" :) ", ":)"),
        ("", ""),
    ],
)
def test_spellings_of_a_text_are_folded_into_one(text: str, same: str) -> None:
    assert folded(text) == same


@pytest.mark.parametrize(
    "row",
    [
        chat(QUESTION, ANSWER),
        {"conversations": [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": ANSWER}]},
        {"instruction": "what is the capital", "input": "of France", "output": "it is   PARIS"},
        {"prompt": f" {QUESTION.upper()}", "completion": "it is — paris"},
    ],
    ids=["Chat", "ShareGPT", "Alpaca", "PromptCompletion"],
)
def test_a_row_is_like_itself_in_every_format(row: dict[str, Any]) -> None:
    assert of(row) == of(PLAIN)


def test_another_answer_leaves_the_prompt_the_same() -> None:
    one, other = of(PLAIN), of({**PLAIN, "completion": "Lyon."})
    assert (one.prompt == other.prompt, one.whole == other.whole) == (True, False)


def test_a_prompt_reaches_to_the_last_answer_that_is_learned() -> None:
    one, other = of(chat("a", "b", "c", "d")), of(chat("a", "b", "c", "e"))
    assert (one.prompt == other.prompt, one.whole == other.whole) == (True, False)
    assert one.prompt != of(chat("a", "x", "c", "d")).prompt
    last_unlearned = chat("a", "b", "c", "d")
    last_unlearned["messages"][-1]["weight"] = 0
    assert of(last_unlearned).prompt == of(chat("a", "b")).prompt


def test_who_says_what_counts() -> None:
    assert of(chat("a b", "c")).whole != of(chat("a", "b c")).whole
    with_system = {"messages": [{"role": "system", "content": "Be brief."}, *chat("a", "b")["messages"]]}
    assert of(with_system).prompt != of(chat("a", "b")).prompt
    assert of(chat("a", "b", reasoning_content="so")).whole != of(chat("a", "b")).whole


def test_calls_of_tools_are_compared_without_their_ids() -> None:
    one = of(chat("a", "", **call("c1", "Oslo")))
    assert one == of(chat("a", "", **call("c2", "Oslo")))
    assert one.whole != of(chat("a", "", **call("c1", "Rome"))).whole


def test_plain_text_has_no_prompt() -> None:
    text = of({"text": "Paris is the capital."})
    assert text.prompt == NO_PROMPT
    assert text == of({"text": "PARIS is the  capital"})
    joined = of(PLAIN, has_template=False)
    assert joined.prompt not in (NO_PROMPT, joined.whole)


def test_half_of_a_character_is_compared_too() -> None:
    assert of({"text": "a\ud83d"}).whole != of({"text": "a"}).whole


Written = tuple[str, str, str]
"""File, prompt, answer."""


def side(*rows: Written) -> Side:
    """Rows whose tokens are their texts; lines count from 1 in each file."""
    compared, lines, exact = Compared(), dict[str, int](), []
    for file, prompt, answer in rows:
        if file not in lines:
            compared.begin(file)
        lines[file] = lines.get(file, 0) + 1
        compared.add(lines[file], of({"prompt": prompt, "completion": answer}))
        exact.append(f"{prompt}|{answer}".encode().ljust(16, b".")[:16])
    return Side(exact, compared)


TRAIN = side(("a", "q1", "x"), ("a", "q2", "y"), ("b", "q2", "y"), ("b", "q3", "z"))


def listed(validation: Side, path: Path, train: Side = TRAIN) -> tuple[Found, list[dict[str, Any]]]:
    found = write(find(train, validation), train, validation, path)
    rows = path.read_text().splitlines() if path.exists() else []
    return found, [json.loads(row) for row in rows]


def test_the_list_names_both_lines_and_what_is_the_same(tmp_path: Path) -> None:
    rows = [("v", "q2", "y"), ("v", "q9", "y"), ("v", "Q3", "z!"), ("v", "Q1?", "other"), ("w", "q3", "z")]
    found, list_ = listed(side(*rows), tmp_path / "leaks.jsonl")
    assert list_ == [
        {"file": "v", "line": 1, "train_file": "a", "train_line": 2, "kind": "Exact"},
        {"file": "v", "line": 3, "train_file": "b", "train_line": 2, "kind": "Normalised"},
        {"file": "v", "line": 4, "train_file": "a", "train_line": 1, "kind": "SamePrompt"},
        {"file": "w", "line": 1, "train_file": "b", "train_line": 2, "kind": "Exact"},
    ]
    assert (found.leaked, found.same_prompt) == (3, 1)
    assert warnings(found, 5) == [
        "3 of 5 validation rows stand in the training rows as well, in line 1 of v, line 3 of v and line 1 "
        "of w: their loss says how well they were memorised. Remove them from one of the files.",
        "1 of 5 validation rows has the prompt of a training row and another answer, in line 4 of v: "
        "prepared/leaks.jsonl has them.",
    ]


def test_rows_that_are_held_out_keep_their_lines(tmp_path: Path) -> None:
    chosen = [1, 3]
    validation = Side([TRAIN.exact[row] for row in chosen], TRAIN.compared.select(chosen))
    _, list_ = listed(validation, tmp_path / "leaks.jsonl")
    assert [(row["file"], row["line"], row["train_line"]) for row in list_] == [("a", 2, 2), ("b", 2, 2)]


def test_rows_that_differ_yield_no_list(tmp_path: Path) -> None:
    found, list_ = listed(side(("v", "new", "x"), ("v", "newer", "y")), tmp_path / "leaks.jsonl")
    assert (found, list_, warnings(found, 2)) == (Found(), [], [])
    assert not (tmp_path / "leaks.jsonl").exists()


def test_of_many_rows_the_first_three_are_named(tmp_path: Path) -> None:
    found, _ = listed(
        side(*[("v", f"q{1 + number % 3}", "xyz"[number % 3]) for number in range(5)]), tmp_path / "l"
    )
    assert warnings(found, 2_000) == [
        "5 of 2,000 validation rows stand in the training rows as well, the first in lines 1, 2 and 3 of v: "
        "their loss says how well they were memorised. Remove them from one of the files; "
        "prepared/leaks.jsonl has all."
    ]


def test_a_refusal_lists_each_leaked_row_as_a_bad_one(tmp_path: Path) -> None:
    rows = [("v", "q2", "y"), ("v", "Q1?", "other"), ("v", "Q3", "z!")]
    listed(side(*rows), tmp_path / "leaks.jsonl")
    error = refusal(tmp_path / "leaks.jsonl", tmp_path / "errors.jsonl", 2, 3)
    where = "in the training rows as well"
    bad = [
        {"file": "v", "line": line, "class": "leaked_row", "message": message}
        for line, message in (
            (1, f"The row stands {where}: a, line 2."),
            (3, f"The row stands, but for its spelling, {where}: b, line 2."),
        )
    ]
    assert error.message == (
        "2 of 3 validation rows stand in the training rows as well, in lines 1 and 3 of v: their loss says "
        "how well they were memorised. Remove them from one of the files."
    )
    assert error.summary() == {"errors": 2, "classes": {"leaked_row": 2}, "rows": bad}
    assert [json.loads(line) for line in (tmp_path / "errors.jsonl").read_text().splitlines()] == bad


def test_a_refusal_needs_no_list(tmp_path: Path) -> None:
    error = refusal(tmp_path / "leaks.jsonl", tmp_path / "errors.jsonl", 1, 3)
    assert error.message == (
        "1 of 3 validation rows stands in the training rows as well: its loss says how well it was "
        "memorised. Remove it from one of the files."
    )


def heads(*kinds: Sequence[int]) -> Any:
    return alike([np.asarray(kind, dtype=np.uint64) for kind in kinds])


def test_rows_that_share_a_key_of_any_kind_stay_together() -> None:
    assert heads([1, 2, 3, 4, 5, 1], [1, 2, 2, 4, 4, 6]).tolist() == [0, 1, 1, 3, 3, 0]
    assert heads([1, 2, 3, 1], [1, 2, 1, 2]).tolist() == [0, 0, 0, 0]
    assert heads([1, 2, 2, 3, 3, 4], [1, 2, 3, 3, 4, 4]).tolist() == [0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(("total", "count"), [(10, 1), (60, 6), (500, 499), (3000, 100)])
def test_rows_without_duplicates_are_held_out_as_they_always_were(total: int, count: int) -> None:
    expected = random.Random(42).sample(range(total), count)
    assert choose(heads(range(total)), count, most=total, seed=42) == sorted(expected)


@pytest.mark.parametrize("seed", range(20))
def test_groups_are_held_out_whole_and_fill_the_fraction(seed: int) -> None:
    keys = [number % 40 if number < 80 else number for number in range(100)]  # 40 pairs and 20 single rows
    chosen = choose(heads(keys), 11, most=90, seed=seed)
    assert len(set(chosen)) == len(chosen) == 11
    assert not {keys[row] for row in chosen} & {keys[row] for row in range(100) if row not in chosen}


def held_out(sizes: Sequence[int], count: int, most: int) -> int:
    keys = [number for number, size in enumerate(sizes) for _ in range(size)]
    return len(choose(heads(keys), count, most=most, seed=1))


def test_of_large_groups_the_smallest_is_held_out_if_enough_are_left() -> None:
    assert held_out([9, 3, 5], count=2, most=7) == 3
    assert held_out([9, 8], count=2, most=7) == 0
