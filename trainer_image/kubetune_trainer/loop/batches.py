"""Prepared rows as tensors: one padded batch, and which of its positions are predicted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..data.row_files import RowFile
from ..data.sampler import FILLER

IGNORED = -100
"""Label of a token that is not learned."""


class Rows:
    """The prepared rows of a file, and the filler that stands for none."""

    def __init__(self, path: Path) -> None:
        self._rows = RowFile(path)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return self._rows.lengths

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == FILLER:
            return {"input_ids": [0], "labels": [IGNORED]}
        return self._rows[index]


def collate(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Pad rows on the right, and list the positions whose next token is learned, with that token.

    ``positions`` count over the flattened batch. The loss is computed there and nowhere else: the output
    layer is the largest matrix of a small model, and most tokens of a chat are not learned."""
    import torch

    width = max(len(row["input_ids"]) for row in rows)
    input_ids = torch.zeros(len(rows), width, dtype=torch.int64)  # padding is masked: any token will do
    attention_mask = torch.zeros_like(input_ids)
    labels = torch.full_like(input_ids, IGNORED)
    for index, row in enumerate(rows):
        length = len(row["input_ids"])
        input_ids[index, :length] = torch.tensor(row["input_ids"])
        attention_mask[index, :length] = 1
        labels[index, : length - 1] = torch.tensor(row["labels"][1:], dtype=torch.int64)
    flat = labels.flatten()
    positions = torch.nonzero(flat != IGNORED).squeeze(1)
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "positions": positions,
        "targets": flat[positions],
    }


def count(batches: Iterable[dict[str, Any]]) -> tuple[int, int]:
    """Learned tokens and real tokens of some batches, padding not counted."""
    learned = tokens = 0
    for batch in batches:
        learned += len(batch["targets"])
        tokens += int(batch["attention_mask"].sum())
    return learned, tokens
