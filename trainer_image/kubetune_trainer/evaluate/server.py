"""A server that candidates answer through: one question, and what an answer that is none means."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import openai
from pydantic import BaseModel, ConfigDict

from ..contract.errors import BadRow, DataInvalid, InvalidInput, TrainerError
from ..scoring.metric import Said
from ..scoring.questions import PLAIN
from .api_key import key_in
from .candidates import Candidate
from .request import Request

_REFUSES_QUESTION = {400, 413, 422}
_PASSES = {401, 408, 409, 425}
"""Of codes below 500 those that may be another one soon.

401: a Secret that changes reaches one pod after another, and the spec may have named another one since this
run began, which the next run has.
"""

_REFUSED_SECONDS = 2.0
"""After which a server that has no room is asked again, where it says no time."""


class Answer(BaseModel):
    """A line of answers.jsonl, beside its key."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    text: str
    tool_calls: tuple[dict[str, Any], ...] = ()
    """In OpenAI's format."""
    finish_reason: str | None = None
    prompt_tokens: int
    completion_tokens: int
    started: float
    """When it was asked, in seconds since 1970."""
    seconds: float
    """Until the answer was there."""

    @property
    def said(self) -> Said:
        """What metrics and judges see: without the identifiers of calls, which are new each time."""
        calls = ({name: part for name, part in call.items() if name != "id"} for call in self.tool_calls)
        return Said(self.text, tuple(calls))


class NoRoomError(Exception):
    """The server holds as many requests as it takes; ``seconds`` is when to ask again."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"It has no room; to be asked again after {seconds:g} s.")
        self.seconds = seconds


class AwayError(Exception):
    """No answer: the server starts, is overloaded, or the network failed."""


class Server:
    """The server of one candidate, as its client."""

    def __init__(
        self,
        candidate: Candidate,
        connections: openai.DefaultAsyncHttpxClient,
        *,
        timeout: float,
        keys: Path | None = None,
    ) -> None:
        """``timeout`` is the longest that one answer may take, in seconds; ``keys`` a folder with keys."""
        self._candidate = candidate
        self._keys = keys
        self._client = openai.AsyncOpenAI(
            base_url=candidate.url,
            api_key=self._key,  # asked for each request
            max_retries=0,
            timeout=timeout,
            http_client=connections,  # shared: each takes a tenth of a second to make
        )

    @property
    def url(self) -> str:
        """Base URL."""
        return str(self._client.base_url)

    async def _key(self) -> str:
        if self._keys is None:
            return "none"
        key = key_in(self._keys)
        if key is None:
            raise AwayError("its Secret (serving.apiKey.secretName) has no key.")
        return key

    async def ask(self, request: Request) -> Answer:
        """Ask once.

        Raises:
            NoRoomError, AwayError: it is to be asked again later.
            DataInvalid: the server does not take this question.
            InvalidInput: the server is not the one that it should be.
        """
        started, clock = time.time(), time.monotonic()
        chat = "messages" in request.body
        create: Any = self._client.chat.completions.create if chat else self._client.completions.create
        try:
            found = await create(**request.body)
        except openai.APITimeoutError:
            raise AwayError(f"no answer within {time.monotonic() - clock:.0f} s") from None
        except openai.APIStatusError as error:
            raise self._meaning(error, request) from None
        except openai.APIError as error:
            cause = error.__cause__ or error
            raise AwayError(_said(str(cause) or type(cause).__name__)) from None
        if not found.choices:
            raise AwayError("an answer without choices")
        choice, usage = found.choices[0], found.usage
        calls = (chat and choice.message.tool_calls) or ()
        return Answer(
            text=(choice.message.content if chat else choice.text) or "",
            tool_calls=tuple(call.model_dump(exclude_none=True) for call in calls),
            finish_reason=choice.finish_reason,
            prompt_tokens=usage.prompt_tokens if usage else 0,
            completion_tokens=usage.completion_tokens if usage else 0,
            started=round(started, 3),
            seconds=round(time.monotonic() - clock, 4),
        )

    def _meaning(self, error: openai.APIStatusError, request: Request) -> Exception:
        status, said = error.status_code, _said(_message(error))
        if status == 429:
            return NoRoomError(_seconds(error.response.headers.get("retry-after")))
        if status >= 500 or status in _PASSES:
            return AwayError(f"HTTP {status}: {said}")
        if status in _REFUSES_QUESTION:
            return self._refusal(said, request)
        return self._wrong_server(status, said)

    def _refusal(self, said: str, request: Request) -> TrainerError:
        asked = request.question
        text = f"The server of {self._candidate.name} does not take this question: {said}"
        if "tool" in said and "choice" in said:
            text += " Set serving.engineArgs.tool-call-parser to the parser of the model's calls."
        if "context length" in said:  # without max-model-len it is as long as the memory allows for
            fewer = "evaluation.generation.maxTokens"
            if self._candidate.prompt != PLAIN:
                fewer += f" or the examples of evaluation.baselines {self._candidate.name}"
            text += f" Lower {fewer}, or give the server's GPUs more memory."
        row = BadRow(line=asked.line, kind="refused", message=text, file=asked.file)
        return DataInvalid(
            f"{asked.file}, line {asked.line}: {text}", rows=[row], classes={row.kind: 1}, errors=1
        )

    def _wrong_server(self, status: int, said: str) -> InvalidInput:
        return InvalidInput(
            f"The server of {self._candidate.name} at {self._candidate.url} does not answer as "
            f"{self._candidate.model} (HTTP {status}): {said}"
        )


def _message(error: openai.APIStatusError) -> str:
    body = error.body
    if isinstance(body, dict) and isinstance(inner := body.get("error", body), dict):
        return str(inner.get("message") or error.message)
    return error.message


def _said(text: str) -> str:
    """What a server says, as a short sentence."""
    line = (text.strip() or "nothing").splitlines()[0][:500]
    return line if line.endswith((".", "!", "?")) else f"{line}."


def _seconds(retry_after: str | None) -> float:
    try:
        return min(60.0, max(0.1, float(retry_after or "")))
    except ValueError:
        return _REFUSED_SECONDS
