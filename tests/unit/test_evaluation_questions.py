"""Which rows are asked, which examples they get, and what that costs: the pure parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from kubetune_trainer.contract.evaluation import EvaluationPlan, GateConfig
from kubetune_trainer.contract.messages import DatasetSummary, TokensPerRow
from kubetune_trainer.data.chat import Conversation, check_messages
from kubetune_trainer.data.formats import Example, Plain
from kubetune_trainer.prepare.compared import Line
from kubetune_trainer.prepare.evaluation.asked import Asked, asked_of
from kubetune_trainer.prepare.evaluation.corpus import Corpus, Index, words
from kubetune_trainer.prepare.evaluation.exchange import exchange_of
from kubetune_trainer.prepare.evaluation.plan import plan_of, warnings
from kubetune_trainer.prepare.evaluation.requests import sent, sent_tools
from kubetune_trainer.prepare.evaluation.rows import spread
from kubetune_trainer.scoring.questions import PLAIN, Prompt, Question
from tests.support.trainer_configs import trainer_config


def rows(pairs: Iterable[tuple[str, str]]) -> list[tuple[Line, Example]]:
    return [
        (Line("train.jsonl", number), Plain(prompt=ask, completion=answer))
        for number, (ask, answer) in enumerate(pairs, start=1)
    ]


def asking(prompt: str, answer: str = "?") -> Asked:
    (asked,) = asked_of(Line("eval.jsonl", 1), Plain(prompt=prompt, completion=answer), "Last", None)
    return asked


def chat(*messages: dict[str, Any]) -> Conversation:
    return check_messages(list(messages), where="messages")


@pytest.mark.parametrize(("total", "most"), [(5, 10), (10, 10), (11, 10), (1_000_003, 200)])
def test_rows_are_drawn_from_every_part_of_a_file(total: int, most: int) -> None:
    drawn = spread(total, most, seed=1)
    assert len(drawn) == min(total, most)
    assert drawn == sorted(set(drawn))
    assert drawn[-1] < total
    assert [index * len(drawn) // total for index in drawn] == pytest.approx(list(range(len(drawn))), abs=1)


def test_of_a_large_corpus_each_row_has_the_same_chance() -> None:
    every = rows((f"q{number}", "a") for number in range(40))
    kept: Counter[int] = Counter()
    for seed in range(400):
        corpus = Corpus.sample(every, seed=seed, most=10)
        assert (len(corpus), corpus.seen) == (10, 40)
        lines = [corpus.line(row).number for row in range(10)]
        assert lines == sorted(lines), "in the order of the file"
        kept.update(lines)
    assert set(kept) == set(range(1, 41))
    assert max(kept.values()) < 150  # 100 on average, with a standard deviation of 9
    assert min(kept.values()) > 50


def test_a_row_is_in_the_corpus_once() -> None:
    corpus = Corpus.sample(rows([("q", "a"), ("Q!", "a"), ("q", "b")]), seed=0)
    assert [corpus.line(row).number for row in range(len(corpus))] == [1, 3]


def test_drawn_examples_have_as_many_answers_as_there_are_and_are_balanced() -> None:
    every = [(f"q{number}", "rare" if number == 50 else "ab"[number % 2]) for number in range(100)]
    corpus = Corpus.sample(rows(every), seed=0)
    for seed in range(20):
        drawn = corpus.drawn(5, seed=seed)
        answers = [every[corpus.line(row).number - 1][1] for row in drawn]
        assert set(answers[:3]) == {"a", "b", "rare"}
        assert set(answers[3:]) == {"a", "b"}
    assert corpus.drawn(5, seed=1) == corpus.drawn(5, seed=1) != corpus.drawn(5, seed=2)


def test_drawn_examples_ask_different_things() -> None:
    corpus = Corpus.sample(rows([("q", "a"), ("Q?", "b"), ("r", "a")]), seed=0)
    assert len(corpus.drawn(5, seed=0)) == 2


@pytest.mark.parametrize(
    ("train", "prompt", "answer"),
    [(("Is it red?", "yes"), "is it red", "no"), (("is it red", "no"), "is it red", "no")],
)
def test_a_row_that_asks_the_same_is_the_questions_own(
    train: tuple[str, str], prompt: str, answer: str
) -> None:
    corpus = Corpus.sample(rows([("is it blue", "no"), train]), seed=0)
    assert corpus.own(asking(prompt, answer).keys).tolist() == [False, True]


def test_an_example_is_the_questions_own_by_the_exchange_that_it_shows() -> None:
    row = chat(
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": "2"},
    )
    other = chat({"role": "user", "content": "two or more"}, {"role": "assistant", "content": "2"})
    corpus = Corpus.sample([(Line("t", 1), row), (Line("t", 2), other)], seed=0)
    assert corpus.own(asking("Two!").keys).tolist() == [True, False]
    assert corpus.own(asking("one").keys).tolist() == [False, False]


def test_the_nearest_have_rare_words_in_common_and_ties_keep_their_order() -> None:
    index = Index(["the red door", "the blue door", "the lamp", "the lamp"])
    without = index.nearest("nothing of it", 2, without=_none(4))
    assert without == [0, 1]
    assert index.nearest("THE BLUE lamp", 4, without=_none(4)) == [1, 2, 3, 0]
    masked = _none(4)
    masked[1] = True
    assert index.nearest("the blue lamp", 2, without=masked) == [2, 3]


def _none(count: int) -> Any:
    import numpy as np

    return np.zeros(count, dtype=np.bool_)


def test_texts_without_words_are_found_in_their_order() -> None:
    assert Index(["?", "..."]).nearest("what", 2, without=_none(2)) == [0, 1]
    assert Index(["a", "b"]).nearest("!", 1, without=_none(2)) == [0]


def test_scripts_without_spaces_have_a_word_per_character() -> None:
    assert words("Straße 12, 東京タワーへ行く") == ["strasse", "12", *"東京タワーへ行く"]


def test_the_example_of_a_conversation_is_its_last_learned_exchange_without_reasoning() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    row = chat(
        {"role": "system", "content": "s"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "hm"},
        {"role": "tool", "content": "3", "tool_call_id": "c"},
        {"role": "assistant", "content": "2", "reasoning_content": "I see"},
        {"role": "user", "content": "and?"},
        {"role": "assistant", "content": "no", "weight": 0},
    )
    found = exchange_of(row)
    assert found is not None
    assert (found.ask, found.answer) == ("two", "2")
    assert found.messages is not None
    assert [message["content"] for message in found.messages] == ["two", "", "3", "2"]
    assert not any("reasoning_content" in message for message in found.messages)
    alone = chat({"role": "system", "content": "s"}, {"role": "assistant", "content": "1"})
    assert exchange_of(alone) is None
    assert exchange_of(Plain(prompt=" ", completion="text")) is None


def test_messages_are_sent_as_openai_has_them() -> None:
    called = {"name": "f", "arguments": {"x": 1.5, "ü": None}}
    row = chat(
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": None, "reasoning_content": "hm",
         "tool_calls": [{"type": "function", "function": called}, {"id": "own", "function": called}]},
        {"role": "tool", "content": "3", "name": "f"},
        {"role": "assistant", "content": "c"},
    )  # fmt: skip
    function = {"name": "f", "arguments": '{"x": 1.5, "ü": null}'}
    assert sent(row.messages) == (
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {
            "role": "assistant",
            "content": "",
            "reasoning": "hm",
            "tool_calls": [
                {"id": "call00000", "type": "function", "function": function},
                {"id": "own", "type": "function", "function": function},
            ],
        },
        {"role": "tool", "content": "3", "name": "f"},
        {"role": "assistant", "content": "c"},
    )
    assert sent_tools(({"function": {"name": "f"}, "other": 1},)) == (
        {"type": "function", "function": {"name": "f"}},
    )


def question(**tokens: int) -> Question:
    prompts = {name: Prompt(text="p", tokens=count) for name, count in tokens.items()}
    return Question(id="1", file="f", line=1, turn=0, expected="x", prompts=prompts)


def config(**training: Any) -> Any:
    return trainer_config(
        model="hf://a/b",
        train="hf://a/b",
        training={"batch_size": 10, "epochs": 3, **training},
        evaluation={
            "metrics": [{"name": "ExactMatch", "type": "ExactMatch"}],
            "baselines": [{"type": name} for name in ("Base", "FewShot", "Retrieval")],
        },
    )


ROWS = DatasetSummary(
    fingerprint="f",
    train_rows=100,
    validation_rows=0,
    train_tokens=5_000,
    tokens_per_row=TokensPerRow(mean=50, p50=50, p95=50, max=50),
)


@pytest.mark.parametrize(
    ("training", "trained"),
    [({}, 15_000), ({"max_steps": 4}, 2_000), ({"batch_size": 64, "epochs": 1}, 5_000)],
)
def test_training_pays_after_requests_that_save_what_it_cost(training: dict[str, int], trained: int) -> None:
    asked = [
        question(**{PLAIN: 10, "FewShot": 110, "Retrieval": 70}),
        question(**{PLAIN: 20, "FewShot": 120, "Retrieval": 70}),
    ]
    assert plan_of(config(**training), asked, ROWS) == EvaluationPlan(
        rows=2,
        prompt_tokens={"Tuned": 15, "Base": 15, "FewShot": 115, "Retrieval": 70},
        detectable_difference=None,
        tokens_saved_per_request=55,
        break_even_requests=-(-3 * trained // 55),
    )


def test_without_longer_prompts_training_saves_nothing() -> None:
    plan = plan_of(config(), [question(**{PLAIN: 10, "FewShot": 10})], ROWS)
    assert (plan.tokens_saved_per_request, plan.break_even_requests) == (0, None)
    plan = plan_of(config(), [question(**{PLAIN: 10})], ROWS)
    assert (plan.tokens_saved_per_request, plan.break_even_requests) == (0, None)


@pytest.mark.parametrize(
    ("delta", "told"), [(None, False), ("0", False), ("0.05", True), ("0.1", False), ("0.2", False)]
)
def test_a_gate_finer_than_the_rows_is_told(delta: str | None, told: bool) -> None:
    plan = EvaluationPlan(rows=80, detectable_difference="0.1000")
    found = warnings(plan, GateConfig(metric="m", min_delta=delta))
    assert found == (
        [
            "80 rows can show a difference of 0.10 or more; evaluation.gate asks for more than 0.05: give "
            "more rows, or a lower confidence."
        ]
        if told
        else []
    )
    assert warnings(plan, None) == []
