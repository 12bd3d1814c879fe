"""What a server is made from, as one digest: an equal digest needs no second apply. Pure."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel

from kubetune_trainer.contract.config import digest_of
from kubetune_trainer.contract.messages import ArtifactSummary

from ..api.v1alpha1 import FineTuneJob
from ..api.v1alpha1.serving import Serving
from ..children.guard import DIGEST
from ..spec.resolve import serving_image
from ..spec.resources import serving_gpus
from ..spec.settings import JobSettings
from ..vocabulary.names import ROLE_SERVING

TEMPLATE_VERSION: Final = 1
"""Raised only where servers that run must be replaced: an operator upgrade with another number rolls all of
them, one with other code in ``children.server`` alone none."""

_NOT_OF_PODS: Final = frozenset({"allow_from"})
"""Fields of spec.serving that change no pod."""

_IMAGES: Final = frozenset({"trainer_image", "serving_image", "serving_cpu_image"})
"""Settings of which only the image that they resolve to matters."""


def intent_of(
    job: FineTuneJob,
    serving: Serving | None,
    artifact: ArtifactSummary | None,
    settings: JobSettings,
    *,
    planned_gpus: int,
    role: str = ROLE_SERVING,
) -> str | None:
    """Digest of what is to be served now, and not of how this operator writes it down.

    The guard is an exception: what keeps a server up reaches those that run.

    None when there is nothing to serve. ``serving`` is what ``wanted_serving`` says of ``role``. ``settings``
    are the job's own, as they were frozen; ``planned_gpus`` is what prepare said. That and the role count
    only where they change anything: servers of before are not rolled.
    """
    if serving is None or artifact is None:
        return None
    gpus = serving_gpus(job, planned_gpus)
    return digest_of(
        {
            **({} if gpus == serving_gpus(job) else {"gpus": gpus}),
            **({} if role == ROLE_SERVING else {"role": role}),
            "version": TEMPLATE_VERSION,
            "serving": _chosen(serving, besides=_NOT_OF_PODS),
            "artifact": artifact.digest,
            **({"checkpoints": [kept.step for kept in artifact.checkpoints]} if artifact.checkpoints else {}),
            "image": serving_image(job, settings),
            "guard": DIGEST,
            "settings": _chosen(settings, besides=_IMAGES),
        }
    )


def _chosen(model: BaseModel, *, besides: frozenset[str] = frozenset()) -> dict[str, Any]:
    """What differs from the defaults: a field that a newer operator adds changes nothing until it is used."""
    return model.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=set(besides))
