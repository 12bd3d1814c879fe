"""Thresholds of panels: from which value on something is to be looked at, or is bad."""

from __future__ import annotations

from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as models


@dataclass(frozen=True, slots=True)
class Limits:
    """Colours by value: that of the lowest values, and from which value on there is another."""

    base: str
    steps: tuple[tuple[float, str], ...] = ()

    def build(self) -> build.ThresholdsConfig:
        """Return them as the SDK wants them."""
        steps = [models.Threshold(value=None, color=self.base)]
        steps += [models.Threshold(value=value, color=color) for value, color in self.steps]
        return build.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


PLAIN = Limits("blue")
"""Of what is neither good nor bad."""


def rising(warn: float, bad: float | None = None) -> Limits:
    """Return limits of what is good while it is low."""
    steps = ((warn, "orange"),) if bad is None else ((warn, "orange"), (bad, "red"))
    return Limits("green", steps)


def falling(bad: float, warn: float) -> Limits:
    """Return limits of what is good while it is high."""
    return Limits("red", ((bad, "orange"), (warn, "green")))


def exactly_one() -> Limits:
    """Return limits of what there must be one of."""
    return Limits("red", ((1, "green"), (2, "red")))
