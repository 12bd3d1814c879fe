"""Judge: a model behind an OpenAI-compatible URL that grades answers by a rubric.

It is asked for a reason and an integer from 1 to 5 (Zheng et al. 2023, "Judging LLM-as-a-Judge", single
answer grading with a reference), and once more when what it says is no grade.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self

import openai
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

from ..contract.errors import InvalidInput, TrainerError, Transient, first_line
from ..contract.evaluation import JUDGE_KEY, JudgeConfig
from .grade import REMINDER, Grade, grading_prompt, read_grade
from .metric import Said
from .questions import Question

_TOKENS: Final = 2048
"""Of reasons and grade; models that think aloud need many."""

_REFUSES_ONE: Final = (400, 413, 422)
"""Status codes that are about what is asked, such as an answer longer than the judge's context."""

_log = logging.getLogger(__name__)


class NoGradeError(InvalidInput):
    """One answer has no grade: what the judge said is none, twice, or it does not take this answer."""


class Judge:
    """Asks for grades; for one event loop. It waits and asks again itself where a server is busy or away."""

    def __init__(self, name: str, config: JudgeConfig, key: str | None, *, retries: int = 4) -> None:
        """``name`` is the metric's; without a key the server is asked without one that it could know.

        Raises:
            InvalidInput: the key is none.
        """
        key = key and key.strip()  # a file that a Secret is made from ends with a newline
        self.config = config
        self._field = f"evaluation.metrics[{name}]"
        self._key = key
        self._retries = retries
        if key and not (key.isascii() and key.isprintable()):
            raise InvalidInput(
                f"The key of {self._field} has characters that no key has: correct {JUDGE_KEY} in the Secret "
                "of judge.credentials."
            )
        self._client = openai.AsyncOpenAI(
            base_url=config.url, api_key=key or "none", timeout=config.timeout_seconds, max_retries=retries
        )
        self._options: dict[str, Any] = {"temperature": 0, "seed": 0, "max_completion_tokens": _TOKENS}

    async def __aenter__(self) -> Self:
        """Nothing is asked yet."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def grade(self, question: Question, said: Said) -> Grade:
        """Grade what was said to a question.

        Raises:
            NoGradeError: the judge said no grade, and none when it was reminded, or refuses what it is asked.
            InvalidInput: the judge cannot be asked as it is configured.
            Transient: it does not answer now.
        """
        messages = grading_prompt(self.config.rubric, question, said)
        text = await self._ask(messages)
        if (grade := read_grade(text)) is not None:
            return grade
        messages += [{"role": "assistant", "content": text}, {"role": "user", "content": REMINDER}]
        if (grade := read_grade(await self._ask(messages))) is not None:
            return grade
        raise NoGradeError(
            f"The judge of {self._field}, {self.config.model}, gave no grade from 1 to 5, and none when it "
            "was reminded: take a model in judge.model that follows instructions."
        )

    async def check(self, question: Question) -> Grade:
        """Grade the expected answer: whether the judge can be asked, before anything is trained.

        Raises:
            InvalidInput, Transient: as ``grade``.
        """
        return await self.grade(question, Said(question.expected, question.expected_calls))

    async def _ask(self, messages: list[ChatCompletionMessageParam]) -> str:
        with self._explained():
            answer = await self._completion(messages)
        try:
            return answer.choices[0].message.content or ""
        except (AttributeError, LookupError, TypeError):  # the client takes any JSON, and text for text
            raise self._foreign() from None

    async def _completion(self, messages: list[ChatCompletionMessageParam]) -> ChatCompletion:
        """Ask, without what this server or model does not take: some have a temperature of their own."""
        while True:
            options = dict(self._options)
            try:
                return await self._client.chat.completions.create(
                    model=self.config.model, messages=messages, **options
                )
            except openai.BadRequestError as error:
                if error.param not in options:
                    raise
                _log.info("The judge of %s takes no %s: it is asked without.", self._field, error.param)
                self._options.pop(error.param, None)

    def _foreign(self) -> InvalidInput:
        return InvalidInput(
            f"The judge of {self._field} at {self.config.url} does not answer as OpenAI's API does: correct "
            "judge.url, which ends in /v1."
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say errors of the client in sentences. A wrong configuration is final, the rest is not."""
        who = f"The judge of {self._field} at {self.config.url}"
        try:
            yield
        except openai.APIStatusError as error:
            raise self._refused(who, error) from None
        except openai.APITimeoutError:
            raise Transient(
                f"{who} did not answer within {self.config.timeout_seconds} seconds: give it more in "
                "judge.timeoutSeconds, or take a faster model."
            ) from None
        except openai.APIConnectionError as error:
            why = first_line(error.__cause__ or error)
            raise Transient(f"{who} cannot be reached: {why}. Correct judge.url if it is wrong.") from None
        except (openai.OpenAIError, ValueError):
            raise self._foreign() from None

    def _refused(self, who: str, error: openai.APIStatusError) -> TrainerError:
        status = error.status_code
        if status in (401, 403):
            how = "does not accept the key of its Secret" if self._key else "wants a key"
            what = "correct the Secret of" if self._key else "name a Secret in"
            return InvalidInput(
                f"{who} {how} (status {status}): {what} judge.credentials, which has the key as {JUDGE_KEY}."
            )
        if status == 404:
            return InvalidInput(
                f"{who} has no model {self.config.model}, or is no OpenAI-compatible URL (status 404): "
                "correct judge.model, or judge.url, which ends in /v1."
            )
        if status == 429:
            return Transient(
                f"{who} has had too many requests (status 429), and waiting did not help: see to its quota, "
                "or take another judge."
            )
        if status < 500 and status not in (408, 409):
            body = error.body if isinstance(error.body, dict) else {}
            said = str(body.get("message") or body.get("detail") or "it says not why")[:300]
            kind = NoGradeError if status in _REFUSES_ONE else InvalidInput
            return kind(f"{who} refuses what it is asked (status {status}): {said.rstrip('.')}.")
        return Transient(f"{who} cannot be asked now: it answers with status {status}.")
