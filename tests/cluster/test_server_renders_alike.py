"""What is learned, over all chat templates that are at hand: its context is what vLLM makes of a request.

tests/trainer/test_served_context.py has a reference that needs no serving image, and looks at the turns too.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jinja2.meta import find_undeclared_variables

from dev.kubectl import Kubectl
from kubetune.children.chat import chat_arguments
from kubetune_trainer.contract.config import OUTPUT_MOUNT
from kubetune_trainer.contract.errors import BadRow
from kubetune_trainer.data.chat import check_messages
from kubetune_trainer.data.tools import check_tools
from kubetune_trainer.prepare.evaluation import requests as questions
from tests.cluster.conftest import Cluster
from tests.support.conversations import (
    CONVERSATIONS,
    FORMS,
    TEMPLATES,
    TOKENIZERS,
    Learner,
    examples,
    learner,
    spans_of,
    trained_turns,
)
from tests.support.messages import ARTIFACT
from tests.support.trainer_configs import trainer_config

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

PROGRAM = Path(__file__).parents[1] / "support" / "server_renderings.py"
MODEL = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 100_000,
    "dtype": "float32",
}
"""config.json; no weights are needed to render."""

EVERY = CONVERSATIONS | FORMS


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A place in a conversation in which a client asks, and what it sends."""

    conversation: str
    turn: int
    body: dict[str, Any]


def asked(form: Callable[[list[dict[str, Any]], list[dict[str, Any]] | None], dict[str, Any]]) -> list[Asked]:
    """Every request that comes before a learned turn, in a form."""
    return [
        Asked(conversation=name, turn=turn, body=form(messages[:turn], tools))
        for name, (messages, tools) in EVERY.items()
        for turn in trained_turns(messages)
        if turn
    ]


def request(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> dict[str, Any]:
    """Body of a request as an OpenAI client sends it."""
    body: dict[str, Any] = {"model": "model", "messages": [sent(message) for message in messages]}
    if tools:
        body |= {"tools": tools, "tool_choice": "none"}  # else vLLM wants a parser of calls
    return body


def sent(message: dict[str, Any]) -> dict[str, Any]:
    """A message of a row, with reasoning under the name by which vLLM reads it."""
    names = {"reasoning_content": "reasoning"}
    return {names.get(key, key): value for key, value in message.items() if key != "weight"}


def question(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> dict[str, Any]:
    """Body of a request as an evaluation asks it."""
    checked = check_messages(messages, where="messages", needs_assistant=False)
    body: dict[str, Any] = {"model": "model", "messages": list(questions.sent(checked.messages))}
    if tools:
        offered = questions.sent_tools(check_tools(tools, None))
        body |= {"tools": list(offered), "tool_choice": "none"}
    return body


def case(name: str, own: Learner, folder: Path) -> dict[str, Any]:
    """A server of an artifact with the template, with the options that the operator gives it."""
    own.tokenizer.save_pretrained(folder)
    config = trainer_config(
        model="hf://a/b",
        train="hf://a/b/c.jsonl",
        dataset={"chat_template_kwargs": dict(own.source.arguments)},
    )
    content = "openai" if own.source.content_parts else "string"
    artifact = ARTIFACT.model_copy(update={"path": name, "chat_content": content, "generation_config": False})
    return {
        "directory": f"{OUTPUT_MOUNT}/{name}",
        "files": {file.name: file.read_text() for file in folder.iterdir()}
        | {"config.json": json.dumps(MODEL)},
        "options": chat_arguments(config, artifact),
    }


def learners() -> dict[str, Learner]:
    """Every template in every tokenizer, and those that can do without thinking also so."""
    found = {}
    for tokenizer in TOKENIZERS:
        for index, name in enumerate(TEMPLATES):
            own = found[f"{tokenizer}-{index}"] = learner(name, tokenizer)
            tree = own.source.compiled().environment.parse(own.source.text)
            if "enable_thinking" in find_undeclared_variables(tree):
                found[f"{tokenizer}-{index}-off"] = learner(name, tokenizer, enable_thinking=False)
    return found


def pod(namespace: str, image: str) -> dict[str, Any]:
    """A pod of the serving image, with room where servers have the artifact."""
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    environment = {
        "HOME": "/tmp",
        "USER": "kubetune",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "renderer", "namespace": namespace},
        "spec": {
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "terminationGracePeriodSeconds": 0,
            "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "output", "emptyDir": {}}],
            "containers": [
                {
                    "name": "renderer",
                    "image": image,
                    "command": ["sleep", "infinity"],
                    "env": [{"name": name, "value": value} for name, value in environment.items()],
                    "resources": {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"memory": "4Gi"}},
                    "securityContext": restricted,
                    "volumeMounts": [
                        {"name": "tmp", "mountPath": "/tmp"},
                        {"name": "output", "mountPath": OUTPUT_MOUNT},
                    ],
                }
            ],
        },
    }


