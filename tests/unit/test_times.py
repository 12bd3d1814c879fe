"""Times, as they are in the API server's objects."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetune.vocabulary.times import parse_time, rfc3339, rfc3339_micro

PARIS = timezone(timedelta(hours=1))


def test_times_are_written_in_utc_and_whole_seconds() -> None:
    moment = datetime(2026, 1, 2, 0, 30, 59, 999_999, tzinfo=PARIS)
    assert rfc3339(moment) == "2026-01-01T23:30:59Z"
    assert rfc3339_micro(moment) == "2026-01-01T23:30:59.999999Z"
    assert rfc3339_micro(moment.replace(microsecond=0)) == "2026-01-01T23:30:59.000000Z"


@given(st.datetimes(min_value=datetime(1, 1, 2), timezones=st.just(UTC)))
def test_what_is_written_is_read_again(moment: datetime) -> None:
    assert parse_time(rfc3339(moment)) == moment.replace(microsecond=0)
    assert parse_time(rfc3339_micro(moment)) == moment


@pytest.mark.parametrize("text", [None, "", "yesterday", "2026-13-01T00:00:00Z"])
def test_what_is_no_time_is_none(text: str | None) -> None:
    assert parse_time(text) is None
