"""What is trained to be measured, and what was measured; both travel as JSON between processes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from dev.shapes import architecture_of
from kubetune_trainer.contract.config import AdapterConfig, ScheduleConfig, TrainingConfig
from kubetune_trainer.sizing.memory import Memory, memory_of


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Case(_Frozen):
    """One model, and how it is trained on one rank."""

    name: str
    shape: dict[str, Any]
    """``config.json`` of the model, as far as sizes go."""
    adapter: Literal["LoRA", "Full"]
    row_tokens: int
    rows_per_pass: int = 1
    passes: int = 1
    """Of a step."""
    steps: int = 3
    on_gpu: bool = False
    dtype: Literal["float32", "bfloat16"] = "float32"
    rank: int = 16

    @property
    def tokens_per_pass(self) -> int:
        """Of the one rank; there is no padding."""
        return self.row_tokens * self.rows_per_pass

    @property
    def training(self) -> TrainingConfig:
        """As the operator would say it."""
        return TrainingConfig(
            adapter=AdapterConfig(type=self.adapter, rank=self.rank),
            epochs=1,
            max_steps=self.steps,
            batch_size=self.rows_per_pass * self.passes,
            learning_rate="1e-5",
            schedule=ScheduleConfig(),
            seed=1,
            zero_stage=2,
            nodes=1,
            gpus_per_node=int(self.on_gpu),
            checkpoint_every_steps=10**6,
            checkpoint_keep=1,
        )

    def estimate(self, trained: int) -> Memory:
        """What prepare would say of it."""
        width = 2 if self.dtype == "bfloat16" else 4
        architecture = architecture_of(self.shape)
        return memory_of(self.training, architecture, trained, self.tokens_per_pass, width=width)


class Measured(_Frozen):
    """What a process measured of its case."""

    before_bytes: int
    """Held by the process before it had a model."""
    peak_bytes: int
    """The most that it held, in all."""
    parameters: int
    trained: int
    tokens_per_second: float
    """Over the steps after the first."""
