"""The loss of padded rows is that of each row alone, in every family; its logits are never all in memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from kubetune_trainer.base.load import load_base
from kubetune_trainer.methods import chunked_loss
from kubetune_trainer.methods.chunked_loss import ChunkedCrossEntropy
from kubetune_trainer.methods.logit_change import LogitChange
from kubetune_trainer.methods.sft import IGNORED, SFT
from tests.support.tiny_model import VOCABULARY, make_tiny_of
from tests.support.training_runs import make_rows

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),  # of the libraries
]


def _gpt2(directory: Path) -> Path:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=VOCABULARY, n_embd=64, n_layer=2, n_head=2, n_positions=128)
    GPT2LMHeadModel(config).eval().save_pretrained(directory)
    return directory


def _gemma2(directory: Path) -> Path:
    """It caps its logits."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "head_dim": 32}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "sliding_window": 16}
    config = Gemma2Config(vocab_size=VOCABULARY, final_logit_softcapping=2.0, **sizes, **heads)
    Gemma2ForCausalLM(config).save_pretrained(directory)
    return directory


def _granite(directory: Path) -> Path:
    """It scales its logits."""
    from transformers import GraniteConfig, GraniteForCausalLM

    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = GraniteConfig(vocab_size=VOCABULARY, num_key_value_heads=1, logits_scaling=4.0, **sizes)
    GraniteForCausalLM(config).save_pretrained(directory)
    return directory


OTHERS = {"gpt2": _gpt2, "gemma2": _gemma2, "granite": _granite}


@pytest.fixture(
    scope="module", params=["llama", "gemma3", "qwen3_5", "qwen2_moe", "mixtral", "llama4_dense", *OTHERS]
)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    directory = tmp_path_factory.mktemp(request.param)
    make = OTHERS.get(request.param, lambda path: make_tiny_of(request.param, path))
    torch.manual_seed(0)
    return load_base(make(directory), torch.float32).eval()


def test_padded_rows_learn_what_each_row_does_by_itself(model: Any) -> None:
    rows = make_rows(5)
    method = SFT(model)

    def learned(parts: list[list[dict[str, Any]]]) -> tuple[float, float, dict[str, torch.Tensor]]:
        model.zero_grad()
        losses = [method.loss(model, method.collate(part)) for part in parts]
        sum(loss.total for loss in losses).backward()
        right = sum(float(loss.metrics["mean_token_accuracy"]) for loss in losses)
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        return sum(loss.total.item() for loss in losses), right, gradients

    loss, right, gradients = learned([rows])
    alone, right_alone, gradients_alone = learned([[row] for row in rows])
    assert loss == pytest.approx(alone, rel=1e-5)
    assert right == right_alone
    assert gradients.keys() == gradients_alone.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, gradients_alone[name], rtol=2e-3, atol=2e-5, msg=name)


def test_the_loss_is_the_one_that_transformers_computes(model: Any) -> None:
    rows = make_rows(5)
    method = SFT(model)
    batch = method.collate(rows)
    width = max(len(row["labels"]) for row in rows)
    labels = torch.tensor([row["labels"] + [IGNORED] * (width - len(row["labels"])) for row in rows])
    mask = torch.tensor([[1] * len(row["labels"]) + [0] * (width - len(row["labels"])) for row in rows])
    with torch.no_grad():
        expected = model(input_ids=batch["input_ids"], attention_mask=mask, labels=labels).loss
        found = method.loss(model, batch).total / method.size([batch]).weight
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("count", [0, 1, 300])
@pytest.mark.parametrize(
    "change", [LogitChange(), LogitChange(scale=0.25), LogitChange(cap=3.0), LogitChange(scale=2.0, cap=5.0)]
)
def test_chunks_add_up_to_the_whole(
    monkeypatch: pytest.MonkeyPatch, count: int, bias: bool, change: LogitChange
) -> None:
    monkeypatch.setattr(chunked_loss, "chunk_bytes", lambda *, on_gpu: 4 * 50 * 7)
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(count, 16, generator=generator, requires_grad=True)
    weight = torch.randn(50, 16, generator=generator, requires_grad=True)
    offset = torch.randn(50, generator=generator, requires_grad=True) if bias else None
    targets = torch.randint(0, 50, (count,), generator=generator)
    given = [tensor for tensor in (hidden, weight, offset) if tensor is not None]

    logits = torch.nn.functional.linear(hidden, weight, offset) * change.scale
    if change.cap is not None:
        logits = change.cap * torch.tanh(logits / change.cap)
    expected = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
    wanted = torch.autograd.grad(3 * expected, given)
    found = ChunkedCrossEntropy.apply(hidden, weight, offset, targets, change)
    torch.testing.assert_close(found[0], expected)
    assert found[1] == (logits.argmax(-1) == targets).sum()
    for gradient, want in zip(torch.autograd.grad(3 * found[0], given), wanted, strict=True):
        torch.testing.assert_close(gradient, want, rtol=1e-4, atol=1e-5)


def test_a_sum_in_bfloat16_is_taken_in_float32() -> None:
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(2000, 16, generator=generator).bfloat16()
    weight = torch.randn(50, 16, generator=generator).bfloat16()
    targets = torch.randint(0, 50, (2000,), generator=generator)
    logits = (hidden @ weight.T).float()
    expected = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
    found = ChunkedCrossEntropy.apply(hidden, weight, None, targets, LogitChange())
    torch.testing.assert_close(found[0], expected, rtol=1e-5, atol=0.0)


def test_scoring_computes_no_gradient(monkeypatch: pytest.MonkeyPatch, model: Any) -> None:
    needed: list[bool] = []
    forward = ChunkedCrossEntropy.forward

    def watched(ctx: Any, *arguments: Any) -> Any:
        needed.extend(ctx.needs_input_grad)
        return forward(ctx, *arguments)

    monkeypatch.setattr(ChunkedCrossEntropy, "forward", staticmethod(watched))
    method = SFT(model)
    with torch.no_grad():
        method.loss(model, method.collate(make_rows(2)))
    assert needed, "in chunks, in each of the families"
    assert not any(needed)


_PEAK = """
import resource, torch
from kubetune_trainer.methods import chunked_loss
from kubetune_trainer.methods.chunked_loss import ChunkedCrossEntropy
from kubetune_trainer.methods.logit_change import LogitChange
positions, vocabulary, width = 4096, 65536, 64
hidden = torch.randn(positions, width, requires_grad=True)
weight = torch.randn(vocabulary, width)
targets = torch.randint(0, vocabulary, (positions,))
ChunkedCrossEntropy.apply(hidden[:2], weight, None, targets[:2], LogitChange())[0].backward()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ChunkedCrossEntropy.apply(hidden, weight, None, targets, LogitChange())[0].backward()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / positions / vocabulary)
"""


def test_the_logits_are_never_all_in_memory() -> None:
    told = subprocess.run([sys.executable, "-c", _PEAK], capture_output=True, text=True, check=True)
    assert float(told.stdout) < 1  # bytes per logit; they would take 4 in float32, and as many their gradient
