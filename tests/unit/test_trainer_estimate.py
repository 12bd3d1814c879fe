"""Estimates, checked by hand: steps as the sampler makes them, memory by ZeRO stage, and the refusals."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from kubetune_trainer.base.architecture import Architecture
from kubetune_trainer.contract.config import TrainerConfig
from kubetune_trainer.contract.errors import DoesNotFit, InvalidInput
from kubetune_trainer.contract.messages import PlanSummary
from kubetune_trainer.sizing.estimate import Shape, plan, require_batch
from tests.support.trainer_configs import trainer_config

BILLION = 1_000_000_000
TEXT = SimpleNamespace(hidden_size=4096, num_hidden_layers=32, vocab_size=128_000, tie_word_embeddings=False)
EIGHT = Architecture(
    name="LlamaForCausalLM",
    config=SimpleNamespace(get_text_config=lambda: TEXT),
    parameters=8 * BILLION,
    context=8192,
)
SHAPE = Shape(rows=1000, tokens=200_000, longest=1000)


def config(**fields: Any) -> TrainerConfig:
    return trainer_config(model="hf://acme/m", train="pvc://d/t.jsonl", **fields)


def estimate(
    *, shape: Shape = SHAPE, trained: int = 40_000_000, gpu_memory: int | None = None, **training: Any
) -> PlanSummary:
    fields = {"nodes": 1, "gpus_per_node": 4, "batch_size": 32, "epochs": 3, **training}
    return plan(config(training=fields, gpu_memory_bytes=gpu_memory), EIGHT, trained, shape)


@pytest.mark.parametrize(
    ("rows", "batch", "epochs", "max_steps", "steps"),
    [
        (1000, 32, 3, None, 96),  # 31 full steps and one of 8 rows
        (992, 32, 3, None, 93),
        (20, 32, 3, None, 3),  # every step has all rows
        (1000, 32, 3, 50, 50),
        (1000, 32, 1, 500, 32),
    ],
)
def test_steps(rows: int, batch: int, epochs: int, max_steps: int | None, steps: int) -> None:
    shape = Shape(rows=rows, tokens=rows * 200, longest=1000)
    assert estimate(shape=shape, batch_size=batch, epochs=epochs, max_steps=max_steps).total_steps == steps


# A pass has 8 rows of 1000 tokens. Activations, 4096 wide and of 2 bytes: inputs of 32 layers; one layer,
# with two norms (3 each, 4 where they are trained), queries, keys, values and what attention makes of them
# (4), and the feed-forward part, four times as wide (16); its gradients (12), and the end of the model (6).
TOKEN = 4096 * 2 * (32 + 6 + 4 + 16 + 12 + 6)
TOKEN_FULL = 4096 * 2 * (32 + 8 + 4 + 16 + 12 + 6)
ACTIVATIONS = 8000 * TOKEN
BUCKET = 2 * 50_000_000
GATHERED = 2 * BILLION
LOGITS = 4 * (256 << 20)  # of a chunk
OVERHEAD = 1_500_000_000


@pytest.mark.parametrize(
    ("stage", "states"),
    [
        (0, 16 * BILLION + 40_000_000 * (2 + 12)),
        (1, 16 * BILLION + 40_000_000 * 2 + 40_000_000 * 12 // 4 + BUCKET),
        (2, 16 * BILLION + 40_000_000 * (2 + 12) // 4 + BUCKET),
        (3, 4 * BILLION + 40_000_000 * (2 + 12) // 4 + BUCKET + GATHERED),
    ],
)
def test_memory_of_lora_by_stage(stage: int, states: int) -> None:
    assert estimate(zero_stage=stage).memory_per_gpu_bytes == states + ACTIVATIONS + LOGITS + OVERHEAD


def test_passes_are_as_large_as_the_memory_allows_for() -> None:
    base = 16 * BILLION + 40_000_000 * (2 + 12) // 4 + BUCKET + LOGITS + OVERHEAD
    unknown, small, large = (estimate(gpu_memory=memory) for memory in (None, 24 * BILLION, 80 * BILLION))
    assert unknown.tokens_per_pass == large.tokens_per_pass == 16_384
    assert small.tokens_per_pass == (0.92 * 24 * BILLION - base) // TOKEN // 64 * 64
    assert small.memory_per_gpu_bytes <= 0.92 * 24 * BILLION


def test_one_long_row_is_all_that_must_fit() -> None:
    long = estimate(shape=replace(SHAPE, longest=8_000), gpu_memory=24 * BILLION)
    assert long.tokens_per_pass == 8_000
    with pytest.raises(DoesNotFit, match=r"for a row of 20,000 tokens"):
        estimate(shape=replace(SHAPE, longest=20_000), gpu_memory=24 * BILLION)


@pytest.mark.parametrize(
    ("billions", "hidden", "layers", "vocabulary", "longest", "gigabytes"),
    [
        (27, 5376, 62, 262_144, 8192, 80),
        (32, 5120, 64, 151_936, 8192, 80),
        (8, 4096, 32, 128_256, 4096, 24),
    ],
)
def test_what_fits_with_one_row_at_a_time_is_not_refused(
    billions: int, hidden: int, layers: int, vocabulary: int, longest: int, gigabytes: int
) -> None:
    text = SimpleNamespace(hidden_size=hidden, num_hidden_layers=layers, vocab_size=vocabulary)
    model = replace(
        EIGHT, parameters=billions * BILLION, config=SimpleNamespace(get_text_config=lambda: text)
    )
    memory = gigabytes * BILLION
    one = config(training={"nodes": 1, "gpus_per_node": 1, "batch_size": 8}, gpu_memory_bytes=memory)
    assert plan(one, model, 100_000_000, replace(SHAPE, longest=longest)).memory_per_gpu_bytes < memory


def test_a_base_in_4_bits_takes_a_quarter_beside_its_tables() -> None:

    def memory(kind: str) -> int:
        one = config(training={"nodes": 1, "gpus_per_node": 1, "adapter": {"type": kind}, "batch_size": 8})
        return plan(one, EIGHT, 40_000_000, SHAPE).memory_per_gpu_bytes

    linear = 8 * BILLION - 2 * 128_000 * 4096
    assert memory("LoRA") - memory("QLoRA") == pytest.approx((2 - 0.516) * linear, rel=1e-3)


def test_full_fine_tune_holds_optimizer_states_of_every_weight() -> None:
    full = estimate(trained=8 * BILLION, zero_stage=3, adapter={"type": "Full"})
    states = (2 + 2 + 12) * 8 * BILLION // 4 + GATHERED + 2 * 200_000_000
    # The step begins where backward has let go of activations, and of the gradient of the output layer.
    backward, step = 8000 * TOKEN_FULL + LOGITS + 128_000 * 4096 * (4 + 2), 8 * 8 * BILLION // 4
    assert full.memory_per_gpu_bytes == states + max(backward, step) + OVERHEAD


def test_job_that_does_not_fit_is_refused_with_what_would_fit() -> None:
    with pytest.raises(DoesNotFit) as caught:
        estimate(trained=8 * BILLION, zero_stage=2, adapter={"type": "Full"}, gpu_memory=24 * BILLION)
    assert caught.value.message == (
        "Training needs about 62 GB on each GPU for a row of 1,000 tokens, but it has 24 GB. 16 GPUs with "
        "deepspeed.zeroStage 3 would need 17 GB on each. Use a smaller model, lower dataset.maxLength, train "
        "an adapter (adapter.type: LoRA), raise training.deepspeed.zeroStage to 3, or use GPUs with more "
        "memory."
    )


def test_an_adapter_that_does_not_fit_is_told_of_a_base_in_4_bits() -> None:
    one = config(training={"nodes": 1, "gpus_per_node": 1, "batch_size": 8}, gpu_memory_bytes=16 * BILLION)
    with pytest.raises(DoesNotFit, match=r"1 GPU with adapter\.type QLoRA would need \d+ GB on each\."):
        plan(one, EIGHT, 40_000_000, SHAPE)


def test_a_job_that_fits_nowhere_is_told_so() -> None:
    with pytest.raises(DoesNotFit, match="No set-up of up to 64 such GPUs holds it"):
        estimate(trained=8 * BILLION, adapter={"type": "Full"}, gpu_memory=2 * BILLION)


def test_job_on_cpu_is_never_refused_for_the_memory_of_a_gpu() -> None:
    summary = estimate(gpus_per_node=0, gpu_memory=1)
    assert summary.memory_per_gpu_bytes > 8 * BILLION


def test_duration_grows_with_tokens_and_shrinks_with_ranks() -> None:
    one, four = estimate(gpus_per_node=1), estimate(gpus_per_node=4)
    assert one.estimated_seconds > four.estimated_seconds > 60
    # 600,000 tokens x 4 operations x 8 billion weights / 1.2e14 a second
    assert one.estimated_seconds == 60 + 160


def test_duration_includes_the_scoring_of_validation_rows() -> None:
    shape = replace(SHAPE, validation_rows=500, validation_tokens=150_000)
    # 96 steps, 32 an epoch: 500 rows of 300 tokens at 0, 32, 64 and 96, and 256 of them at 40 and 80.
    scored = 300 * (4 * 500 + 2 * 256)
    expected = (4 * 600_000 + 2 * scored) * 8 * BILLION / 1.2e14
    found = estimate(gpus_per_node=1, shape=shape, checkpoint_every_steps=40).estimated_seconds
    assert found == 60 + round(expected)


@pytest.mark.parametrize(("batch", "nodes", "gpus"), [(6, 2, 2), (1, 2, 0), (30, 1, 4)])
def test_batch_that_the_ranks_cannot_share_names_the_field(batch: int, nodes: int, gpus: int) -> None:
    with pytest.raises(InvalidInput, match=r"^training\.batchSize .* make it a multiple of"):
        require_batch(config(training={"batch_size": batch, "nodes": nodes, "gpus_per_node": gpus}))
