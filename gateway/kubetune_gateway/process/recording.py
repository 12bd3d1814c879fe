"""What the replica that holds the Lease does beside the answers, made of the settings."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

from ..contracts import Means
from ..kube.api_server import ApiServer
from ..kube.leases import KubeLeases
from ..kube.watch import JobWatch
from ..recorder.lead import lead
from ..recorder.recorder import Periodic, Recorder
from ..uploads.expiry import expire
from ..webhooks.deliveries import Deliveries
from ..webhooks.endpoint import Endpoint, checked
from .settings import PREFIX, Settings, Webhook

logger = logging.getLogger(__name__)

_EXPIRY_SECONDS: Final = 3600.0


def recording(
    settings: Settings, endpoints: Sequence[Endpoint], means: Means, api: ApiServer, watch: JobWatch
) -> Callable[[], Awaitable[Any]]:
    """Return what records jobs, sends webhooks and deletes what has expired, by one replica."""
    places = settings.platform.places
    recorder = Recorder(
        feed=watch,
        jobs=means.jobs,
        archive=means.archive,
        files=means.files,
        deliveries=Deliveries(endpoints, means.bucket, places, means.telemetry, now=means.now),
        now=means.now,
        periodic=(Periodic(name="expiry", seconds=_EXPIRY_SECONDS, do=partial(_expire, means)),),
    )
    return partial(
        lead,
        recorder,
        KubeLeases(api),
        means.telemetry,
        namespace=settings.lease_namespace,
        name=settings.lease_name,
    )


async def _expire(means: Means) -> None:
    if gone := await expire(means.bucket, means.platform.places, means.now()):
        logger.info("Deleted what has expired", extra={"objects": gone})


def endpoints_of(settings: Settings) -> list[Endpoint]:
    """Who is told by webhooks, with their secrets. Raises ValueError for one that could not be told."""
    return [_endpoint(number, webhook) for number, webhook in enumerate(settings.webhooks)]


def _endpoint(number: int, webhook: Webhook) -> Endpoint:
    try:
        # Each word of the file is a secret: two while they are exchanged.
        secrets = tuple(webhook.secret_file.read_text().split())
        endpoint = Endpoint(
            namespace=webhook.namespace, url=webhook.url, secrets=secrets, events=frozenset(webhook.events)
        )
        return checked(endpoint, allow_http=True)
    except (OSError, ValueError) as error:
        raise ValueError(f"{PREFIX}WEBHOOKS, {number}: {error}") from None
