"""Tells a person what is going on: a spinner with the time on a terminal, plain lines elsewhere.

Nothing is silent for long: without a terminal, a line every 20 seconds says that it is still going.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

_HEARTBEAT = 20.0  # seconds
_WORTH_A_TIME = 0.5  # seconds; below it a step's duration tells nothing

_spinning: list[
    str
] = []  # at most one: a terminal has room for one spinner, and a step may be part of another
# stdout belongs to results that other programs read, such as the kubeconfig's path.
console = Console(stderr=True, highlight=False)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Show that `title` is being done, and for how long, until the block ends."""
    start = time.monotonic()
    try:
        with _spinner(title) if console.is_terminal and not _spinning else _heartbeat(title):
            yield
    except BaseException:
        console.print(f"[red]failed[/red] {title} ({_seconds(start)})")
        raise
    elapsed = time.monotonic() - start
    suffix = f" ({_seconds(start)})" if elapsed >= _WORTH_A_TIME else ""
    console.print(f"[green]ok[/green] {title}{suffix}")


def note(text: str) -> None:
    """Print one line that is not a step; brackets in it are no markup, since it may be anybody's message."""
    console.print(text, soft_wrap=True, markup=False)


class Heartbeat:
    """Says without a terminal that a wait still goes on, when nothing else was said of it for long.

    For a loop that prints by itself: a step's heartbeat would not wait for a silence.
    """

    def __init__(self, title: str, *, clock: Callable[[], float]) -> None:
        self._title, self._clock = title, clock
        self._start = self._heard = clock()

    def note(self, text: str) -> None:
        """Print one line, as `note` does; it is a sign of life too."""
        note(text)
        self._heard = self._clock()

    def beat(self) -> None:
        """Print that it still goes on, if it is time to."""
        if not console.is_terminal and self._clock() - self._heard >= _HEARTBEAT:
            self.note(_still(self._title, self._clock() - self._start))


def _still(title: str, seconds: float) -> str:
    return f".. {title}: {seconds:.0f} s so far"


def _seconds(start: float) -> str:
    return f"{time.monotonic() - start:.1f} s"


@contextmanager
def _spinner(title: str) -> Iterator[None]:
    start = time.monotonic()
    with console.status(title) as status, _every(1.0, lambda: status.update(f"{title} {_seconds(start)}")):
        _spinning.append(title)
        try:
            yield
        finally:
            _spinning.pop()


@contextmanager
def _heartbeat(title: str) -> Iterator[None]:
    start = time.monotonic()
    with _every(_HEARTBEAT, lambda: note(_still(title, time.monotonic() - start))):
        yield


@contextmanager
def _every(seconds: float, action: Callable[[], object]) -> Iterator[None]:
    done = threading.Event()

    def beat() -> None:
        while not done.wait(seconds):
            action()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
