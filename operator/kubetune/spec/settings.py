"""The platform's settings that decide how a job runs, in the order of the chart's values.yaml.

They are frozen into the job's ConfigMap when it starts, so that an operator upgrade changes nothing under a
running job. ``process.settings`` reads them, and the rest, from the environment.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer
from pydantic_core import PydanticCustomError

from ..api.v1alpha1.pod_template import PodTemplate
from .pod_template import mount_without_volume
from .prices import Prices

LABEL_FIELD: Final = "labels."
"""Of metric_fields: what stands before the key of a label."""


def _mounts_its_volumes(template: PodTemplate) -> PodTemplate:
    wrong = mount_without_volume((template,))
    if wrong is not None:
        message = f'"{wrong.name}" is no volume of volumes; add the volume or correct the name'
        raise PydanticCustomError("rule", "{message}", {"message": message, "path": ".volumeMounts"})
    return template


PlatformTemplate = Annotated[
    PodTemplate, AfterValidator(_mounts_its_volumes), PlainSerializer(PodTemplate.manifest)
]
"""A podTemplate with nothing beneath it."""


class JobSettings(BaseModel):
    """Settings that reach a job's pods; frozen per job."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    trainer_image: str
    """Image of prepare and train pods."""
    serving_image: str
    """vLLM image of serving pods that use GPUs."""
    serving_cpu_image: str | None = None
    """vLLM image of serving pods without GPUs; serving_image when unset."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    """Names of pull secrets; they must exist in the job's namespace."""
    pod_template: PlatformTemplate | None = None
    """Beneath the podTemplates of every job: tolerations of GPU nodes, labels of the platform."""
    ca_bundle_config_map: str | None = None
    """ConfigMap in the job's namespace whose key ``ca.crt`` is trusted by prepare."""
    http_proxy: str | None = None
    https_proxy: str | None = None
    no_proxy: str | None = None
    proxy_secret_name: str | None = None
    """Secret in the job's namespace with the proxies' URLs, for those that ask for a password."""
    hf_endpoint: str | None = None
    """Hugging Face endpoint or mirror."""
    https_data_hosts: tuple[str, ...] = ()
    """Hosts of https:// rows, in full or as *.example.com; empty: none."""
    https_data_max_bytes: int = Field(default=10 * 1024**3, ge=1)
    """Largest https:// file."""
    run_as_user: int | None = 1000
    """None where the platform assigns one (OpenShift)."""
    fs_group: int | None = 1000
    gpu_resource: str = "nvidia.com/gpu"
    gpu_memory_bytes: int | None = None
    """Memory of one GPU; prepare refuses a job whose estimate is above it (DoesNotFit)."""
    gpu_type: Annotated[str, Field(max_length=64)] | None = None
    """Type of the GPUs, which says their memory unless gpu_memory_bytes does, their numbers and speed."""
    storage_size: str = "20Gi"
    """Size of an output claim whose spec does not say one."""
    storage_class_name: str | None = None
    """Class of an output claim whose spec does not say one; None is the cluster's default."""
    shm_size: str = "1Gi"
    """Limit of the memory-backed /dev/shm."""
    scratch_size: str = "20Gi"
    """Limit of /tmp, which lies on the node's disk."""
    collective_timeout_seconds: int = 1800
    """A collective that takes longer ends its rank as PeerLost."""
    gang_timeout_seconds: int = Field(default=600, ge=30)
    """How long some pods of an attempt may hold nodes while others find none; then all give them back."""
    retry_backoff_seconds: int = Field(default=10, ge=0, le=600)
    """Pause before a second attempt; doubled for each further one, at most 10 minutes."""
    prices: Prices | None = None
    """What an hour of a GPU and of a pod costs; None: jobs tell what they took, and no cost."""
    metric_fields: tuple[str, ...] = ()
    """Fields of FineTuneJobs that become labels of kubetune_job_info: useCase, or labels.KEY. Metrics follow
    the platform at once; in the model card the labels are as they were when the job started."""
