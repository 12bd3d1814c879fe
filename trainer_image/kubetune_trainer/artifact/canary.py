"""canary.json: what the trained model says to a few held-out prompts, as a server of it must.

A server that passes over an adapter, or over a part of it, answers like the base model and says nothing. It
is asked for the probability of one token after each prompt, which must be the one that is written here.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.checkpoint import weight_files
from ..contract.errors import AdapterInvalid
from ..contract.layout import RunDirectory
from ..data.row_files import RowFile
from .float32 import computing_in_float32

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

CANARY_NAME = "canary.json"
VERSION = 1

_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}

_MOST, _LEAST = 20, 8
_PROMPT_TOKENS = 1000
"""Tokens of all prompts together beyond which only the least number of rows is asked about: a server on CPU
reads about 100 a second."""

_LOOKED_AT = 256
"""Rows, the shortest, that are looked at: an early answer in a long row is as good, but takes reading all."""

_POSITIONS = 4
"""Learned tokens of a row, from the first, that may become its question."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row that is asked about."""

    tokens: tuple[int, ...]
    """Up to the last token that may be asked for."""
    positions: tuple[int, ...]
    """Places in ``tokens`` of learned tokens; none is the first."""


def choose(rows: RowFile) -> list[Row]:
    """Rows with short prompts, the same for the same file."""
    shortest = sorted(range(len(rows)), key=lambda index: (rows.lengths[index], index))[:_LOOKED_AT]
    found: dict[tuple[int, ...], Row] = {}
    for index in shortest:
        row = rows[index]
        learned = [int(place) for place in (row["labels"] != -100).nonzero()[0] if place > 0][:_POSITIONS]
        if learned:
            tokens = tuple(row["input_ids"][: learned[-1] + 1].tolist())
            found.setdefault(tokens, Row(tokens, tuple(learned)))
    chosen: list[Row] = []
    spent = 0
    for each in sorted(found.values(), key=lambda row: len(row.tokens)):
        spent += len(each.tokens)
        if len(chosen) == _MOST or (len(chosen) >= _LEAST and spent > _PROMPT_TOKENS):
            break
        chosen.append(each)
    return chosen


class Canary:
    """The questions of a run, and what the base model says to them."""

    def __init__(self, run: RunDirectory, model: Any, base: Path, device: torch.device) -> None:
        """Choose the questions; to be made on every rank before the first step, with the base in a directory.

        A full fine-tune changes the base's weights, so that it is asked now, as it was loaded: also when the
        run goes on from a checkpoint, which is read later.
        """
        self._rows = choose(RowFile(run.validation_rows if run.validation_rows.exists() else run.train_rows))
        self._device = device
        self._stored = _stored_dtype(base)
        self._base: list[list[float]] | None = None
        if not _is_lora(model):
            self._base = self._ask(model)

    def record(self, model: Any, *, trained: Any = None) -> dict[str, Any]:
        """What canary.json says of the trained model; every rank must call it, where a rank has a part only.

        ``trained`` is the model with 4-bit weights, where ``model`` has the same adapter on the full ones.

        Raises:
            AdapterInvalid: an answer is not a number.
        """
        started = time.perf_counter()
        tuned = self._ask(model)
        base = self._base
        if base is None:
            with model.disable_adapter():
                base = self._ask(model)
        logger.info("asked %d questions in %.1f s", len(self._rows), time.perf_counter() - started)
        moved = {} if trained is None else {"quantisation_shift": _shift(tuned, self._ask(trained))}
        plain = model.get_base_model() if _is_lora(model) else model
        return {
            "version": VERSION,
            "dtype": "float32",
            "architecture": type(plain).__name__,
            "model_dtype": str(plain.dtype).removeprefix("torch."),
            "stored_dtype": self._stored,
            **moved,
            "questions": [
                _question(row, before, after)
                for row, before, after in zip(self._rows, base, tuned, strict=True)
            ],
        }

    def _ask(self, model: Any) -> list[list[float]]:
        """Log-probability of each position's token, over the whole vocabulary."""
        import torch

        with computing_in_float32(model, self._device):
            answers = []
            for row in self._rows:
                first = row.positions[0] - 1
                keep = model.get_output_embeddings().register_forward_pre_hook(_from(first))
                try:
                    prompt = torch.tensor([row.tokens[:-1]], device=self._device)
                    logits = model(input_ids=prompt, use_cache=False).logits[0].float()
                finally:
                    keep.remove()
                scores = logits.log_softmax(-1)
                answers.append(
                    [float(scores[place - 1 - first, row.tokens[place]]) for place in row.positions]
                )
        return answers


def write(record: dict[str, Any], directory: Path) -> None:
    """Write canary.json."""
    (directory / CANARY_NAME).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _stored_dtype(base: Path) -> str:
    """The type of the base's files: trained in another, the model is not quite the one that is served."""
    from safetensors import safe_open

    kinds: Counter[str] = Counter()
    for path in weight_files(base, base.name):
        with safe_open(path, framework="pt") as file:
            kinds.update(file.get_slice(name).get_dtype() for name in file.keys())  # noqa: SIM118 - no dict
    return _DTYPES.get(most := kinds.most_common(1)[0][0], most)


def _question(row: Row, base: Sequence[float], tuned: Sequence[float]) -> dict[str, Any]:
    """The position where training has changed most."""
    if not all(map(math.isfinite, (*base, *tuned))):
        raise AdapterInvalid("The trained model's answers are no numbers. Lower learningRate.")
    most = max(range(len(base)), key=lambda number: abs(tuned[number] - base[number]))
    place = row.positions[most]
    return {
        "prompt": list(row.tokens[:place]),
        "token": row.tokens[place],
        "base": round(base[most], 6),
        "tuned": round(tuned[most], 6),
    }


def _shift(full: list[list[float]], quantised: list[list[float]]) -> float:
    """Mean distance in nats between the two models' log-probabilities, over all learned tokens asked for."""
    pairs = [pair for rows in zip(full, quantised, strict=True) for pair in zip(*rows, strict=True)]
    shift = round(sum(abs(one - other) for one, other in pairs) / len(pairs), 6)
    logger.info("4-bit weights move the log-probability of a learned token by %.4f nats on average", shift)
    return shift


def _from(first: int) -> Any:
    """Hook that lets the output layer see no position before ``first``."""
    return lambda _, arguments: (arguments[0][:, first:], *arguments[1:])


def _is_lora(model: Any) -> bool:
    return hasattr(model, "get_base_model")
