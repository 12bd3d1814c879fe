"""Training speed beside TRL's SFTTrainer, and how soon the first step is done: the short comparison."""

from __future__ import annotations

from typing import Final

from dev.bench import training
from dev.bench.figures import Figure, median, spread
from dev.images.model import ensure_demo_model

PART: Final = "training"
RATIO: Final = 2.0
PACKING_RATIO: Final = 1.6
CHECKPOINT_STALL: Final = 0.3
_SIZE: Final = ("--rows", "96", "--steps", "12")  # three minutes a round; more only lessens the spread


def measure(*, repeats: int) -> list[Figure]:
    """Run both trainers in turn on the demo's model."""
    model = ensure_demo_model()
    rounds = training.compare(["--model", str(model), "--repeat", str(repeats), *_SIZE])
    plain = [made.ratio(made.plain) for made in rounds]
    packed = [made.ratio(made.packed) for made in rounds]
    starts = [made.ours.first_step_seconds for made in rounds]
    runs = {
        "this trainer's": [made.ours for made in rounds],
        "TRL's": [made.plain for made in rounds],
        "TRL's, packing": [made.packed for made in rounds],
    }
    stalls = [median(made.ours.checkpoint_stalls) for made in rounds]
    return [
        _figure("real tokens per second, against TRL", plain, "times", bar=RATIO, at_least=True),
        _figure(
            "real tokens per second, against TRL's packing", packed, "times", bar=PACKING_RATIO, at_least=True
        ),
        *(
            _figure(f"- {name}", [run.tokens_per_second for run in of], "tokens/s")
            for name, of in runs.items()
        ),
        *(
            _figure(f"- {name} validation loss", [run.validation_loss for run in of], "")
            for name, of in runs.items()
        ),
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
