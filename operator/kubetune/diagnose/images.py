"""Images that cannot be pulled, and those that take their time. Pure; part of ``diagnose``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from ..facts.observed import Diagnosis
from ..facts.views import Raw
from ..vocabulary.names import PREPARE, SERVE, TRAIN
from ..vocabulary.reasons import Reason
from ..vocabulary.sentences import shortened
from ..vocabulary.times import rfc3339
from .evidence import found, is_starting, last, latest, message_of, name_of

PULL_ERRORS: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
    | {"RegistryUnavailable"}
)
"""Why a container waits, when it waits for its image."""

_TRIED: Final = ("Failed", "BackOff", "Pulling")
"""Events of a pull that goes on failing, which the kubelet repeats as well."""

_AT_WORK: Final = {PREPARE: Reason.PREPARING, TRAIN: Reason.TRAINING, SERVE: Reason.DEPLOYING}

_SECRET_SEEN: Final = timedelta(minutes=10)
"""The kubelet repeats that a pull Secret is missing at least every five minutes, and not when it is there."""


def diagnose_pull(stage: str, pod: Raw, status: Raw, events: Sequence[Raw]) -> Diagnosis:
    """A container whose image does not come."""
    image = status.get("image") or ""
    message = ((status.get("state") or {}).get("waiting") or {}).get("message", "")
    failed = [message_of(e) for e in events if message_of(e).startswith("Failed to pull image")]
    told = failed[-1] if failed and ": " not in message.partition("Back-off pulling image")[2] else message
    what = f"Pod {name_of(pod)} cannot pull image {image}: {_registry_error(told, image)}"
    secrets = _missing_secrets(events)
    if secrets:
        one = "," not in secrets
        missing = f"Pull Secret {secrets} does" if one else f"Pull Secrets {secrets} do"
        remedy = (
            f"{missing} not exist in this namespace: create {'it' if one else 'them'}, or correct the name"
        )
        return found(Reason.SECRET_NOT_FOUND, stage, what, remedy)
    remedy = "Check the name and tag of the image, its pull secret and the registry"
    return found(Reason.IMAGE_PULL_FAILED, stage, what, remedy)


def diagnose_pulling(stage: str, pod: Raw, events: Sequence[Raw]) -> Diagnosis | None:
    """An image that is on its way, which is no failure and can take long."""
    if not is_starting(pod):
        return None
    newest = last(events, "Pulling", "Pulled", "Failed", "Created")
    if newest is None or newest.get("reason") != "Pulling":
        return None
    image = re.search(r'"([^"]+)"', message_of(newest))
    since = latest(newest)
    what = f"Pod {name_of(pod)} has been pulling image {image[1] if image else ''}"
    return found(
        _AT_WORK.get(stage, Reason.PREPARING),
        stage,
        f"{what} since {rfc3339(since)}" if since else what,
        "A large image takes minutes on a node that does not have it",
    )


def _registry_error(message: str, image: str) -> str:
    """The end of the chain of errors, which is the registry's own."""
    text = re.sub(
        r'^.*failed to (?:resolve reference|resolve image|copy|authorize)(?: "[^"]*")?: ', "", message
    )
    text = re.sub(r'^.*(?:failed to pull and unpack image|Back-off pulling image) "[^"]*":? ?', "", text)
    text = text.removeprefix("ErrImagePull: ").replace(f"{image}: ", "")
    return shortened(text) or "the registry's answer is in the pod's Events"


def _missing_secrets(events: Sequence[Raw]) -> str:
    """Names of pull Secrets that the kubelet did not find; an image may come without them."""
    event = last(events, "FailedToRetrieveImagePullSecret")
    said = None if event is None else latest(event)
    if event is None or said is None:
        return ""
    tried = [latest(other) for other in events if other.get("reason") in _TRIED]
    if any(time is not None and time - said >= _SECRET_SEEN for time in tried):  # both by the kubelet
        return ""
    named = re.search(r"\(([^)]+)\)", message_of(event))
    return named[1] if named else ""
