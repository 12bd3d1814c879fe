"""Adapters of every family are published under the names of its checkpoint, and have their effect."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from kubetune_trainer.base.architecture import inspect, trainable
from kubetune_trainer.base.checkpoint import tensor_shapes
from kubetune_trainer.contract.config import AdapterConfig
from kubetune_trainer.contract.errors import InvalidInput
from tests.support.tiny_model import make_tiny_of
from tests.support.training_runs import Volume, make_rows, train, training_config

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the libraries that make the tiny models
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys:RuntimeWarning"),  # peft's own
]

URI = "hf://org/tiny"
LAYER = {
    "llama": "model.layers.0.self_attn.q_proj",
    "qwen3_5": "model.language_model.layers.0.linear_attn.in_proj_qkv",
    "gemma3": "language_model.model.layers.0.self_attn.q_proj",
    "llama4": "language_model.model.layers.1.feed_forward.shared_expert.up_proj",
    "qwen2_moe": "model.layers.0.mlp.shared_expert.up_proj",
    "mixtral": "model.layers.1.block_sparse_moe.experts.3.w3",
}
"""A module of each family that is adapted, as its checkpoint calls it."""

NEVER = ("vision", "visual", "projector", "router", ".gate.")


class Trained:
    """A run of a family."""

    def __init__(self, family: str, root: Path) -> None:
        self.family = family
        self.base = make_tiny_of(family, root / "model")
        self.volume = Volume(root / "output", training_config(epochs=1, checkpoint_every_steps=100))
        self.volume.prepare(self.base, make_rows(24), make_rows(12, seed=2))
        self.volume.environment = {"KUBETUNE_DTYPE": "float32"}
        (self.pod,) = train(self.volume, root)
        assert self.pod.process.returncode == 0, self.pod.log

    @property
    def adapter(self) -> Path:
        """The published directory."""
        return self.volume.run.adapter

    def load(self) -> Any:
        """The adapter on its base, by PEFT as the model card says."""
        card = (self.adapter / "README.md").read_text()
        (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
        names: dict[str, Any] = {}
        settings = json.loads((self.adapter / "adapter_config.json").read_text())
        local = settings | {"base_model_name_or_path": str(self.base), "revision": None}
        (self.adapter / "adapter_config.json").write_text(json.dumps(local))
        try:
            exec(code.replace("DIRECTORY", str(self.adapter)).replace("org/tiny", str(self.base)), names)
        finally:
            (self.adapter / "adapter_config.json").write_text(json.dumps(settings, indent=2))
        return names["model"].eval()


@pytest.fixture(scope="module", params=sorted(LAYER))
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(request.param, tmp_path_factory.mktemp(request.param))


def test_every_matrix_is_named_after_one_of_the_checkpoint(trained: Trained) -> None:
    base, adapter = tensor_shapes(trained.base, URI), tensor_shapes(trained.adapter, URI)
    modules = {name.removeprefix("base_model.model.").rpartition(".lora_")[0] for name in adapter}
    assert LAYER[trained.family] in modules
    for module in modules:
        rows, columns = base[f"{module}.weight"]
        assert adapter[f"base_model.model.{module}.lora_A.weight"] == (4, columns)
        assert adapter[f"base_model.model.{module}.lora_B.weight"] == (rows, 4)
    assert len(adapter) == 2 * len(modules)
    assert [name for name in modules if any(part in f"{name}." for part in NEVER)] == []
    settings = json.loads((trained.adapter / "adapter_config.json").read_text())
    assert settings["target_parameters"] is None
    last_parts = {name.rpartition(".")[2] for name in modules}
    assert {target.rpartition(".")[2] for target in settings["target_modules"]} == last_parts


def test_peft_loads_all_of_it(trained: Trained) -> None:
    import torch

    model = trained.load()
    adapted = [parameter for name, parameter in model.named_parameters() if ".lora_B." in name]
    assert adapted
    assert all(parameter.any() for parameter in adapted), "every B was trained"
    row = torch.tensor([make_rows(1, seed=2)[0]["input_ids"]])
    with torch.no_grad():
        tuned = model(row).logits
        with model.disable_adapter():
            base = model(row).logits
    assert (tuned - base).abs().max() > 0.01


def test_a_full_fine_tune_that_would_lose_the_images_is_refused(tmp_path: Path) -> None:
    full = AdapterConfig(type="Full")
    found = inspect(make_tiny_of("llama4", tmp_path / "llama4"), URI)
    with pytest.raises(
        InvalidInput, match=r"Full would lose a part of hf://org/tiny \(multi_modal_projector"
    ):
        trainable(found, full, URI)
    for family in ("gemma3", "llama", "mixtral", "qwen2_moe", "qwen3_5"):
        found = inspect(make_tiny_of(family, tmp_path / family), URI)
        assert trainable(found, full, URI).parameters == found.parameters


def test_the_canary_says_what_the_published_files_say(trained: Trained) -> None:
    import torch

    record = json.loads((trained.adapter / "canary.json").read_text())
    assert (record["version"], record["dtype"], record["model_dtype"]) == (1, "float32", "float32")
    assert 8 <= len(record["questions"]) <= 20
    assert sum(len(question["prompt"]) for question in record["questions"]) <= 1000
    model = trained.load()
    assert record["architecture"] == type(model.get_base_model()).__name__
    differences = []
    for question in record["questions"]:
        prompt = torch.tensor([question["prompt"]])
        with torch.no_grad():
            tuned = float(model(prompt).logits[0, -1].log_softmax(-1)[question["token"]])
            with model.disable_adapter():
                base = float(model(prompt).logits[0, -1].log_softmax(-1)[question["token"]])
        assert tuned == pytest.approx(question["tuned"], abs=1e-4)
        assert base == pytest.approx(question["base"], abs=1e-4)
        differences.append(abs(tuned - base))
    assert max(differences) > 0.1
