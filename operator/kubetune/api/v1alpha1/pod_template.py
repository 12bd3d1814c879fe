"""podTemplate: what a platform needs to say about a pod, and no more.

A pod has several of them, one on top of the other: ``spec.pod_template`` merges them, and checks what only
holds of all together.

Security context, containers, volumes of the node, host namespaces and service-account tokens are not here:
every pod runs restricted.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from pydantic import Field, StringConstraints

from kubetune.api.base import ATOMIC, LabelValue, ListMap, Map, ObjectName, Rule, SpecModel, cel_list
from kubetune.api.v1alpha1.env import Env, EnvFroms
from kubetune.api.v1alpha1.resources import keys_rule
from kubetune.api.v1alpha1.scheduling import Affinity, Toleration, TopologySpread
from kubetune.api.v1alpha1.volumes import SecretReference, VolumeMounts, Volumes

RESERVED_PREFIXES: Final = (
    "kubetune.dev/",
    "app.kubernetes.io/",
    "batch.kubernetes.io/",
    "deployment.kubernetes.io/",
)
"""Labels and annotations that the operator, and the Job and Deployment controllers, go by."""

RESERVED_LABELS: Final = ("job-name", "controller-uid", "pod-template-hash")
"""Labels without prefix that the Job and Deployment controllers set themselves."""


def _not_reserved(field: str) -> Rule:
    return Rule(
        cel=f"!has(self.{field}) || self.{field}.all(k, !(k in {cel_list(RESERVED_LABELS)}) "
        f"&& !{cel_list(RESERVED_PREFIXES)}.exists(p, k.startsWith(p)))",
        check=lambda template: (
            not any(
                key in RESERVED_LABELS or key.startswith(RESERVED_PREFIXES)
                for key in getattr(template, field) or ()
            )
        ),
        path=f".{field}",
        message=f"a key is reserved ({', '.join((*RESERVED_PREFIXES, *RESERVED_LABELS))}); choose another",
    )


class PodTemplate(SpecModel):
    """Additions to the pods that KubeTune makes."""

    model_config = ATOMIC

    rules: ClassVar = (
        keys_rule("nodeSelector", "node_selector", noun="a label key"),
        keys_rule("labels", "labels", noun="a label key"),
        keys_rule("annotations", "annotations", noun="an annotation key"),
        _not_reserved("labels"),
        _not_reserved("annotations"),
    )

    node_selector: Map[LabelValue] | None = None
    """Labels that a node must have."""
    tolerations: tuple[Toleration, ...] | None = Field(default=None, max_length=32)
    """Taints that the pods tolerate."""
    affinity: Affinity | None = None
    """Where the pods may and shall run."""
    topology_spread_constraints: (
        Annotated[
            tuple[TopologySpread, ...], Field(max_length=8), ListMap("topology_key", "when_unsatisfiable")
        ]
        | None
    ) = None
    """How pods are spread over parts of the cluster."""
    priority_class_name: ObjectName | None = None
    """Priority of the pods."""
    scheduler_name: ObjectName | None = None
    """Scheduler of the pods, when it is not the default one."""
    runtime_class_name: ObjectName | None = None
    """Container runtime of the pods."""
    service_account_name: ObjectName | None = None
    """Service account in the job's namespace, for workload identity. Its API token is not mounted."""
    image_pull_secrets: (
        Annotated[tuple[SecretReference, ...], Field(max_length=16), ListMap("name")] | None
    ) = None
    """Pull secrets, added to the platform's."""
    env: Env | None = None
    """Environment variables."""
    env_from: EnvFroms | None = None
    """Environment variables from every key of a ConfigMap or Secret."""
    volumes: Volumes | None = None
    """Volumes: emptyDir, persistentVolumeClaim, configMap, secret, projected or csi."""
    volume_mounts: VolumeMounts | None = None
    """Where volumes are seen in the container."""
    labels: Map[LabelValue] | None = None
    """Labels of the pods, and of their Job or Deployment, where queues look for them. The platform lists
    which, as it does annotations, service accounts, priority classes, CSI drivers and tokens."""
    annotations: Map[Annotated[str, StringConstraints(max_length=4096)]] | None = None
    """Annotations of the pods, and of their Job or Deployment."""
