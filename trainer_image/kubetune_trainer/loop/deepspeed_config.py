"""The DeepSpeed configuration: every value is decided here, none is left at "auto" for another library to
fill.

HF Trainer compares its TrainingArguments with it and refuses a difference.
"""

from __future__ import annotations

from typing import Any

from ..contract.config import TrainingConfig
from ..data.sampler import Batching
from ..sizing.buckets import LIVE_PARAMETERS, bucket_elements


def deepspeed_config(
    training: TrainingConfig, batching: Batching, text: Any, *, parameters: int, bf16: bool
) -> dict[str, Any]:
    """Build the configuration of one attempt.

    ``text`` is the configuration of the text model in transformers, ``parameters`` are all of the base's."""
    return {
        "train_batch_size": batching.rows_per_rank * batching.world_size,
        "train_micro_batch_size_per_gpu": batching.rows_per_rank,
        "gradient_accumulation_steps": 1,  # the loop says at each pass whether it is a step's last
        "gradient_clipping": float(training.max_grad_norm),
        "bf16": {"enabled": bf16},
        "zero_allow_untested_optimizer": True,  # torch's AdamW, which the checkpoints hold
        "zero_optimization": _zero(training, text, parameters),
        "steps_per_print": 2**31,  # its own progress lines say nothing that /metrics does not
    }


def _zero(training: TrainingConfig, text: Any, parameters: int) -> dict[str, Any]:
    lora = not training.adapter.full
    bucket = bucket_elements(training, parameters)
    settings = {
        "stage": training.zero_stage,
        "reduce_bucket_size": bucket,
        "allgather_bucket_size": bucket,
    }
    if training.zero_stage < 3:
        return settings
    return {
        **settings,
        "stage3_max_live_parameters": LIVE_PARAMETERS,
        # The whole prefetch, in elements: DeepSpeed's default suits models of 10 billion parameters and more.
        "stage3_prefetch_bucket_size": 20_000_000,
        # Tensors that are never split: LoRA's matrices are many, small, and needed in each pass.
        "stage3_param_persistence_threshold": _lora_elements(training, text) if lora else 100_000,
    }


def _lora_elements(training: TrainingConfig, text: Any) -> int:
    """Elements of the largest LoRA matrix of a layer."""
    heads = text.num_attention_heads * (getattr(text, "head_dim", None) or 0)
    widths = (getattr(text, name, None) or 0 for name in ("hidden_size", "intermediate_size"))
    # Fused projections, as in Phi and GPT-2, are up to three times as wide.
    return max(100_000, 3 * training.adapter.rank * max(heads, *widths))
