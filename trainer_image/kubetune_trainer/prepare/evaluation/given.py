"""What a job gives for its evaluation: whether it can be meant, and its own rows."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from ...contract.config import TrainerConfig
from ...contract.errors import InvalidInput
from ...contract.evaluation import EvaluationConfig, EvaluationData
from ...data.bad_rows import BadRows
from ...scoring.metrics import metric_of
from ...sources.locate import locate_data
from ...sources.source import DataSource, Role
from ..staging import fetched
from .rows import Rows, config_of

logger = logging.getLogger(__name__)

Sources = Mapping[Role, DataSource]


def own_data(evaluation: EvaluationConfig | None) -> dict[Role, EvaluationData]:
    """The data that only the evaluation reads."""
    found: dict[Role, EvaluationData] = {}
    if evaluation is None:
        return found
    if evaluation.data is not None:
        found["evaluation"] = evaluation.data
    regression = evaluation.gate.must_not_regress if evaluation.gate else None
    if regression is not None and regression.data is not None:
        found["regression"] = regression.data
    return found


def require_consistent(config: TrainerConfig) -> None:
    """Refuse what cannot be evaluated, whatever the rows are.

    Raises:
        InvalidInput: there are no rows to ask, a metric is none, or the gate compares with nothing.
    """
    if (evaluation := config.evaluation) is None:
        return
    if evaluation.data is None and not config.dataset.has_validation:
        raise InvalidInput(
            "An evaluation needs rows to ask, and there are none: give evaluation.dataset, "
            "dataset.validation or dataset.validationFraction."
        )
    for metric in evaluation.metrics:
        if metric.type != "Judge":
            metric_of(metric)
        elif metric.judge is None:
            raise InvalidInput(f"evaluation.metrics[{metric.name}].judge is missing: say whom to ask.")
    if (gate := evaluation.gate) is None:
        return
    if gate.metric not in {metric.name for metric in evaluation.metrics}:
        raise InvalidInput(
            f"evaluation.gate.metric {gate.metric} is none of evaluation.metrics: add it, or name "
            "one of them."
        )
    if gate.min_delta is not None and not evaluation.baselines:
        raise InvalidInput(
            "evaluation.gate.minDelta compares with the best of evaluation.baselines, which is empty: name a "
            "baseline, or give evaluation.gate.minScore alone."
        )


def locate(config: TrainerConfig) -> Sources:
    """The data that is the evaluation's own: found, and not fetched yet."""
    return {
        role: locate_data(data.source, role, platform=config.platform)
        for role, data in own_data(config.evaluation).items()
    }


def check(config: TrainerConfig, sources: Sources, *, scratch: Path) -> None:
    """Check the evaluation's own rows as far as no model is needed, before one is fetched.

    Raises:
        DataInvalid: rows or files cannot be used; all bad rows are in ``errors.jsonl`` of ``scratch``.
        InvalidInput: its rows have no prompt.
    """
    with closing(BadRows(scratch / "errors.jsonl")) as bad:
        read = 0
        for role, data in own_data(config.evaluation).items():
            logger.info("checking the %s rows before the model is fetched", role)
            files = sources[role].fetch(fetched(scratch, role))
            rows = Rows(files=files, role=role, asked=True, config=config_of(config.dataset, data))
            read += sum(1 for _ in rows.read(bad))
    if bad.count:
        raise bad.error(read + bad.count)
