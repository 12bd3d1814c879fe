"""Asks one candidate many questions: concurrently, and for as long as its server may take to come back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..contract.errors import Transient, VolumeUnusable
from .kept import Kept
from .pace import Pace
from .request import Request, without_repeats
from .server import Answer, AwayError, NoRoomError, Server

logger = logging.getLogger(__name__)

PATIENCE_VARIABLE, TIMEOUT_VARIABLE = "KUBETUNE_EVALUATE_PATIENCE", "KUBETUNE_EVALUATE_TIMEOUT"
"""Environment variables with other seconds than those of Patience (tests)."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0
_LOG_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long is waited."""

    away: float = 900.0
    """Seconds without any answer: a server that is scheduled and loaded anew."""
    answer: float = 600.0
    """Seconds for one answer."""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Patience:
        """What tests ask for, else the usual."""
        usual = cls()
        return cls(
            away=float(environment.get(PATIENCE_VARIABLE, usual.away)),
            answer=float(environment.get(TIMEOUT_VARIABLE, usual.answer)),
        )


class Outage:
    """How long a server has not answered, and when it is asked again."""

    def __init__(
        self, what: str, url: str, patience: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``what`` begins the sentence of the error; ``url`` says where its log is."""
        self._what = what
        self._log = _log_of(url)
        self._patience = patience
        self._clock = clock
        self._last = clock()
        self._pause = _FIRST_PAUSE

    def over(self) -> None:
        """It has answered."""
        self._last, self._pause = self._clock(), _FIRST_PAUSE

    def goes_on(self, why: str) -> float:
        """It has not, and here is why; the seconds until it should be asked again.

        Raises:
            Transient: it has been away for too long.
        """
        if self._clock() - self._last > self._patience:
            raise Transient(
                f"{self._what} has not answered for {self._patience:g} seconds, the last time with: {why} "
                f"{self._log} shows what it does. What was answered before is kept: an evaluator that is "
                "started again asks the rest."
            )
        if self._pause == _FIRST_PAUSE:
            logger.warning("%s does not answer: %s It is asked again for a while.", self._what, why)
        pause = min(self._pause, max(0.05, self._patience / 4))
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        return pause


class Asking:
    """Asks the questions of one candidate, and keeps every answer as it comes."""

    def __init__(self, name: str, server: Server | None, kept: Kept[Answer], patience: float) -> None:
        """``patience`` is how long the candidate's server may be away, in seconds; None: it is gone."""
        self._name = name
        self._server = server
        self._kept = kept
        self._patience = patience

    async def ask(self, requests: Iterable[Request], answered: Callable[[Request], None]) -> None:
        """Ask what was not answered before; ``answered`` is called for each one once it is kept.

        Raises:
            Transient: the server was away for too long.
            InvalidInput: it will not answer, or it is gone and answers are missing.
            OSError: the volume failed.
        """
        whole = without_repeats(requests)
        pending: deque[Request] = deque()
        for request in whole:
            if request.key in self._kept:
                answered(request)
            else:
                pending.append(request)
        if not pending:
            return
        if self._server is None:
            raise VolumeUnusable(
                f"Answers of {self._name} are missing in answers.jsonl, and its server, which an earlier run "
                "has asked, is gone: make the job again."
            )
        pace = Pace()
        outage = Outage(f"The server of {self._name}", self._server.url, self._patience)
        told = _Told(self._name, len(whole), len(whole) - len(pending))
        running: dict[asyncio.Task[None], Request] = {}
        try:
            while pending or running:
                while pending and len(running) < pace.level:
                    request = pending.popleft()
                    running[asyncio.create_task(self._one(self._server, request))] = request
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                ended = [(running.pop(task), task) for task in done]
                room, away = 0.0, ""
                for request, task in ended:
                    try:
                        task.result()
                    except (NoRoomError, AwayError) as error:
                        pending.append(request)
                        told.again()
                        if isinstance(error, AwayError):
                            away = str(error)
                        else:
                            pace.refused(len(running))
                            room = error.seconds
                    else:
                        pace.answered()
                        outage.over()
                        told.one()
                        answered(request)
                if away:
                    pace.disturbed()
                    await asyncio.sleep(outage.goes_on(away))
                elif room and not running:  # others have the places: none gets free by an answer
                    await asyncio.sleep(room)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        told.all(pace.level)

    async def _one(self, server: Server, request: Request) -> None:
        # Kept here, so that an answer that came is not lost by what another one raises.
        self._kept.add(request.key, await server.ask(request))


def _log_of(url: str) -> str:
    """How to see the log of a server: by its Service, whose URL is ``http://<name>.<namespace>.svc/v1``."""
    host = (urlsplit(url).hostname or "").split(".")
    if len(host) != 3 or host[2] != "svc":
        return "The log of its pod"
    return f"`kubectl logs -n {host[1]} service/{host[0]}`"


class _Told:
    """Says in the log how far it is."""

    def __init__(self, name: str, whole: int, done: int) -> None:
        self._name, self._whole, self._done = name, whole, done
        self._before, self._retries = done, 0
        self._began = self._said = time.monotonic()

    def one(self) -> None:
        """One more is answered."""
        self._done += 1
        if time.monotonic() - self._said >= _LOG_SECONDS:
            self._said = time.monotonic()
            self._say("")

    def again(self) -> None:
        """One has to be asked again."""
        self._retries += 1

    def all(self, level: int) -> None:
        """Every question is answered."""
        if self._whole > 1:
            self._say(f", {level} at once")

    def _say(self, more: str) -> None:
        speed = (self._done - self._before) / max(time.monotonic() - self._began, 1e-9)
        logger.info(
            "%s: %d of %d questions, %.1f per second, %d retries%s",
            self._name,
            self._done,
            self._whole,
            speed,
            self._retries,
            more,
        )
