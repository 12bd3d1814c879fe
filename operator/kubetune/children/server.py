"""Deployment of a server: vLLM with the base model and the adapter, or with a full fine-tune's weights.

The one of role ``baseline`` has the base model alone, with the chat template of the result.

Ready means that this pod answered by the job's own model name, and not otherwise than training measured.
"""

from __future__ import annotations

import json
from typing import Final

from kubetune_trainer.contract.config import (
    OUTPUT_MOUNT,
    TrainerConfig,
    digest_of,
    epoch_adapter,
    model_directory,
)
from kubetune_trainer.contract.messages import ArtifactSummary

from ..api.v1alpha1 import FineTuneJob
from ..api.v1alpha1.serving import Serving
from ..facts.canary import STARTED_PATH
from ..facts.parse import live_fields
from ..facts.views import Manifest
from ..spec.pod_layers import pod_template_of
from ..spec.resolve import serving_image
from ..spec.resources import serving_gpus, serving_resources
from ..spec.settings import JobSettings
from ..spec.sources import named_claim, sources_of
from ..vocabulary.names import (
    ANNOTATION_INTENT,
    ANNOTATION_LIVE,
    CONTAINER_SERVER,
    LABEL_JOB,
    LABEL_ROLE,
    PORT_HTTP,
    ROLE_BASELINE,
    SERVE,
    Names,
)
from .api_keys import api_keys
from .chat import chat_arguments
from .claim import needs_sharing
from .common import Item, Volumes, labels, metadata, pod_template, stay_together
from .engine import base_name, engine_arguments, environment
from .guard import DIGEST, MOUNT, PACKAGE

PORT: Final = 8000
LORA_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values that vLLM takes for --max-lora-rank."""

STARTUP_SECONDS: Final = 1800
"""Large models take minutes to load and compile. The probe's period of 1 s is felt by users."""


def build_server(
    job: FineTuneJob,
    serving: Serving,
    config: TrainerConfig,
    artifact: ArtifactSummary,
    settings: JobSettings,
    *,
    role: str,
    intent: str,
    architecture: str,
    planned_gpus: int,
) -> Manifest:
    """Build the Deployment; ``intent`` digests what it is made from, ``architecture`` is the base model's.
    ``planned_gpus`` is how many GPUs prepare found a server to need.

    Replicas that the spec leaves out are left out here too: the API server makes it one, and an apply without
    the field leaves what others made of it.
    """
    own = labels(job, component=SERVE, stage=SERVE, role=role)
    gpus = serving_gpus(job, planned_gpus)
    volumes = Volumes()
    volumes.output(job, read_only=True)
    for source in sources_of(job):
        if source.role == "model" and (artifact.type == "LoRA" or role == ROLE_BASELINE):
            volumes.source(source)
    volumes.scratch(settings)
    guard = {"configMap": {"name": Names(job.metadata.name).guard(role, DIGEST)}}
    volumes.add("guard", guard, f"{MOUNT}/{PACKAGE}", read_only=True)
    keys = api_keys(serving, volumes)
    selector = {"matchLabels": {LABEL_JOB: job.metadata.name, LABEL_ROLE: role}}
    extra = pod_template_of(job, settings, SERVE)
    template = pod_template(
        pod_labels=own,
        container={
            "name": CONTAINER_SERVER,
            "image": serving_image(job, settings),
            "command": ["python3", "-m", "vllm.entrypoints.openai.api_server"],
            "args": _arguments(job, serving, config, artifact, architecture, gpus, role=role),
            "env": [*environment(job, serving, artifact, settings, architecture, role=role), *keys],
            "ports": [{"name": PORT_HTTP, "containerPort": PORT, "protocol": "TCP"}],
            "resources": serving_resources(job, settings, planned_gpus),
            "startupProbe": _started(),
            "readinessProbe": {
                "httpGet": {"path": "/health", "port": PORT_HTTP},
                "periodSeconds": 5,
                "timeoutSeconds": 5,
            },
            # requests still come while the endpoint's removal spreads
            "lifecycle": {"preStop": {"exec": {"command": ["sleep", "5"]}}},
        },
        volumes=volumes,
        settings=settings,
        template=extra,
        terminationGracePeriodSeconds=60,
    )
    if not needs_sharing(job) and named_claim(job) is None:
        stay_together(template["spec"], selector)
    manifest: Manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(job, Names(job.metadata.name).server(role), own, template=extra),
        "spec": {
            **({} if serving.replicas is None else {"replicas": serving.replicas}),
            "selector": selector,
            "strategy": _strategy(surge=gpus == 0 or needs_sharing(job)),
            "progressDeadlineSeconds": STARTUP_SECONDS + 60,
            "revisionHistoryLimit": 2,
            "template": template,
        },
    }
    manifest["metadata"]["annotations"] |= {
        ANNOTATION_INTENT: intent,
        ANNOTATION_LIVE: digest_of(live_fields(manifest["spec"])),
    }
    return manifest


