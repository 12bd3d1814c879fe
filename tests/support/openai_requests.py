"""What OpenAI's API documents for chat and completions, and what people try to break vLLM with."""

from __future__ import annotations

import json
from typing import Any, Final

Request = tuple[str, bytes]
"""Path and body."""

Fields = dict[str, Any]

_WORDS: Final = "The build queue has not moved since noon. "
_FUNCTION: Final = {"type": "function", "function": {"name": "page", "parameters": {"type": "object"}}}
_ANSWER: Final = {"type": "object", "properties": {"team": {"type": "string"}}, "required": ["team"]}


def documented(model: str) -> dict[str, Request]:
    """Return requests that have to be answered with 200, by what they are about."""
    chats: dict[str, Fields] = {
        "plain": {},
        "greedy": {"temperature": 0},
        "sampling": {"temperature": 1.2, "top_p": 0.9, "seed": 11},
        "several": {"n": 3, "temperature": 1},
        "limit": {"max_completion_tokens": 3},
        "penalties": {"frequency_penalty": 1.5, "presence_penalty": -1.5},
        "bias": {"logit_bias": {"17": -100, "23": 5}},
        "log-probabilities": {"logprobs": True},
        "alternatives": {"logprobs": True, "top_logprobs": 20},
        "stop": {"stop": ["\n", "."]},
        "stream": {"stream": True},
        "stream with usage": {"stream": True, "stream_options": {"include_usage": True}},
        "stream with log-probabilities": {"stream": True, "logprobs": True, "top_logprobs": 4},
        "object": {"response_format": {"type": "json_object"}},
        "schema": {
            "response_format": {"type": "json_schema", "json_schema": {"name": "team", "schema": _ANSWER}}
        },
        "no tool": {"tools": [_FUNCTION], "tool_choice": "none"},
        "effort": {"reasoning_effort": "low"},
        "for the account": {"user": "u", "store": False, "metadata": {"a": "b"}, "service_tier": "auto"},
        "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": _WORDS}]}]},
        "turns": {
            "messages": [
                {"role": "system", "content": "Name the team."},
                {"role": "user", "content": _WORDS},
                {"role": "assistant", "content": "storage"},
                {"role": "user", "content": "Are you sure?"},
            ]
        },
    }
    completions: dict[str, Fields] = {
        "plain": {},
        "several": {"n": 2, "temperature": 1},
        "best of": {"best_of": 2, "temperature": 1},
        "prompts": {"prompt": ["one", "two", "three"]},
        "token ids": {"prompt": [5, 6, 7]},
        "lists of token ids": {"prompt": [[5, 6], [7]]},
        "echo": {"echo": True},
        "log-probabilities": {"logprobs": 5},
        "the token alone": {"logprobs": 0},
        "a forced token": {"prompt": [5, 6, 7], "max_tokens": 1, "logprobs": 0, "allowed_token_ids": [9]},
        "stop": {"stop": "."},
        "penalties": {"frequency_penalty": 2, "presence_penalty": 2},
        "bias": {"logit_bias": {"17": 100}},
        "stream": {"stream": True, "logprobs": 2, "stream_options": {"include_usage": True}},
        "seed": {"seed": -(2**63), "temperature": 2},
        "user": {"user": "u"},
    }
    return _named(model, chats, completions)


