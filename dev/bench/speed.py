"""Training speed beside TRL's SFTTrainer, and how soon the first step is done: the short comparison."""

from __future__ import annotations

from typing import Final

from dev.bench import training
from dev.bench.figures import Figure, median, spread
from dev.images.model import ensure_demo_model

PART: Final = "training"
RATIO: Final = 1.5
CHECKPOINT_STALL: Final = 0.3
_SIZE: Final = ("--rows", "96", "--steps", "12")  # two minutes a pair; more only lessens the spread


def measure(*, repeats: int) -> list[Figure]:
    """Run both trainers in turn on the demo's model."""
    model = ensure_demo_model()
    pairs = training.compare(["--model", str(model), "--repeat", str(repeats), *_SIZE])
    ratios = [pair.ratio for pair in pairs]
    starts = [pair.ours.first_step_seconds for pair in pairs]
    ours, theirs = ([getattr(pair, side) for pair in pairs] for side in ("ours", "theirs"))
    stalls = [median(pair.ours.checkpoint_stalls) for pair in pairs]
    return [
        _figure("real tokens per second, against TRL", ratios, "times", bar=RATIO, at_least=True),
        _figure("- this trainer's", [run.tokens_per_second for run in ours], "tokens/s"),
        _figure("- TRL's", [run.tokens_per_second for run in theirs], "tokens/s"),
        _figure("- this trainer's validation loss", [run.validation_loss for run in ours], ""),
        _figure("- TRL's validation loss", [run.validation_loss for run in theirs], ""),
        # Without a bar, which the image has: the demo measures it.
        _figure("- this trainer's start to its first step", starts, "s"),
        _figure("LoRA: pause of training for a checkpoint", stalls, "s", bar=CHECKPOINT_STALL),
    ]


def _figure(
    name: str, values: list[float], unit: str, *, bar: float | None = None, at_least: bool = False
) -> Figure:
    return Figure(
        part=PART, name=name, value=median(values), unit=unit, bar=bar, at_least=at_least, note=spread(values)
    )
