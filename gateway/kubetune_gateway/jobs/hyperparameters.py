"""What "auto" is, from the number of examples. Pure.

Epochs are those of OpenAI's cookbook (Chat_finetuning_data_prep): three, but not fewer than make a hundred
examples, nor more than make 25,000. Rows per step are a five-hundredth of the examples, as OpenAI's own jobs
had one for ten to a hundred.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from kubetune.api.v1alpha1.training import LEARNING_RATES
from kubetune.vocabulary.json_values import dict_of, text_of

from ..wire.jobs import AUTO, Hyperparameters

_EPOCHS: Final = 3
_FEWEST, _MOST = 100, 25_000
_MOST_EPOCHS: Final = 25
_MOST_ROWS: Final = 256


def resolved(wanted: Hyperparameters, *, examples: int, world_size: int) -> Hyperparameters:
    """Numbers in the place of "auto"; rows per step fill every process alike."""
    epochs, rate = wanted.n_epochs, wanted.learning_rate_multiplier
    automatic = max(1, min(_MOST_ROWS, examples // 500))
    rows = automatic if wanted.batch_size == AUTO else wanted.batch_size
    return Hyperparameters(
        n_epochs=automatic_epochs(examples) if epochs == AUTO else epochs,
        batch_size=-(-rows // world_size) * world_size,
        learning_rate_multiplier=1.0 if rate == AUTO else rate,
    )


def automatic_epochs(examples: int) -> int:
    """Passes over so many examples."""
    examples = max(1, examples)
    if examples * _EPOCHS < _FEWEST:
        return min(_MOST_EPOCHS, _FEWEST // examples)
    if examples * _EPOCHS > _MOST:
        return max(1, _MOST // examples)
    return _EPOCHS


def base_rate(training: Mapping[str, Any]) -> Decimal:
    """The rate that a multiplier is of: the platform's, else that of the adapter."""
    told = training.get("learningRate")
    if told is not None:
        return Decimal(str(told))
    adapter = text_of(dict_of(training.get("adapter")).get("type"))
    return LEARNING_RATES.get(adapter, LEARNING_RATES["LoRA"])