def renderings(kubectl: Kubectl, namespace: str, given: dict[str, Any]) -> list[list[list[int] | str]]:
    """Ask vLLM in the image of this cluster's servers."""
    settings = kubectl.get("configmap", "kubetune-settings", "-n", "kubetune-system")["data"]
    kubectl.apply(pod(namespace, settings["KUBETUNE_SERVING_CPU_IMAGE"]))
    kubectl("wait", "--for=condition=Ready", "pod/renderer", "-n", namespace, "--timeout=600s")
    command = ["python3", "-c", PROGRAM.read_text()]
    told = kubectl("exec", "-i", "-n", namespace, "renderer", "--", *command, stdin=json.dumps(given))
    return json.loads(told)  # type: ignore[no-any-return]


@dataclass(slots=True)
class Compared:
    """How the turns that a template's rows learn compare with the server's prompts."""

    alike: int = 0
    different: list[str] = field(default_factory=list)
    """A sentence each."""


def compare(own: Learner, served: dict[tuple[str, int], list[int] | str]) -> Compared:
    """Compare contexts of learned turns with prompts, or refusals, by conversation and turn."""
    found = Compared()
    for name, (messages, tools) in EVERY.items():
        tokeniser = own.tokeniser()
        rows = examples(tokeniser, messages, tools)
        if isinstance(rows, BadRow):
            continue
        assert tokeniser.turns is not None
        contexts = [row.input_ids[:start].tolist() for row in rows for start, _ in spans_of(row)]
        turns = trained_turns(messages)[tokeniser.turns.notes.unasked :]
        as_text = tokeniser.turns.template.arguments_as_text  # a warning tells of these refusals
        for turn, context in zip(turns, contexts, strict=True):
            prompt, where = served[name, turn], f"{name}, message {turn + 1}"
            if prompt == context:
                found.alike += 1
            elif isinstance(prompt, str):
                if as_text and any("tool_calls" in message for message in messages[:turn]):
                    continue
                found.different.append(f"{where} is learned, but refused: {prompt}")
            else:
                wrote = [own.tokenizer.decode(ids) for ids in (context, prompt)]
                found.different.append(f"{where} is learned after {wrote[0]!r}, but asked by {wrote[1]!r}")
    return found


def test_learned_turns_follow_the_tokens_that_the_server_makes(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    own = learners()
    forms = {"client": asked(request), "evaluation": asked(question)}
    places = [(form, place) for form, found in forms.items() for place in found]
    given = {
        "requests": [place.body for _, place in places],
        "cases": [case(name, each, tmp_path / name) for name, each in own.items()],
    }

    answers = renderings(cluster.kubectl, namespace, given)

    compared = {}
    for (name, each), prompts in zip(own.items(), answers, strict=True):
        for form in forms:
            served = {
                (place.conversation, place.turn): prompt
                for (kind, place), prompt in zip(places, prompts, strict=True)
                if kind == form
            }
            compared[name, form] = compare(each, served)
    assert {key: found.different for key, found in compared.items() if found.different} == {}
    nothing = {
        list(TEMPLATES)[int(name.split("-")[1])] for (name, _), found in compared.items() if not found.alike
    }
    assert nothing == {"numbers", "ends the last turn"}  # they rewrite what came before
