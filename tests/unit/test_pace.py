"""The pace of status writes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kubetune.controller.rate import Pace
from kubetune.facts.views import Key, Kind


def _key(number: int) -> Key:
    return Key(Kind.FINE_TUNE_JOB, "team", f"job-{number}")


def test_a_burst_passes_at_once_and_the_rest_at_the_rate() -> None:
    pace = Pace(per_second=1, burst=3)
    assert [pace.delay(_key(n), 100) for n in range(6)] == [0, 0, 0, 1, 2, 3]


def test_a_key_that_waits_keeps_its_one_turn() -> None:
    pace = Pace(per_second=1, burst=1)
    pace.delay(_key(0), 100)
    assert pace.delay(_key(1), 100) == 1
    assert pace.delay(_key(1), 100.5) == 0.5
    assert pace.delay(_key(1), 101) == 0
    assert pace.delay(_key(2), 101) == 1


def test_a_turn_that_is_given_up_is_not_taken_later() -> None:
    pace = Pace(per_second=1, burst=1)
    pace.delay(_key(0), 100)
    pace.delay(_key(1), 100)
    pace.forget(_key(1))
    assert pace.delay(_key(1), 101) == 1


def test_a_pause_saves_up_a_burst_and_no_more() -> None:
    pace = Pace(per_second=1, burst=3)
    for n in range(3):
        pace.delay(_key(n), 0)
    assert [pace.delay(_key(n), 10_000) for n in range(4)] == [0, 0, 0, 1]


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 2, width=16)), max_size=60))
def test_no_more_writes_pass_than_rate_and_burst_allow(asked: list[tuple[int, float]]) -> None:
    pace, now, passed = Pace(per_second=1, burst=4), 1000.0, 0
    for number, pause in asked:
        now += pause
        passed += pace.delay(_key(number), now) == 0
        assert passed <= 4 + (now - 1000) + 1
