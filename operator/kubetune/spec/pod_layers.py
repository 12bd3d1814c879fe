"""Which podTemplates lie on top of each other at which stage of a job. Pure.

Training and serving have a layer of their own. Every other stage gets what is said of all pods, and nothing
of training: prepare needs no GPU, and must not wait for one.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..api.v1alpha1 import FineTuneJob
from ..api.v1alpha1.pod_template import PodTemplate
from ..vocabulary.errors import SpecError
from ..vocabulary.names import BASELINE, EVALUATE, SERVE, TRAIN
from .pod_template import merged, mount_without_volume
from .settings import JobSettings


def pod_template_of(job: FineTuneJob, settings: JobSettings, stage: str) -> PodTemplate:
    """What all layers together say about the pods of one stage."""
    return merged([template for _, template in _layers(job, settings, stage)])


def check_pod_template(job: FineTuneJob, settings: JobSettings, stage: str) -> None:
    """Check what only holds of the layers together.

    Raises SpecError where a mount names no volume of its own layer, nor of one beneath.
    """
    layers = list(_layers(job, settings, stage))
    for height in range(1, len(layers) + 1):
        field, _ = layers[height - 1]
        wrong = mount_without_volume([template for _, template in layers[:height]])
        if wrong is not None:
            raise SpecError(
                f"{field}.volumeMounts",
                f'"{wrong.name}" is no volume of {_listed([name for name, _ in layers[:height]])}',
                "add the volume or correct the name",
            )


def _layers(job: FineTuneJob, settings: JobSettings, stage: str) -> Iterator[tuple[str, PodTemplate]]:
    """Where each layer is said and what it says, the lowest first."""
    spec = job.spec
    yield "settings.podTemplate", settings.pod_template or PodTemplate()
    yield "spec.podTemplate", spec.pod_template or PodTemplate()
    if stage == TRAIN:
        yield "spec.training.podTemplate", spec.trains.pod_template or PodTemplate()
    if stage in (BASELINE, EVALUATE):
        yield "spec.serving.podTemplate", _places(spec.serving.pod_template if spec.serving else None)
    if stage == SERVE:
        serving = spec.serving.pod_template if spec.serving else None
        yield "spec.serving.podTemplate", serving or PodTemplate()


def _places(serving: PodTemplate | None) -> PodTemplate:
    """Where servers may run: an evaluator runs on the node of the server that it asks, for their volume."""
    if serving is None:
        return PodTemplate()
    places = {"node_selector": serving.node_selector, "tolerations": serving.tolerations}
    return PodTemplate().model_copy(update=places)


def _listed(fields: list[str]) -> str:
    return ", ".join(reversed(fields))
