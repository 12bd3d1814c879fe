"""No damaged weights are published, and the message names the tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kubetune_trainer.artifact.checks import check_named_after_base, check_weights
from kubetune_trainer.contract.errors import AdapterInvalid
from kubetune_trainer.contract.messages import ExitCode

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.trainer

Tensors = "dict[str, torch.Tensor]"
A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
B = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"
EXPECTED = {A: (4, 64), B: (64, 4)}


def tensors() -> Tensors:
    import torch

    return {A: torch.ones(4, 64), B: torch.ones(64, 4)}


def save(directory: Path, weights: Tensors) -> None:
    from safetensors.torch import save_file

    save_file(weights, directory / "adapter_model.safetensors")


def check(directory: Path) -> None:
    check_weights(directory, EXPECTED, lora=True)


def test_whole_weights_pass(tmp_path: Path) -> None:
    save(tmp_path, tensors())
    check(tmp_path)


def missing(weights: Tensors) -> None:
    del weights[B]


def left_over(weights: Tensors) -> None:
    weights["base_model.model.lm_head.lora_A.weight"] = weights[A].clone()


def empty(weights: Tensors) -> None:
    weights[A] = weights[A][:0]


def of_another_rank(weights: Tensors) -> None:
    weights[A] = weights[A][:2].clone()


def not_a_number(weights: Tensors) -> None:
    weights[A][3, 63] = float("nan")


def infinite(weights: Tensors) -> None:
    weights[B][0, 0] = float("-inf")


def of_two_types(weights: Tensors) -> None:
    weights[A] = weights[A].half()


def never_trained(weights: Tensors) -> None:
    weights[B].zero_()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (missing, f"{B} are missing"),
        (left_over, "lm_head.lora_A.weight belong to no module that was trained"),
        (empty, f"{A} are empty"),
        (of_another_rank, rf"{A} \[2, 64\] instead of \[4, 64\] have a shape that does not fit"),
        (not_a_number, f"{A} hold NaN or infinite numbers"),
        (infinite, f"{B} hold NaN or infinite numbers"),
        (of_two_types, "of several types: torch.float16 and torch.float32"),
        (never_trained, "Every LoRA B matrix is zero"),
    ],
)
def test_damaged_weights_are_refused(
    tmp_path: Path, damage: Callable[[Tensors], None], sentence: str
) -> None:
    weights = tensors()
    damage(weights)
    save(tmp_path, weights)
    with pytest.raises(AdapterInvalid, match=sentence) as caught:
        check(tmp_path)
    assert caught.value.code == ExitCode.INVALID_INPUT


def test_tensors_are_gathered_in_parts_of_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from kubetune_trainer.artifact import weights

    monkeypatch.setattr(weights, "_GATHERED_AT_ONCE", 100)
    sizes = {"a": 10, "b": 15, "c": 1, "d": 40, "e": 12, "f": 13}  # of 4 bytes
    parts = weights._parts([(name, torch.zeros(size)) for name, size in sizes.items()])
    assert ["".join(name for name, _ in part) for part in parts] == ["ab", "c", "d", "ef"]


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    save(tmp_path, tensors())
    path = tmp_path / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(AdapterInvalid, match=r"adapter_model.safetensors cannot be read"):
        check(tmp_path)


def test_pickles_are_refused(tmp_path: Path) -> None:
    save(tmp_path, tensors())
    (tmp_path / "training_args.bin").write_bytes(b"")
    with pytest.raises(AdapterInvalid, match=r"training_args.bin are not safetensors files"):
        check(tmp_path)


def test_what_is_not_trained_may_be_of_another_type(tmp_path: Path) -> None:
    import torch

    bias = "model.layers.0.mlp.gate.e_score_correction_bias"
    save(tmp_path, {name: tensor.bfloat16() for name, tensor in tensors().items()} | {bias: torch.zeros(4)})
    expected = EXPECTED | {bias: (4,)}
    check_weights(tmp_path, expected, lora=False, untrained={"e_score_correction_bias"})
    with pytest.raises(AdapterInvalid, match="of several types"):
        check_weights(tmp_path, expected, lora=False)


MODULE = "model.layers.0.self_attn.q_proj"
BASE = {f"{MODULE}.weight": (48, 64), "model.layers.0.mlp.experts.gate_up_proj": (4, 48, 64)}


def pair(module: str, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    prefix = f"base_model.model.{module}"
    return {f"{prefix}.lora_A.weight": inputs, f"{prefix}.lora_B.weight": outputs}


def test_names_and_shapes_of_the_base_pass() -> None:
    check_named_after_base(pair(MODULE, (4, 64), (48, 4)), BASE)
    check_named_after_base(pair("model.layers.0.mlp.experts.base_layer", (16, 64), (48, 16)), BASE)


@pytest.mark.parametrize(
    ("adapter", "sentence"),
    [
        (pair(f"language_{MODULE}", (4, 64), (48, 4)), f"language_{MODULE} are no matrices of the base"),
        (
            pair("model.layers.0.mlp.experts", (16, 48), (64, 16)),
            "experts are no matrices of the base",
        ),
        ({A: (4, 64)}, f"{MODULE} have not both of A and B"),
        (pair(MODULE, (4, 32), (48, 4)), f"{MODULE} have a shape that does not fit the base model's files"),
        (pair(MODULE, (4, 64), (64, 4)), f"{MODULE} have a shape that does not fit the base model's files"),
        (pair(MODULE, (4, 64), (48, 8)), f"{MODULE} have a shape that does not fit the base model's files"),
    ],
)
def test_what_a_server_would_pass_over_or_pad_is_refused(
    adapter: dict[str, tuple[int, ...]], sentence: str
) -> None:
    with pytest.raises(AdapterInvalid, match=sentence):
        check_named_after_base(adapter, BASE)


def test_a_full_model_may_have_zeros(tmp_path: Path) -> None:
    weights = tensors()
    never_trained(weights)
    save(tmp_path, weights)
    check_weights(tmp_path, EXPECTED, lora=False)
