"""What an evaluation will show and cost, as far as it is known before training. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...contract.config import TrainerConfig
from ...contract.errors import InvalidInput
from ...contract.evaluation import TUNED, EvaluationConfig, EvaluationPlan, GateConfig
from ...contract.messages import DatasetSummary
from ...data.sampler import planned_steps
from ...scoring.questions import PLAIN, Question
from ...scoring.statistics import detectable

LEAST_ROWS = 20
"""Questions with which a gate decides; with fewer, chance does."""

_PASSES = 3
"""Forward passes that a trained token is worth: its backward pass costs about twice its forward pass
(Kaplan et al. 2020, section 2.1)."""


def plan_of(config: TrainerConfig, questions: Sequence[Question], rows: DatasetSummary) -> EvaluationPlan:
    """The plan for the questions of the set Main.

    ``break_even_requests`` assumes that a token of a prompt costs what a token costs in a forward pass of
    training, on the same GPUs: a trained token is worth 3 of them. Answers cost the same on both sides, and
    GPUs that idle cost nothing.
    """
    assert config.evaluation is not None
    names = [TUNED, *(baseline.type for baseline in config.evaluation.baselines)]
    means = {name: _mean_tokens(name, questions) for name in names}
    with_examples = [mean for name, mean in means.items() if any(name in one.prompts for one in questions)]
    saved = max(0, round(min(with_examples) - means[TUNED])) if with_examples else 0
    trained = _trained_tokens(config, rows) if config.adopt is None else 0
    shown = detectable(len(questions), confidence=float(config.evaluation.confidence))
    return EvaluationPlan(
        rows=len(questions),
        prompt_tokens={name: round(mean) for name, mean in means.items()},
        detectable_difference=f"{shown:.4f}" if math.isfinite(shown) else None,
        tokens_saved_per_request=saved,
        break_even_requests=math.ceil(_PASSES * trained / saved) if saved and trained else None,
    )


def require_decidable(config: EvaluationConfig, rows: int) -> None:
    """Refuse a gate on too few questions."""
    gate = config.gate
    if gate is None:
        return
    asked = f"{rows:,} question{'' if rows == 1 else 's'}"
    if rows < LEAST_ROWS:
        more = (
            f"raise evaluation.maxRows, which is {config.max_rows}, to at least {LEAST_ROWS}"
            if config.max_rows < LEAST_ROWS
            else f"give at least {LEAST_ROWS} rows in evaluation.dataset or for validation"
        )
        raise InvalidInput(f"evaluation.gate cannot decide on {asked}: {more}, or remove the gate.")
    if gate.min_delta is not None and math.isinf(detectable(rows, confidence=float(gate.confidence))):
        raise InvalidInput(
            f"evaluation.gate cannot decide on {asked} with a confidence of {gate.confidence}, at which they "
            "show no difference, however large: lower evaluation.gate.confidence, or give more rows."
        )


def warnings(plan: EvaluationPlan, gate: GateConfig | None) -> list[str]:
    """What so few rows cannot show."""
    if gate is None or gate.min_delta is None or plan.detectable_difference is None:
        return []
    shown, asked = float(plan.detectable_difference), float(gate.min_delta)
    if not 0 < asked < shown:
        return []
    return [
        f"{plan.rows:,} rows can show a difference of {shown:.2f} or more; evaluation.gate asks for more "
        f"than {asked:g}: give more rows, or a lower confidence."
    ]


def _mean_tokens(name: str, questions: Sequence[Question]) -> float:
    prompts = (one.prompts.get(name, one.prompts[PLAIN]) for one in questions)
    return sum(prompt.tokens for prompt in prompts) / len(questions)


def _trained_tokens(config: TrainerConfig, rows: DatasetSummary) -> float:
    """Tokens that all steps read."""
    training, examples = config.training, rows.train_examples
    steps = planned_steps(examples, training.batch_size, epochs=training.epochs, max_steps=training.max_steps)
    read = min(steps * training.batch_size, training.epochs * examples)
    return read * rows.train_tokens / max(1, examples)
