"""From a spec to the TrainerConfig: defaults that depend on other fields or on the platform's settings.

Pure. The result is frozen into the ConfigMap ``<name>-config`` when the job starts; from then on everything is
read from there, so that an operator upgrade changes nothing under a running job.
"""

from __future__ import annotations

from kubetune_trainer.config import TrainerConfig

from .api.v1alpha1 import FineTuneJob
from .settings import JobSettings


def resolve(job: FineTuneJob, settings: JobSettings) -> TrainerConfig:
    """Resolve what the spec leaves open.

    Raises SpecError where a field is wrong in a way that the schema could not say.
    """
    raise NotImplementedError


def frozen_settings(config: TrainerConfig) -> JobSettings:
    """Settings as they were when the job started."""
    raise NotImplementedError
