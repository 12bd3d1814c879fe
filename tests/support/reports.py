"""The trainer's metrics once each of them has been measured: before that they are left out."""

from __future__ import annotations

from kubetune_trainer.loop.progress import Reports


def full_reports() -> Reports:
    """Metrics after a step, an evaluation, which was the best, a checkpoint, and a look at the volume."""
    reports = Reports(total_steps=1)
    values = dict.fromkeys(
        ("step", "epoch", "loss", "learning_rate", "grad_norm", "mean_token_accuracy", "memory_peak_bytes"),
        1.0,
    )
    reports.stepped(tokens=10, seconds=1.0, values=values)
    reports.evaluated(loss=1.0, full_loss=1.0)
    reports.saved(step=1, seconds=1.0)
    reports.found_best(step=1)
    reports.measured_volume(free=1, size=2)
    return reports
