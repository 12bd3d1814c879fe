"""Indexed Job ``<name>-train-<attempt>``: one attempt of training, one pod per node with all its ranks."""

from __future__ import annotations

from kubetune_trainer.contract.config import METRICS_PORT, RENDEZVOUS_PORT, TrainerConfig

from ..api.v1alpha1 import FineTuneJob
from ..facts.views import Manifest
from ..spec.resources import training_resources
from ..spec.settings import JobSettings
from ..spec.sources import sources_of
from ..vocabulary.names import PORT_METRICS, TRAIN, Names
from ..vocabulary.quantities import amount_of
from .common import SCRATCH, Item, Volumes, env
from .trainer_job import build_trainer_job


def build_training(
    job: FineTuneJob, config: TrainerConfig, settings: JobSettings, *, number: int
) -> Manifest:
    """Build the Job of one attempt. World size, ranks and rendezvous are fixed by it."""
    names, training = Names(job.metadata.name), config.training
    volumes = Volumes()
    volumes.output(job, read_only=False)
    for source in sources_of(job):
        if source.role == "model":  # rows come tokenised from the output volume
            volumes.source(source)
    return build_trainer_job(
        job,
        name=names.run(TRAIN, number),
        stage=TRAIN,
        number=number,
        container={
            "image": config.images.trainer,
            "env": _environment(job, config, settings, number=number),
            "ports": [{"name": PORT_METRICS, "containerPort": METRICS_PORT, "protocol": "TCP"}],
            "resources": training_resources(job, settings),
        },
        volumes=volumes,
        settings=settings,
        spec={"completionMode": "Indexed", "completions": training.nodes, "parallelism": training.nodes},
        subdomain=names.rendezvous,
    )


def _environment(
    job: FineTuneJob, config: TrainerConfig, settings: JobSettings, *, number: int
) -> list[Item]:
    """Rendezvous, and no way out: prepare has fetched everything. A node's rank is JOB_COMPLETION_INDEX."""
    training = config.training
    on_cpu = training.gpus_per_node == 0
    names, namespace = Names(job.metadata.name), job.metadata.namespace
    # one pod needs no DNS, which may have cached that its name does not exist yet
    address = names.rank0_host(number, namespace) if training.nodes > 1 else "127.0.0.1"
    cores = amount_of(training_resources(job, settings)["requests"]["cpu"])
    return env(
        HOME=SCRATCH,
        MASTER_ADDR=address,
        MASTER_PORT=str(RENDEZVOUS_PORT),
        NNODES=str(training.nodes),
        NPROC_PER_NODE=str(training.processes_per_node),
        HF_HUB_OFFLINE="1",
        DS_ACCELERATOR="cpu" if on_cpu else None,
        # one process has the whole pod; without this every process starts a thread per core of the node
        OMP_NUM_THREADS=str(max(1, int(cores))) if on_cpu else None,
        TRITON_CACHE_DIR=f"{SCRATCH}/triton",
    )
