"""The chat template of a job, what it is given, and where the server stops: as in training, so in serving."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest
from transformers import AutoTokenizer
from transformers.utils.chat_template_utils import _compile_jinja_template

from kubetune_trainer.artifact.chat import write_chat_files
from kubetune_trainer.contract.config import TrainerConfig
from kubetune_trainer.contract.errors import DataInvalid, ModelUnavailable
from kubetune_trainer.contract.layout import RunDirectory
from kubetune_trainer.template.bounded import bounded_render
from kubetune_trainer.template.ends import base_stops, write_stops
from kubetune_trainer.template.environment import compile_template
from kubetune_trainer.template.rendering import ChatTemplate, server_tool
from kubetune_trainer.template.source import ChatSource, chat_source
from tests.support.chat_templates import CHATML, stored_template
from tests.support.tiny_model import tiny_tokenizer
from tests.support.trainer_configs import trainer_config

pytestmark = pytest.mark.trainer

MESSAGES = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}]
TOOLS = [{"type": "function", "function": {"name": "look_up", "description": None, "parameters": None}}]
END = "<|im_end|>"


def source_of(models: Any, **fields: Any) -> Any:
    found = chat_source(tiny_tokenizer(chat_template=models), **fields)
    assert found is not None
    return found


def test_several_templates_become_one_that_chooses_as_the_library_does() -> None:
    named = {
        "default": "\n  {{ messages[0].content }}\n  \n",
        "tool_use": "\n{{ tools[0].function.name }} \n\n",
    }
    source = source_of(named)
    tokenizer = tiny_tokenizer(chat_template=named)
    for tools in (None, TOOLS):
        expected = tokenizer.apply_chat_template(MESSAGES, tools=tools, tokenize=False)
        assert source.compiled().render(messages=MESSAGES, tools=tools) == expected
        tokenizer.chat_template = source.text
        assert tokenizer.apply_chat_template(MESSAGES, tools=tools, tokenize=False) == expected
        tokenizer.chat_template = named


def test_several_templates_without_a_default_are_refused() -> None:
    with pytest.raises(ModelUnavailable, match=r"\(rag, tool_use\) and none of them is the default"):
        source_of({"rag": CHATML, "tool_use": CHATML})


def test_template_of_the_job_takes_the_place_of_the_model_s() -> None:
    assert source_of(CHATML, template="{{ messages }}").text == "{{ messages }}"
    assert source_of(None, template="{{ messages }}").text == "{{ messages }}"
    assert chat_source(tiny_tokenizer(chat_template=None)) is None


@pytest.mark.parametrize(
    ("template", "arguments", "message"),
    [
        ("{% for %}", {}, "dataset.chatTemplate is no Jinja template: "),
        (
            "{{ strftime_now(date_format) }}",
            {},
            "dataset.chatTemplate asks for today's date in a format that",
        ),
        (
            "{{ messages }}{{ mood }}{{ range(2) }}",
            {"enable_thinking": False},
            "chatTemplateKwargs has enable_thinking, which the chat template does not read; it knows mood.",
        ),
        (CHATML, {"mood": "calm"}, "which the chat template does not read; it knows none."),
        (
            CHATML,
            {"messages": "none"},
            "dataset.chatTemplateKwargs may not set messages: the server sets it.",
        ),
        (CHATML, {"eos_token": "x"}, "dataset.chatTemplateKwargs may not set eos_token: the server sets it."),
    ],
)
def test_template_and_arguments_that_cannot_be_used_are_named(
    template: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataInvalid) as caught:
        source_of(None, template=template, arguments=arguments)
    assert message in caught.value.message


def test_arguments_without_a_template_are_refused() -> None:
    with pytest.raises(DataInvalid, match="needs a chat template, and the model has none"):
        chat_source(tiny_tokenizer(chat_template=None), arguments={"enable_thinking": False})


def test_template_that_does_not_end_is_refused_by_its_time_and_by_what_it_writes() -> None:
    nothing = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    with pytest.raises(DataInvalid) as slow:
        bounded_render(compile_template(nothing), name="dataset.chatTemplate", seconds=0.2)
    assert slow.value.message == (
        "dataset.chatTemplate takes more than 0.2 seconds for one conversation, so it does not seem to end: "
        "give another in dataset.chatTemplate."
    )
    much = "{% for a in range(99999) %}{{ 'wide' * 9999 }}{% endfor %}"
    with pytest.raises(DataInvalid, match="writes more than 64 MiB"):
        bounded_render(compile_template(much), name="The model's chat template", seconds=60)


ATTACKS = {
    "computes a number without end": "{{ 10 ** (10 ** 9) }}",
    "computes one from what it is given": "{% set ns = namespace(n=messages | length + 9) %}"
    "{% for _ in range(999) %}{% set ns.n = ns.n * ns.n %}{% endfor %}",
    "takes a power of a power": "{% set n = messages | length + 9 %}{{ n ** (n ** n) }}",
    "repeats a text": "{{ 'x' * 10 ** 11 }}",
    "repeats a list": "{{ messages * 10 ** 11 }}",
    "fills with blanks": "{{ 'x' | center(10 ** 11) }}",
    "fills with blanks by a format": "{{ '%' ~ 10 ** 10 ~ 'd' | format(1) }}{{ ('%' ~ 10 ** 10 ~ 'd') % 1 }}",
    "doubles a list": "{% set ns = namespace(l=messages) %}"
    "{% for _ in range(99) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
    "doubles a text": "{% set ns = namespace(t='wide') %}"
    "{% for _ in range(99) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}",
    "is nested": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_template_takes_neither_the_time_nor_the_memory_that_it_likes(attack: str) -> None:
    """In a process of its own: what is not bounded ends with a test run, or takes the memory of others."""
    script = """