def attacks(model: str) -> dict[str, Request]:
    """Return requests that may be refused, or answered, but must end nothing."""
    chats: dict[str, Fields] = {
        "prompt's log-probabilities": {"prompt_logprobs": 1},
        "echo": {"echo": True},
        "too many alternatives": {"logprobs": True, "top_logprobs": 10_000},
        "a schema without end": _schema({"$ref": "#"}),
        "a schema of nonsense": _schema({"type": "nonsense", "pattern": "(((("}),
        "a deep schema": _schema(json.loads('{"items":' * 500 + "{}" + "}" * 500)),
        "a bad pattern": _schema({"type": "string", "pattern": "(b+)+$("}),
        "a bad expression": {"structured_outputs": {"regex": "[[[["}},
        "a long expression": {"structured_outputs": {"regex": "[a-z]{1,90000}"}},
        "a bad grammar": {"structured_outputs": {"grammar": "root ::= missing"}},
        "a grammar without end": {"structured_outputs": {"grammar": "root ::= root root"}},
        "a tool that must be called": {"tools": [_FUNCTION], "tool_choice": "required"},
        "an image": {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/a.png"}}],
                }
            ]
        },
        "no message": {"messages": []},
        "a role of nobody's": {"messages": [{"role": "nobody", "content": "x"}]},
        "a template": {"chat_template": "{% for i in range(10**9) %}{% endfor %}"},
        "arguments of the template": {"chat_template_kwargs": {"tokenize": True, "conversation": 1}},
        "repetition": {"repetition_detection": {"max_pattern_size": 2**40, "min_count": 0}},
        "beams": {"use_beam_search": True, "n": 4, "logprobs": True, "top_logprobs": 5},
    }
    completions: dict[str, Fields] = {
        "prompt's log-probabilities": {"prompt_logprobs": 0},
        "echo with log-probabilities": {"echo": True, "logprobs": 0},
        "embeddings": {"prompt_embeds": "AAAA"},
        "very many answers": {"n": 10**9},
        "very many prompts": {"prompt": ["x"] * 5000},
        "no answer": {"n": -1},
        "huge top_k": {"top_k": 2**80, "temperature": 1},
        "tiny temperature": {"temperature": 1e-300},
        "huge penalty": {"repetition_penalty": 1e300},
        "token of no vocabulary": {"prompt": [10**9]},
        "token beyond 64 bits": {"prompt": [2**70]},
        "stop token of no vocabulary": {"stop_token_ids": [10**9], "min_tokens": 2},
        "negative stop token": {"stop_token_ids": [-3], "min_tokens": 2},
        "only a token of no vocabulary": {"allowed_token_ids": [10**9]},
        "bias of no vocabulary": {"logit_bias": {"99999999": 1}},
        "log-probabilities of no vocabulary": {"logprobs": 1, "logprob_token_ids": [-5]},
        "bad words": {"bad_words": ["w"] * 5000},
        "a long prompt": {"prompt": "word " * 50_000},
        "half a character": {"prompt": "\ud800"},
        "huge answer": {"max_tokens": 2**70},
        "transfer": {"kv_transfer_params": {"do_remote_prefill": True, "remote_host": "x"}},
        "same identity": {"request_id": "same"},
        "lengths of beams": {"use_beam_search": True, "n": 2, "length_penalty": 1e300},
    }
    raw: dict[str, Request] = {
        "completions: infinite bias": (
            "/v1/completions",
            b'{"model":"%b","prompt":"a","max_tokens":2,"logit_bias":{"5":1e999}}' % model.encode(),
        ),
        "completions: nested": ("/v1/completions", b'{"prompt":' + b"[" * 100_000),
        "completions: no JSON": ("/v1/completions", b"\xff\xfe\x00"),
        "tokenize: much": ("/tokenize", json.dumps({"model": model, "prompt": "x" * 10**6}).encode()),
        "detokenize: no vocabulary": ("/detokenize", b'{"tokens":[999999999]}'),
    }
    return _named(model, chats, completions) | raw


CLOSED: Final = (
    ("POST", "/invocations"),
    ("POST", "/adapters"),
    ("DELETE", "/adapters/base"),
    ("POST", "/v1/load_lora_adapter"),
    ("POST", "//v1/load_lora_adapter"),
    ("POST", "/v1%2Fload_lora_adapter"),
    ("POST", "//v1/completions"),
    ("POST", "/v1/completions/"),
    ("POST", "/v1/completions/render"),
    ("POST", "/v1/chat/completions/batch"),
    ("POST", "/inference/v1/generate"),
    ("POST", "/generative_scoring"),
    ("POST", "/v1/responses"),
    ("POST", "/v1/messages"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/load"),
    ("GET", "/ping"),
)
"""Methods and paths that vLLM mounts, or takes for such, and that nobody needs."""


def _schema(schema: Any) -> Fields:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}}


def _named(model: str, chats: dict[str, Fields], completions: dict[str, Fields]) -> dict[str, Request]:
    messages = [{"role": "user", "content": _WORDS}]
    chat = {"model": model, "messages": messages, "max_tokens": 3}
    completion = {"model": model, "prompt": _WORDS, "max_tokens": 3}
    return {
        f"chat: {name}": ("/v1/chat/completions", json.dumps(chat | fields).encode())
        for name, fields in chats.items()
    } | {
        f"completions: {name}": ("/v1/completions", json.dumps(completion | fields).encode())
        for name, fields in completions.items()
    }
