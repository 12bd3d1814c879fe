"""What "auto" is; the epochs are test vectors of OpenAI's cookbook."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from kubetune.api.base import decimal_text
from kubetune_gateway.jobs.hyperparameters import automatic_epochs, base_rate, resolved
from kubetune_gateway.wire.jobs import Hyperparameters


@pytest.mark.parametrize(
    ("examples", "epochs"),
    [
        *[(3, 25), (4, 25), (5, 20), (10, 10), (33, 3), (34, 3), (101, 3), (8333, 3)],
        *[(8334, 2), (25000, 1), (100000, 1), (0, 25)],
    ],
)
def test_epochs_are_those_of_the_cookbook(examples: int, epochs: int) -> None:
    assert automatic_epochs(examples) == epochs


@pytest.mark.parametrize(
    ("examples", "world_size", "rows"), [(10, 1, 1), (10, 4, 4), (5000, 4, 12), (10**6, 1, 256)]
)
def test_rows_per_step_fill_every_process_alike(examples: int, world_size: int, rows: int) -> None:
    assert resolved(Hyperparameters(), examples=examples, world_size=world_size) == Hyperparameters(
        n_epochs=automatic_epochs(examples), batch_size=rows, learning_rate_multiplier=1.0
    )


def test_what_is_given_stays() -> None:
    wanted = Hyperparameters(n_epochs=4, batch_size=8, learning_rate_multiplier=0.5)
    assert resolved(wanted, examples=10, world_size=2) == wanted


@pytest.mark.parametrize(
    ("training", "rate"),
    [
        ({}, "0.0002"),
        ({"adapter": {"type": "Full"}}, "0.00002"),
        ({"adapter": {"type": "QLoRA"}, "learningRate": "1e-3"}, "0.001"),
    ],
)
def test_a_multiplier_is_of_the_platforms_rate_or_of_the_adapters(training: Any, rate: str) -> None:
    assert decimal_text(base_rate(training)) == rate == decimal_text(Decimal(rate))
