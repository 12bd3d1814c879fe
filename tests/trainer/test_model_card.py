"""The artifact's card: how to use it must work as it is written, wherever the base model came from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from kubetune_trainer.artifact import model_card
from kubetune_trainer.artifact.model_card import Result
from kubetune_trainer.contract.config import ModelSource
from kubetune_trainer.contract.messages import ModelSummary
from tests.support.tiny_model import make_tiny_model
from tests.support.training_runs import Volume, make_rows, training_config

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # peft's
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the libraries that make the tiny model
]

PATH = "/output/models/0123456789abcdef"
"""Where the base is in the pod, and nowhere else."""


def use(tmp_path: Path, uri: str, **training: Any) -> str:
    """The last section of the card of a run on this base."""
    config = training_config(**training).model_copy(update={"model": ModelSource(uri=uri)})
    made = Volume(tmp_path / "output", config)
    made.prepare(Path(PATH), make_rows(12), [])
    base = ModelSummary(revision="abc", path=PATH, architecture="LlamaForCausalLM", parameters=1)
    result = Result(step=9, last_step=9, train=1.0, validation=None, first_validation=None)
    card = model_card.render(config, made.run, base, result, [], {})
    assert PATH not in card
    return card.partition("## Use\n\n")[2]


def test_adapter_of_a_hub_model_finds_its_base_itself(tmp_path: Path) -> None:
    text = use(tmp_path, "hf://org/tiny")
    assert text.startswith("DIRECTORY is this directory. With PEFT:")
    assert 'AutoPeftModelForCausalLM.from_pretrained("DIRECTORY")' in text
    assert "\nvllm serve org/tiny --enable-lora --lora-modules colours=DIRECTORY\n" in text


@pytest.mark.parametrize("uri", ["s3://bucket/models/tiny", "pvc://models/tiny"])
def test_adapter_of_any_other_base_is_told_where_the_base_is(tmp_path: Path, uri: str) -> None:
    text = use(tmp_path, uri)
    assert text.startswith(
        f"DIRECTORY is this directory, BASE is one with the files of the base model, {uri}. With PEFT:"
    )
    assert "\nvllm serve BASE --enable-lora --lora-modules colours=DIRECTORY\n" in text


def test_python_of_the_card_loads_the_adapter(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base, adapter = make_tiny_model(tmp_path / "base"), tmp_path / "adapter"
    settings = LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM")
    made = get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings)
    made.peft_config["default"].base_model_name_or_path = "s3://bucket/models/tiny"
    made.save_pretrained(adapter, save_embedding_layers=False)
    (code,) = re.findall(r"```python\n(.*?)```", use(tmp_path, "s3://bucket/models/tiny"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code.replace("DIRECTORY", str(adapter)).replace("BASE", str(base)), names)
    assert type(names["model"]).__name__ == "PeftModelForCausalLM"


def test_whole_model_needs_no_base(tmp_path: Path) -> None:
    text = use(tmp_path, "s3://bucket/models/tiny", adapter={"type": "Full"})
    assert text == (
        "DIRECTORY is this directory. With vLLM:\n\n"
        "```\nvllm serve DIRECTORY --served-model-name colours\n```\n"
    )