def _strategy(*, surge: bool) -> Item:
    """How a new server takes the place of an old one: beside it, so that one always answers, or after it.

    Servers with GPUs whose volume may tie them to one node cannot count on as many free GPUs there: one that
    is started beside the old would wait for ever, and the edit with it. So the old one gives up its GPUs
    first, one server at a time; a single one is away while the new one loads. Recreate would end all of
    several. Where the claim has to be usable from several nodes, the scheduler may find GPUs elsewhere.
    """
    step = {"maxSurge": 1, "maxUnavailable": 0} if surge else {"maxSurge": 0, "maxUnavailable": 1}
    return {"type": "RollingUpdate", "rollingUpdate": step}


def lora_rank(rank: int) -> int:
    """The smallest of vLLM's ranks that holds the adapter."""
    return next((step for step in LORA_RANKS if step >= rank), LORA_RANKS[-1])


def _places(adapters: int, *, on_cpu: bool) -> int:
    """How many adapters the server computes with at once.

    With fewer than there are, requests for one wait for as long as there are any for another. On CPU vLLM
    computes requests for the base with the adapter in the last place, where others in their batch have one:
    that place stays empty.
    """
    return adapters + 1 if on_cpu else adapters


def _arguments(
    job: FineTuneJob,
    serving: Serving,
    config: TrainerConfig,
    artifact: ArtifactSummary,
    architecture: str,
    gpus: int,
    *,
    role: str,
) -> list[str]:
    name, path = job.metadata.name, f"{OUTPUT_MOUNT}/{artifact.path}"
    base = base_name(job)
    served = config.model.mount or str(model_directory(config.model.uri, artifact.base_revision))
    if role == ROLE_BASELINE:
        args = ["--model", served, "--served-model-name", base]
    elif artifact.type == "Full":
        args = ["--model", path, "--served-model-name", name]
    else:
        adapters = {name: path} | {
            Names(name).checkpoint_model(
                kept.step
            ): f"{OUTPUT_MOUNT}/{epoch_adapter(artifact.path, kept.step)}"
            for kept in artifact.checkpoints
        }
        modules = [
            json.dumps({"name": model, "path": directory, "base_model_name": base})
            for model, directory in adapters.items()
        ]
        rank = str(lora_rank(artifact.rank or config.training.adapter.rank))
        args = ["--model", served, "--served-model-name", base]
        args += ["--enable-lora", "--lora-modules", *modules, "--max-lora-rank", rank]
        args += ["--max-loras", str(_places(len(modules), on_cpu=gpus == 0))]
    if gpus > 1:
        args += ["--tensor-parallel-size", str(gpus)]
    args += chat_arguments(config, artifact)
    if role == ROLE_BASELINE:
        args += ["--generation-config", path]  # it stops where the result does
    return [*args, "--port", str(PORT), *engine_arguments(job, serving, architecture)]


def _started() -> Item:
    """Whether the guard lets requests come, asked without starting a Python process.

    It does when a token was completed by the job's model name and nothing that training measured speaks
    against the server.
    """
    command = ["curl", "--fail", "--silent", "--show-error", "--max-time", "9", "--output", "/dev/null"]
    return {
        "exec": {"command": [*command, f"http://127.0.0.1:{PORT}{STARTED_PATH}"]},
        "periodSeconds": 1,
        "timeoutSeconds": 10,
        "failureThreshold": STARTUP_SECONDS,
    }
