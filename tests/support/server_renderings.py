"""Runs in a serving image: tokens of requests, from vLLM's own handling of them.

Read from standard input, as JSON: ``requests``, bodies of ``/v1/chat/completions``; and ``cases``, each with
``directory``, ``files`` to be in it (a model without weights: text by name), and ``options`` of the server.
Written to standard output: for each case, for each request, the prompt's tokens, or why it is refused.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from starlette.datastructures import State
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.entrypoints.launchers.render.app_state import init_render_app_state
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.serve.engine.protocol import ErrorResponse
from vllm.exceptions import VLLMValidationError
from vllm.utils.argparse_utils import FlexibleArgumentParser


async def renderer_of(case: dict[str, Any]) -> Any:
    """What renders requests in a server with the case's options, put together as the server does it."""
    options = ["--model", case["directory"], *case["options"]]
    args = make_arg_parser(FlexibleArgumentParser()).parse_args(options)
    state = State()
    await init_render_app_state(AsyncEngineArgs.from_cli_args(args).create_engine_config(), state, args)
    return state.online_renderer


async def answer(renderer: Any, body: dict[str, Any]) -> list[int] | str:
    """Tokens of a request's prompt, or the server's refusal."""
    try:
        found = await renderer.render_chat(ChatCompletionRequest.model_validate(body))
    except VLLMValidationError as error:
        return str(error)
    if isinstance(found, ErrorResponse):
        return found.error.message
    return list(found[1][0]["prompt_token_ids"])


async def answered(given: dict[str, Any]) -> list[list[list[int] | str]]:
    """Answers to all requests, by case."""
    answers = []
    for case in given["cases"]:
        renderer = await renderer_of(case)
        # a request's handling writes into it
        bodies = [json.loads(json.dumps(body)) for body in given["requests"]]
        answers.append([await answer(renderer, body) for body in bodies])
        renderer.renderer.shutdown()
    return answers


def main() -> None:
    given = json.load(sys.stdin)
    for case in given["cases"]:
        directory = Path(case["directory"])
        directory.mkdir(parents=True)
        for name, text in case["files"].items():
            (directory / name).write_text(text)
    json.dump(asyncio.run(answered(given)), sys.stdout)


if __name__ == "__main__":
    main()
