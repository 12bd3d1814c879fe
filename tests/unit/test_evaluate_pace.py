"""How many questions are under way at once, against servers of which it is known how fast they answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kubetune_trainer.evaluate.pace import FIRST, Pace


class Clock:
    """A clock that is put forward."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Fixed(Pace):
    """As many as are said, as a bench asks."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self._fixed = level

    @property
    def level(self) -> int:
        return self._fixed

    @level.setter
    def level(self, _: int) -> None:
        pass


def simulate(
    speed: Callable[[int], float], questions: int, limit: int = 10**6, fixed: int | None = None
) -> tuple[Pace, float]:
    """Ask a server that gives ``speed(n)`` answers per second with n under way; the seconds it took."""
    clock = Clock()
    pace = Fixed(fixed) if fixed else Pace(clock=clock)
    under_way, left = 0, questions
    while under_way or left:
        refused = 0
        while left and under_way < pace.level:
            if under_way >= limit:
                refused += 1
                pace.refused(under_way)
                continue
            under_way, left = under_way + 1, left - 1
        clock.now += 1 / speed(under_way)
        under_way -= 1
        pace.answered()
    return pace, clock.now


def like(**measured: float) -> Callable[[int], float]:
    """The speed of a server that was measured with some numbers of requests under way."""
    points = sorted((int(name[1:]), value) for name, value in measured.items())

    def speed(number: int) -> float:
        below = max((point for point in points if point[0] <= number), default=points[0])
        above = min((point for point in points if point[0] >= number), default=points[-1])
        if below[0] >= above[0]:
            return below[1]
        part = (number - below[0]) / (above[0] - below[0])
        return below[1] + part * (above[1] - below[1])

    return speed


ADAPTER_ON_CPU = like(n1=1.76, n4=2.37, n16=1.99, n32=1.48, n64=1.20)
BASE_ON_CPU = like(n1=1.16, n4=2.43, n16=4.81, n64=5.00)
GPU = like(n1=5, n4=19, n16=70, n64=230, n256=600, n512=650)


@pytest.mark.parametrize(
    ("speed", "questions", "level"),
    [
        (ADAPTER_ON_CPU, 80, 4),
        (ADAPTER_ON_CPU, 400, 4),
        (BASE_ON_CPU, 200, 16),
        (BASE_ON_CPU, 400, 16),
        (GPU, 5000, 256),
    ],
)
def test_a_server_is_kept_nearly_as_busy_as_by_who_knows_it(
    speed: Callable[[int], float], questions: int, level: int
) -> None:
    pace, seconds = simulate(speed, questions)
    _, at_best = simulate(speed, questions, fixed=level)
    assert pace.level == level
    assert at_best >= 0.9 * seconds


def test_a_server_that_refuses_gets_as_many_as_it_holds() -> None:
    pace, _ = simulate(lambda number: float(number), 500, limit=24)
    assert pace.level == 24


def test_a_server_that_refuses_everything_is_asked_one_by_one() -> None:
    pace = Pace()
    for _ in range(FIRST):
        pace.refused(0)
    assert pace.level == 1


def test_what_was_measured_while_the_server_was_away_does_not_count() -> None:
    clock = Clock()
    pace = Pace(clock=clock)

    def answer(number: int, seconds: float) -> None:
        for _ in range(number):
            clock.now += seconds
            pace.answered()

    answer(2 * FIRST, 1.0)
    assert pace.level == 4 * FIRST
    answer(FIRST + 5, 0.3)
    clock.now += 600.0
    pace.disturbed()
    answer(8 * FIRST, 0.3)
    assert pace.level == 16 * FIRST