import resource, sys
from kubetune_trainer.contract.errors import DataInvalid
from kubetune_trainer.data.findings import Findings
from kubetune_trainer.template.rendering import ChatTemplate
from kubetune_trainer.template.source import ChatSource
import kubetune_trainer.template.environment
def most(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = most()
try:
    ChatTemplate(ChatSource(text=sys.argv[1], name="It")).render([{"role": "user", "content": "Where?"}])
except (DataInvalid, Findings) as error:
    print("refused", most() - before)
"""
    run = subprocess.run([sys.executable, "-c", script, attack], capture_output=True, text=True, timeout=100)
    assert run.stderr == ""
    said, most = run.stdout.split()
    assert (said, int(most) < 1200) == ("refused", True)


def test_a_template_that_is_slow_for_every_row_is_refused_by_the_average() -> None:
    slow = "{% for a in range(9999) %}{% endfor %}"
    template = ChatTemplate(ChatSource(text=slow, name="dataset.chatTemplate"), on_average=0, patience=0)
    with pytest.raises(
        DataInvalid, match=r"^dataset.chatTemplate takes \d+\.\d seconds for a conversation, over 1 of"
    ):
        template.render(MESSAGES)


PROBES = (
    "{{ 2 ** 10 }}{{ 3 * 4 }}{{ 'a' * 3 }}{{ 3 * 'a' }}{{ [1] * 2 }}{{ 0 ** 9 }}",
    "{{ 2 ** -1 }}{{ 1.5 * 2 }}{{ 2 ** 0.5 }}{{ (-3) * 'a' }}{{ true * 2 }}",
    "{{ m.role }}|{{ m['content'] }}|{{ m.nothing is defined }}|{{ m.items() | list | length }}",
    "{% set ns = namespace(a=1) %}{% set ns.a = 2 %}{{ ns.a }}{{ ns.b is defined }}",
    "{% for x in [1, 2] %}{{ loop.last }}{{ loop.index0 }}{{ loop.previtem is defined }}{% endfor %}",
    "{{ m.content.split('h')[0] }}{{ m.content.startswith('W') }}{{ '{0}'.format(m.role) }}",
    "{{ m.content.__class__ }}",
    "{{ m.__class__.__mro__ }}",
    "{{ namespace(a=1).__dict__ }}",
    "{% set _ = m.update({'role': 'x'}) %}",
    "{{ '{0.__class__}'.format(m) }}",
    "{{ m.content.mro }}{{ dict.__subclasses__ }}",
    "{% generation %}{{ m.content }}{% endgeneration %}{{ strftime_now('%Y') | length }}{{ m | tojson }}",
)


@pytest.mark.parametrize("probe", PROBES)
def test_quicker_sandbox_writes_and_refuses_what_the_library_s_does(probe: str) -> None:
    def outcome(template: jinja2.Template) -> str:
        try:
            return template.render(m={"role": "user", "content": "Where?"})
        except jinja2.TemplateError as error:
            return f"{type(error).__name__}: {error}"

    assert outcome(compile_template(probe)) == outcome(_compile_jinja_template(probe))


def test_tools_have_the_keys_that_the_server_gives_them() -> None:
    tool = {"function": {"parameters": {}, "name": "f", "note": "x", "strict": True}, "type": "function"}
    written = json.dumps(server_tool(tool))
    assert written == (
        '{"type": "function", '
        '"function": {"name": "f", "description": null, "parameters": {}, "strict": true}}'
    )


@pytest.mark.parametrize(
    ("files", "stops"),
    [
        ({"generation_config.json": {"eos_token_id": [3, 5]}, "config.json": {"eos_token_id": 7}}, (3, 5)),
        ({"generation_config.json": {"eos_token_id": 3}}, (3,)),
        ({"config.json": {"eos_token_id": 7}}, (7,)),
        ({"config.json": {"text_config": {"eos_token_id": 9}}}, (9,)),
        ({"generation_config.json": {}, "config.json": {"eos_token_id": 7}}, ()),
        ({}, ()),
    ],
)
def test_stops_of_a_base_are_where_the_server_looks_for_them(
    files: dict[str, Any], stops: tuple[int, ...], tmp_path: Path
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    assert base_stops(tmp_path) == stops


def test_ends_that_the_server_knows_need_no_file(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [3, 5]}')
    out = tmp_path / "out"
    out.mkdir()
    assert not write_stops(tmp_path, out, own=2, added=(2, 5))
    assert list(out.iterdir()) == []


def test_learned_ends_are_added_to_what_the_base_says(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text('{"temperature": 0.6, "eos_token_id": 3}')
    out = tmp_path / "out"
    out.mkdir()
    assert write_stops(tmp_path, out, own=2, added=(9, 3))
    written = json.loads((out / "generation_config.json").read_text())
    assert written == {"temperature": 0.6, "eos_token_id": [3, 2, 9]}


def written(
    tmp_path: Path, config: TrainerConfig, *, template: Any, ends: list[int]
) -> tuple[dict[str, Any], Path]:
    """What an artifact says of conversations, and the folder with its files."""
    base, run, out = tmp_path / "base", RunDirectory(tmp_path / "run"), tmp_path / "out"
    tiny_tokenizer(chat_template=template, eos="<|endoftext|>").save_pretrained(base)
    run.prepared.mkdir(parents=True)
    out.mkdir()
    run.dataset_file.write_text(json.dumps({"details": {"ends": ends}}))
    return write_chat_files(config, run, base, out), out


def test_artifact_brings_the_template_that_was_trained_with_its_arguments_and_ends(tmp_path: Path) -> None:
    llama = stored_template("llama3_2")
    dataset = {"chat_template": llama, "chat_template_kwargs": {"tools_in_user_message": False}}
    config = trainer_config(model="hf://acme/m", train="pvc://data/rows.jsonl", dataset=dataset)
    end = tiny_tokenizer().convert_tokens_to_ids(END)
    details, out = written(tmp_path, config, template=CHATML, ends=[end])
    assert details == {"chat_content": "string", "generation_config": True}
    published = AutoTokenizer.from_pretrained(out)
    assert published.chat_template == (out / "chat_template.jinja").read_text()
    assert "Today Date: 26 Jul 2024" in published.apply_chat_template(MESSAGES, tokenize=False)
    assert json.loads((out / "chat_template_kwargs.json").read_text()) == {"tools_in_user_message": False}
    assert end in json.loads((out / "generation_config.json").read_text())["eos_token_id"]


def test_artifact_of_a_model_without_a_template_brings_none(tmp_path: Path) -> None:
    config = trainer_config(model="hf://acme/m", train="pvc://data/rows.jsonl")
    details, out = written(tmp_path, config, template=None, ends=[])
    assert details == {"chat_content": None, "generation_config": False}
    assert not (out / "chat_template.jinja").exists()
    assert not (out / "generation_config.json").exists()
