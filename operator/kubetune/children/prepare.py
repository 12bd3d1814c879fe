"""Job ``<name>-prepare``: fetches and checks model and data before a GPU is held.

The only pod with credentials.
"""

from __future__ import annotations

from collections.abc import Iterator

from kubetune_trainer.contract.config import TrainerConfig

from ..api.v1alpha1 import FineTuneJob
from ..facts.views import Manifest
from ..spec.resolve import CA_BUNDLE_MOUNT
from ..spec.resources import prepare_resources
from ..spec.settings import JobSettings
from ..spec.sources import PREFIXES, sources_of
from ..vocabulary.names import PREPARE, Names
from .common import SCRATCH, Item, Volumes, env
from .judges import judge_keys
from .trainer_job import build_trainer_job


def build_prepare(job: FineTuneJob, config: TrainerConfig, settings: JobSettings, *, number: int) -> Manifest:
    """Build the Job of one run. Its pod, the job's first, decides the volume's zone."""
    volumes = Volumes()
    volumes.output(job, read_only=False)
    for source in sources_of(job):
        volumes.source(source)
    add_ca_bundle(volumes, settings)
    return build_trainer_job(
        job,
        name=Names(job.metadata.name).run(PREPARE, number),
        stage=PREPARE,
        number=number,
        container={
            "image": config.images.trainer,
            "env": [*outside(config, settings), *_credentials(job), *judge_keys(job)],
            "resources": prepare_resources(job, settings),
        },
        volumes=volumes,
        settings=settings,
        spec={"completions": 1, "parallelism": 1},
    )


def add_ca_bundle(volumes: Volumes, settings: JobSettings) -> None:
    """What the platform trusts besides the public authorities."""
    if settings.ca_bundle_config_map is not None:
        volumes.add(
            "ca", {"configMap": {"name": settings.ca_bundle_config_map}}, CA_BUNDLE_MOUNT, read_only=True
        )


def outside(config: TrainerConfig, settings: JobSettings) -> list[Item]:
    """How this platform reaches the outside: every library reads its own variable."""
    bundle = config.platform.ca_bundle
    own = env(
        HOME=SCRATCH,
        HF_HOME=f"{SCRATCH}/huggingface",
        HF_ENDPOINT=settings.hf_endpoint,
        HTTP_PROXY=settings.http_proxy,
        HTTPS_PROXY=settings.https_proxy,
        NO_PROXY=settings.no_proxy,
        http_proxy=settings.http_proxy,
        https_proxy=settings.https_proxy,
        no_proxy=settings.no_proxy,
        AWS_CA_BUNDLE=bundle,
        REQUESTS_CA_BUNDLE=bundle,
        SSL_CERT_FILE=bundle,
    )
    return [*own, *_proxies(settings.proxy_secret_name)]


def _proxies(secret: str | None) -> Iterator[Item]:
    """URLs of proxies that ask for a password, by reference; the one for http may be left out."""
    if secret is None:
        return
    for key in ("http_proxy", "https_proxy"):
        reference: Item = {"name": secret, "key": key}
        if key == "http_proxy":
            reference["optional"] = True
        for name in (key.upper(), key):
            yield {"name": name, "valueFrom": {"secretKeyRef": reference}}


def _credentials(job: FineTuneJob) -> Iterator[Item]:
    """Credentials by reference: neither the operator nor any manifest ever holds one.

    A missing required key keeps the pod from starting, where it is found and named.
    """
    for source in sources_of(job):
        if source.secret is None:
            continue
        for key, required in source.keys.items():
            reference: Item = {"name": source.secret, "key": key}
            if not required:
                reference["optional"] = True
            yield {"name": f"{PREFIXES[source.role]}{key}", "valueFrom": {"secretKeyRef": reference}}
