"""The table of stages, in the order in which a job goes through them, and at which one it is. Pure.

=========  ============================================================  ===============================
stage      children                                                      begins when
=========  ============================================================  ===============================
prepare    ConfigMap, output claim, headless Service, Job of run 1       at once, all together
train      Job of attempt 1, then of the next                            prepare said what it found
baseline   server of the base, its Service, Job of the evaluator         a full fine-tune is to be evaluated
evaluate   Deployment, candidate Service, Job of the evaluator           a verified artifact exists
promote    Job that writes down a person's decision, if there is one     the evaluation has a verdict
serve      Deployment (where none was evaluated) and public Service      the verdict lets it
=========  ============================================================  ===============================

A child that exists is never posted again. Nothing is ever repeated under the same name: a run that failed
stays, so that the cluster itself remembers how often it was tried.
"""

from __future__ import annotations

from typing import Final

from ..api.v1alpha1 import FineTuneJob
from ..facts.observed import Observed
from .baseline import BASELINE
from .evaluate import EVALUATE
from .prepare import PREPARE
from .promote import PROMOTE
from .serve import SERVE
from .stage import Stage
from .train import TRAIN

Stages = tuple[Stage, ...]

STAGES: Final[Stages] = (PREPARE, TRAIN, BASELINE, EVALUATE, PROMOTE, SERVE)


def stage_at_hand(job: FineTuneJob, observed: Observed, stages: Stages = STAGES) -> Stage | None:
    """The first stage that is wanted and not reached; None when all are."""
    return next((s for s in stages if s.wanted(job) and not s.reached(job, observed)), None)


def left_over(job: FineTuneJob, observed: Observed, stages: Stages = STAGES) -> Stage | None:
    """The first stage that is not wanted and has something left to delete."""
    return next((s for s in stages if not s.wanted(job) and s.leftovers(job, observed)), None)
