"""Job ``<name>-evaluate``: asks the job's own servers, scores their answers, and writes the report. No GPU.

The same subcommand runs as ``<name>-baseline``, where the base of a full fine-tune is asked by itself, and as
``<name>-promote``, which writes a person's decision into the report and asks nothing.
"""

from __future__ import annotations

from typing import Final

from kubetune_trainer.contract import evaluation as contract
from kubetune_trainer.contract.config import TrainerConfig
from kubetune_trainer.contract.evaluation import Override
from kubetune_trainer.contract.messages import ArtifactSummary

from ..api.v1alpha1 import FineTuneJob
from ..facts.views import Manifest
from ..spec.resources import evaluator_resources
from ..spec.settings import JobSettings
from ..vocabulary.names import (
    BASELINE,
    EVALUATE,
    LABEL_JOB,
    LABEL_ROLE,
    ROLE_BASELINE,
    ROLE_CANDIDATE,
    ROLE_SERVING,
    Names,
)
from .api_keys import api_keys
from .claim import needs_sharing
from .common import SCRATCH, Item, Volumes, env, stay_together
from .engine import base_name
from .judges import has_judge, judge_keys
from .prepare import add_ca_bundle, outside
from .trainer_job import build_trainer_job

_SERVERS: Final = {BASELINE: ROLE_BASELINE, EVALUATE: ROLE_SERVING}


def build_evaluation(
    job: FineTuneJob,
    config: TrainerConfig,
    settings: JobSettings,
    artifact: ArtifactSummary,
    *,
    stage: str,
    number: int,
    override: Override | None = None,
) -> Manifest:
    """Build the Job of one run of ``stage``: baseline, evaluate, or promote with its ``override``."""
    names = Names(job.metadata.name)
    volumes = Volumes()
    volumes.output(job, read_only=False)
    judged = has_judge(job) and stage == EVALUATE  # answers are graded once all are there
    if judged:
        add_ca_bundle(volumes, settings)
    keys = api_keys(job.spec.serving, volumes) if stage in _SERVERS else []
    manifest = build_trainer_job(
        job,
        name=names.run(stage, number),
        stage=stage,
        number=number,
        container={
            "args": [EVALUATE],
            "image": config.images.trainer,
            "env": [
                *(outside(config, settings) if judged else env(HOME=SCRATCH)),
                *(judge_keys(job) if judged else ()),
                *_asked(job, artifact, stage),
                *keys,
                *env(
                    **{
                        contract.ARTIFACT_PATH: artifact.path,
                        contract.ARTIFACT_DIGEST: artifact.digest,
                        contract.OVERRIDE: None if override is None else override.model_dump_json(),
                    }
                ),
            ],
            "resources": evaluator_resources(job, settings),
        },
        volumes=volumes,
        settings=settings,
        spec={"completions": 1, "parallelism": 1},
    )
    server = _SERVERS.get(stage)
    if server is not None and not needs_sharing(job):
        selector = {"matchLabels": {LABEL_JOB: job.metadata.name, LABEL_ROLE: server}}
        stay_together(manifest["spec"]["template"]["spec"], selector)
    return manifest


def _asked(job: FineTuneJob, artifact: ArtifactSummary, stage: str) -> list[Item]:
    """Where the models are. An adapter's base is in the same server; a full fine-tune's was asked before."""
    names, namespace, name = Names(job.metadata.name), job.metadata.namespace, job.metadata.name
    candidate, base = names.url(namespace, ROLE_CANDIDATE), names.url(namespace, ROLE_BASELINE)
    tuned = {contract.CANDIDATE_URL: candidate, contract.CANDIDATE_MODEL: name}
    if stage == BASELINE:
        return env(**{contract.BASE_URL: base, contract.BASE_MODEL: base_name(job)})
    if stage != EVALUATE:
        return []
    if artifact.type == "Full":
        return env(**tuned, **{contract.BASE_MODEL: base_name(job)})
    return env(**tuned, **{contract.BASE_URL: candidate, contract.BASE_MODEL: base_name(job)})
