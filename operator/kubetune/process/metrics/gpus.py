"""GPUs that a job's pods hold, and those that they wait for. Pure.

Counted are the GPUs of training (``training.gpusPerNode`` for each pod) and of servers, those of an
evaluation too, whatever resource the platform requests them as. Other devices that ``resources`` name are
not, and no other pod holds any.
"""

from __future__ import annotations

from ...facts.views import DeploymentView, JobView
from ...spec.resources import gpus_of_server
from ...vocabulary.json_values import dict_of, int_of
from ...vocabulary.names import TRAIN, Names
from .job import Job


def gpus(job: Job) -> tuple[int, int]:
    """Return those of pods that are ready, and those of pods that are asked for and are not ready.

    A pod that pulls its image or loads a model is not ready yet, and a suspended Job asks for all its pods.
    """
    per_pod = int_of(dict_of(job.spec.get("training")).get("gpusPerNode"))
    per_server = _per_server(job, per_pod)
    used = waiting = 0
    for view in job.children:
        if isinstance(view, JobView) and view.stage == TRAIN:
            ends = view.is_over or view.deleting
            used += view.ready * per_pod
            waiting += 0 if ends else max(0, view.parallelism - view.ready - view.succeeded) * per_pod
        elif isinstance(view, DeploymentView) and Names(job.name).role_of(view.name) is not None:
            used += view.ready * per_server
            waiting += 0 if view.deleting else max(0, view.size - view.ready) * per_server
    return used, waiting


def _per_server(job: Job, per_pod: int) -> int:
    asked = dict_of(job.spec.get("serving")).get("gpus")
    planned = int_of(dict_of(job.status.get("plan")).get("servingGpus"))
    return gpus_of_server(None if asked is None else int_of(asked), planned, per_pod)
