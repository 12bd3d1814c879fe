"""podTemplates in layers: the platform's beneath the job's beneath its training's or serving's. Pure.

What a layer says goes on top of what lies beneath it:

- maps (nodeSelector, labels, annotations) by key, and lists whose items have one by it: env, volumes and
  imagePullSecrets by name, volumeMounts by path, topologySpreadConstraints by topologyKey and
  whenUnsatisfiable. An item that both have is the upper layer's;
- tolerations and envFrom of both, each once;
- affinity by its three kinds, each as a whole;
- anything else is the upper layer's, where it says it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..api.v1alpha1.pod_template import PodTemplate
from ..api.v1alpha1.scheduling import Affinity
from ..api.v1alpha1.volumes import VolumeMount

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "env": ("name",),
    "image_pull_secrets": ("name",),
    "topology_spread_constraints": ("topology_key", "when_unsatisfiable"),
    "volume_mounts": ("mount_path",),
    "volumes": ("name",),
}
"""Lists, and what tells their items apart in Kubernetes."""


def merged(layers: Sequence[PodTemplate]) -> PodTemplate:
    """One template of these, the lowest first."""
    template = PodTemplate()
    for layer in layers:
        template = template.model_copy(
            update={
                name: _merge(name, getattr(template, name), above)
                for name in PodTemplate.model_fields
                if (above := getattr(layer, name)) is not None
            }
        )
    return template


def mount_without_volume(layers: Sequence[PodTemplate]) -> VolumeMount | None:
    """The first mount of the uppermost layer that names no volume of it, nor of one beneath."""
    known = {volume.name for layer in layers for volume in layer.volumes or ()}
    mounts = layers[-1].volume_mounts or () if layers else ()
    return next((mount for mount in mounts if mount.name not in known), None)


def _merge(name: str, below: Any, above: Any) -> Any:
    match below, above:
        case None, _:
            return above
        case dict(), dict():
            return below | above
        case Affinity(), Affinity():
            return below.model_copy(update={kind: value for kind, value in above if value is not None})
        case tuple(), tuple() if name in _KEYS:
            return tuple({_key(name, item): item for item in (*below, *above)}.values())
        case tuple(), tuple():
            return (*below, *(item for item in above if item not in below))
        case _:
            return above


def _key(name: str, item: object) -> tuple[Any, ...]:
    return tuple(getattr(item, field) for field in _KEYS[name])
