"""Reads the rows that may be asked about, and chooses some of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ...contract.config import DatasetConfig
from ...contract.errors import InvalidInput
from ...contract.evaluation import EvaluationData
from ...data.bad_rows import BadRows
from ...data.control_tokens import ControlTokens
from ...data.formats import Example, RowReader
from ...sources.source import DataFile, Role
from .. import dataset
from ..compared import Line
from ..progress import Progress

FIELDS: dict[Role, str] = {
    "train": "dataset",
    "validation": "dataset",
    "evaluation": "evaluation.dataset",
    "regression": "evaluation.gate.mustNotRegress.dataset",
}
"""Fields of the job with ``format`` and ``columns`` of a role's rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Files of a role, and how they are read."""

    files: Sequence[DataFile]
    role: Role
    config: DatasetConfig
    asked: bool
    """Whether it is rows that are asked about, which plain text cannot be."""
    has_template: bool = True
    control: ControlTokens | None = None
    """None: control tokens are not looked for."""
    warnings: dict[str, None] = field(default_factory=dict)
    """What was found about columns, once each."""

    def read(
        self, bad: BadRows, *, keep: Callable[[Line], bool] = lambda line: True
    ) -> Iterator[tuple[Line, Example]]:
        """Yield the rows that can be used, in order; every other one is added to ``bad``.

        Raises:
            DataInvalid: a file cannot be read as rows.
            InvalidInput: its rows have no prompt.
        """
        counts, progress = dataset.Counts(), Progress(self.role)
        for file in self.files:
            reader = RowReader(
                self.config, name=file.name, has_template=self.has_template, field=FIELDS[self.role]
            )
            rows = dataset.read_examples(
                file,
                reader,
                counts,
                bad,
                name=self.called(file.name),
                control=self.control,
                progress=progress,
            )
            for number, example in rows:
                if self.asked and reader.format == "Text":
                    raise _no_prompts(self.role)
                if keep(line := Line(file.name, number)):
                    yield line, example
            self.warnings.update(dict.fromkeys(reader.warnings()))

    def called(self, file: str) -> str:
        """How bad rows name a file."""
        return file if len(self.files) > 1 or self.role != "train" else ""


def config_of(dataset_config: DatasetConfig, data: EvaluationData | None) -> DatasetConfig:
    """How rows are read: as those of training, with the format and columns of ``data``."""
    if data is None:
        return dataset_config
    return dataset_config.model_copy(update={"format": data.format, "columns": data.columns})


def no_examples() -> InvalidInput:
    """Training rows of text are no examples of question and answer."""
    return InvalidInput(
        "evaluation.baselines FewShot and Retrieval show training rows as examples, and none of "
        "dataset.train has a question and an answer: remove these baselines, or give rows with a prompt."
    )


def _no_prompts(role: Role) -> InvalidInput:
    """Rows of text ask nothing."""
    own = role in ("evaluation", "regression")
    return InvalidInput(
        f"An evaluation asks prompts, and the {FIELDS[role] if own else 'validation'} rows are plain text "
        "(format Text): give rows with messages, or with prompt and completion, in "
        f"{FIELDS[role if own else 'evaluation']}."
    )


def spread(total: int, most: int, *, seed: int) -> list[int]:
    """Indices of ``most`` rows of a file, or of all: one of each part of the file, drawn by the seed."""
    if total <= most:
        return list(range(total))
    source = random.Random(f"{seed}/questions")
    edges = [total * part // most for part in range(most + 1)]
    return [source.randrange(start, end) for start, end in pairwise(edges)]
