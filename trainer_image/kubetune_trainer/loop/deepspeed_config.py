"""The DeepSpeed configuration: every value is decided here, none is left at "auto" for another library to
fill.

HF Trainer compares its TrainingArguments with it and refuses a difference.
"""

from __future__ import annotations

from typing import Any

from ..contract.config import TrainingConfig
from ..data.sampler import Batching

GRADIENT_CLIPPING = 1.0


def deepspeed_config(training: TrainingConfig, batching: Batching, *, bf16: bool) -> dict[str, Any]:
    """Build the configuration of one attempt."""
    return {
        "train_batch_size": batching.micro_batch * batching.accumulation * batching.world_size,
        "train_micro_batch_size_per_gpu": batching.micro_batch,
        "gradient_accumulation_steps": batching.accumulation,
        "gradient_clipping": GRADIENT_CLIPPING,
        "bf16": {"enabled": bf16},
        "zero_allow_untested_optimizer": True,  # torch's AdamW, which the checkpoints hold
        "zero_optimization": _zero(training.zero_stage),
        "steps_per_print": 2**31,  # its own progress lines say nothing that /metrics does not
    }


def _zero(stage: int) -> dict[str, Any]:
    if stage < 3:
        return {"stage": stage}
    return {
        "stage": stage,
        # The whole prefetch and the small tensors that are never split, in elements. DeepSpeed's defaults
        # suit models of 10 billion parameters and more; LoRA matrices are all below the threshold at rank
        # 16.
        "stage3_prefetch_bucket_size": 20_000_000,
        "stage3_param_persistence_threshold": 100_000,
    }
