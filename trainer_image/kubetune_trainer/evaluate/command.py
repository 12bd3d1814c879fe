"""``evaluate``: asks, scores and judges what was trained, from top to bottom, and leaves a report.

Whoever starts it again after it was stopped goes on: every answer and every grade is kept as it comes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..contract import evaluation as names
from ..contract import termination
from ..contract.config import TrainerConfig
from ..contract.errors import InvalidInput, VolumeUnusable
from ..contract.evaluation import EvaluationConfig, MetricConfig, Override
from ..contract.layout import RunDirectory, output_root
from ..contract.messages import ExitCode, Reason, TerminationMessage
from ..scoring.general import GENERAL_METRIC
from ..scoring.questions import PLAIN, Question, read_questions
from ..scoring.report import Report
from ..store.manifest import Manifest, ManifestError, read_manifest
from . import files
from .candidates import variable
from .summary import summary_of

logger = logging.getLogger(__name__)


def main(config: TrainerConfig, confirm: Callable[[], None], environment: Mapping[str, str]) -> int:
    """Evaluate a result and write the termination message; ``confirm`` says that the directory is locked.

    Without a candidate's URL in the environment the base alone is asked, and its answers wait for a run that
    has one. With an Override, and a report of the same artifact, nothing is asked.

    Raises TrainerError, OSError.
    """
    if config.evaluation is None:
        raise InvalidInput("The configuration has no evaluation: add spec.evaluation to the job.")
    run = RunDirectory.of(config)
    artifact = output_root() / variable(environment, names.ARTIFACT_PATH)
    digest = variable(environment, names.ARTIFACT_DIGEST)
    override = _override(environment)
    report = files.read_report(run) if override else None
    if report is None or report.artifact != digest:
        if override and not environment.get(names.CANDIDATE_URL):
            raise VolumeUnusable(
                f"{run.report_file} is not of the artifact {digest} that the override is about: make the job "
                "again, so that it is evaluated."
            )
        report = evaluate(config, config.evaluation, run, _manifest(artifact, digest), environment)
    if report is None:
        message = TerminationMessage(reason=Reason.COMPLETED, message="The base model has answered.")
        termination.write(message)
        return ExitCode.COMPLETED
    report = report.model_copy(update={"override": override})
    files.publish(run, artifact, report, confirm)
    logger.info("%s", report.said)
    for warning in report.warnings:
        logger.warning("%s", warning)
    summary = summary_of(report, run.relative(run.evaluation))
    termination.write(termination.completed(report.said, summary))
    return ExitCode.COMPLETED


def evaluate(
    config: TrainerConfig,
    evaluation: EvaluationConfig,
    run: RunDirectory,
    artifact: Manifest,
    environment: Mapping[str, str],
) -> Report | None:
    """Ask what was not asked before, score it, and write rows.jsonl; None where the base alone was asked.

    Raises TrainerError, OSError.
    """
    # Here, as they take a second to import, and an override needs none of them.
    from . import canary
    from .asking import Patience
    from .examination import Examination
    from .reporting import report_of

    examination = Examination(
        config=config,
        evaluation=evaluation,
        run=run,
        artifact=artifact,
        questions=_questions(run, evaluation),
        general_metric=_general_metric(evaluation),
        environment=environment,
        patience=Patience.of(environment),
    )
    url = environment.get(names.CANDIDATE_URL)
    if not url:
        base = variable(environment, names.BASE_URL)
        canary.proven("Base", base, artifact.digest, examination.patience)
        examination.sit()
        return None
    said = canary.proven(names.TUNED, url, artifact.digest, examination.patience)
    papers = examination.sit()
    report = report_of(examination, papers, canary=said, dataset=_dataset(run))
    files.write_rows(run, papers.rows(examination.questions))
    return report


def _general_metric(evaluation: EvaluationConfig) -> MetricConfig:
    """How the questions of the set General are scored: those that the project ships, or a file's."""
    regression = evaluation.gate.must_not_regress if evaluation.gate else None
    if regression is None or regression.data is None:
        return GENERAL_METRIC
    return next(metric for metric in evaluation.metrics if metric.name == evaluation.main_metric)


def _override(environment: Mapping[str, str]) -> Override | None:
    text = environment.get(names.OVERRIDE)
    try:
        return Override.model_validate_json(text) if text else None
    except ValidationError:
        raise InvalidInput(
            f"{names.OVERRIDE} is not an override: use the trainer image that belongs to the operator."
        ) from None


def _manifest(artifact: Path, digest: str) -> Manifest:
    try:
        found = read_manifest(artifact)
    except ManifestError as error:
        raise VolumeUnusable(f"{artifact} is not an artifact: {error}.") from None
    if found.digest != digest:
        raise VolumeUnusable(
            f"{artifact} has the digest {found.digest}, and {digest} is to be evaluated: it was replaced."
        )
    return found


def _questions(run: RunDirectory, evaluation: EvaluationConfig) -> tuple[Question, ...]:
    """What prepare wrote, if it has what this evaluation asks."""
    wrong = "is not what prepare writes"
    try:
        questions = tuple(read_questions(run.questions_file))
    except FileNotFoundError:
        questions, wrong = (), "is missing"
    except ValidationError:
        questions = ()
    main = tuple(question for question in questions if question.set == "Main")
    general = tuple(question for question in questions if question.set == "General")
    prompts = {PLAIN, *(each.type for each in evaluation.baselines if each.type != "Base")}
    regression = evaluation.gate is not None and evaluation.gate.must_not_regress is not None
    if not main or not all(prompts <= set(each.prompts) for each in main) or (regression and not general):
        raise VolumeUnusable(f"{run.questions_file} {wrong}: delete it, and make the job again.")
    return main + general if regression else main


def _dataset(run: RunDirectory) -> dict[str, Any]:
    """What prepare found of the training rows, without its details; empty of an adopted artifact."""
    try:
        document = json.loads(run.dataset_file.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return {key: value for key, value in document.items() if key != "details"}
