"""The report of an evaluation, from answers and scores."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ..contract.config import TrainerConfig
from ..contract.evaluation import EvaluationConfig
from ..scoring import gate
from ..scoring.report import Report
from ..store.manifest import Manifest
from . import losses, results, warnings
from .examination import Examination, Papers


def report_of(examination: Examination, papers: Papers, *, canary: str, dataset: dict[str, Any]) -> Report:
    """Report, without an override; ``canary`` is what the server said of itself."""
    evaluation = examination.evaluation
    confidence = float(evaluation.confidence)
    candidates = results.table(papers.main, confidence=confidence)
    general = results.table(papers.general, confidence=confidence) if papers.general else ()
    general_metric = examination.general_metric.name if general else None
    verdict, said, passed = gate.decide(evaluation, candidates, general, general_metric)
    config, details = examination.config, examination.artifact.details
    main = examination.main
    unstable = results.unstable(papers.pairs)
    leaked = sum(question.leak is not None for question in main)
    return Report(
        name=config.name,
        namespace=config.namespace,
        use_case=config.use_case,
        created=datetime.now(UTC),
        verdict=verdict,
        said=said,
        artifact=examination.artifact.digest,
        canary=canary,
        source=_source(config, examination.artifact),
        artifact_type=str(details.get("type")),
        base_model=str(details.get("base_model")),
        base_revision=str(details.get("base_revision")),
        data=_data(config, evaluation),
        rows=len(main),
        general_rows=len(examination.general),
        leaked_rows=leaked,
        metric=evaluation.main_metric,
        config=evaluation,
        candidates=candidates,
        general=general,
        general_metric=general_metric,
        gate=passed,
        price=results.price(candidates, evaluation.main_metric),
        unstable=unstable,
        training=config.training.model_dump(mode="json") if config.adopt is None else {},
        dataset=dataset if config.dataset.train is not None else {},
        losses=losses.curve(examination.run),
        warnings=tuple(
            warnings.found(
                evaluation,
                candidates,
                rows=len(main),
                leaked=leaked,
                unstable=unstable,
                ungraded=results.ungraded(papers.main),
                general_rows=len(examination.general),
                general_ungraded=results.ungraded(papers.general) if papers.general else {},
            )
        ),
    )


def _source(config: TrainerConfig, artifact: Manifest) -> str | None:
    """Where an adopted artifact is from; one that a job has published is installed under its own digest."""
    if config.adopt is None:
        return None
    return f"{config.adopt.uri}, {artifact.details.get('source_digest') or artifact.digest}"


def _data(config: TrainerConfig, evaluation: EvaluationConfig) -> str:
    dataset = config.dataset
    if evaluation.data is not None:
        return evaluation.data.source.uri
    if dataset.validation is not None:
        return dataset.validation.uri
    return f"{dataset.validation_fraction} of {dataset.rows.uri}"
