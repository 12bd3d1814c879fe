"""Steps as they are told, kept and shown: of one step what was measured last counts."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetune_gateway.jobs.steps import METRICS, Step, lines, merged, parse, table

STEPS = st.builds(
    Step,
    step=st.integers(1, 9),
    at=st.floats(0, 1e10),
    metrics=st.dictionaries(st.sampled_from(METRICS), st.floats(-1e9, 1e9), max_size=3),
)


@given(st.lists(STEPS, max_size=12))
def test_what_is_kept_comes_back(steps: list[Step]) -> None:
    assert list(parse(lines(steps))) == steps


@given(st.lists(STEPS, max_size=12, unique_by=lambda step: step.at), st.randoms())
def test_the_order_in_which_lines_are_read_does_not_matter(steps: list[Step], random: object) -> None:
    shuffled = list(steps)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    found = merged(shuffled)
    assert found == merged(steps) == merged(found)
    assert [step.step for step in found] == sorted({step.step for step in steps})


def test_a_later_attempt_wins_and_what_it_has_not_measured_yet_stays() -> None:
    first = Step(step=3, at=10.0, metrics={"train_loss": 2.0, "valid_loss": 3.0})
    again = Step(step=3, at=20.0, metrics={"train_loss": 1.0})
    found = [Step(step=3, at=20.0, metrics={"train_loss": 1.0, "valid_loss": 3.0})]
    assert merged([first, again]) == merged([again, first]) == found


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff",
        b"[" * 10_000,
        b"[]",
        b'{"step": 1}',
        b'{"step": 0, "time": 1}',
        b'{"step": true, "time": 1}',
        b'{"step": 1.5, "time": 1}',
        b'{"step": 100000000, "time": 1}',
        b'{"step": 1, "time": -1}',
        b'{"step": 1, "time": 1e300}',
        b'{"step": 1, "time": "soon"}',
    ],
)
def test_what_is_no_step_is_left_out(line: bytes) -> None:
    good = b'{"step": 2, "time": 5, "train_loss": 0.5, "valid_loss": NaN, "other": 1}'
    assert list(parse(line + b"\n" + good)) == [Step(step=2, at=5.0, metrics={"train_loss": 0.5})]


def test_a_result_file_has_the_columns_of_openai_and_those_of_azure() -> None:
    measured = {name: number / 10 for number, name in enumerate(METRICS, 1)}
    content = table(
        [Step(step=1, at=1.0, metrics=measured), Step(step=2, at=2.0, metrics={"train_loss": 1e-5})]
    )
    assert content.decode() == (
        "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy,full_valid_loss,"
        "full_valid_mean_token_accuracy,train_mean_token_accuracy,validation_mean_token_accuracy\n"
        "1,0.1,0.2,0.3,0.4,0.5,0.6,0.2,0.4\n"
        "2,1e-05,,,,,,,\n"
    )
    azure = {
        "step": "1",
        "train_loss": "0.1",
        "train_mean_token_accuracy": "0.2",
        "valid_loss": "0.3",
        "validation_mean_token_accuracy": "0.4",
        "full_valid_loss": "0.5",
        "full_valid_mean_token_accuracy": "0.6",
    }
    [first, _] = csv.DictReader(io.StringIO(content.decode()))
    assert azure.items() <= first.items()
