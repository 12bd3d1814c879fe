"""The readable table of stages: what has to be made or removed next, from what is desired and what is observed.

Pure: no clock (``now`` is passed), no I/O. One child kind per file beside this one.
"""

from __future__ import annotations

from datetime import datetime

from kubetune_trainer.config import TrainerConfig

from ..api.v1alpha1 import FineTuneJob
from ..observe import Observed
from ..settings import JobSettings
from .model import Plan


def plan(
    job: FineTuneJob, observed: Observed, config: TrainerConfig, settings: JobSettings, *, now: datetime
) -> Plan:
    """Say what to create, apply and delete now, and when to look again.

    ``config`` and ``settings`` are what the ConfigMap ``<name>-config`` holds, or, before it exists,
    ``resolve(job, settings)`` and the live settings. ``now`` decides only whether the pause before a retry is over.
    """
    raise NotImplementedError
