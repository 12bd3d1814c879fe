"""Whether a service account is there: whoever has a key for one that was deleted is nobody."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus

from kubetune.cluster.kube.errors import Target
from kubetune.vocabulary.errors import KubeTuneError, NotFound
from kubetune.vocabulary.json_values import dict_of
from kubetune.vocabulary.times import parse_time

from ..kube.api_server import ApiServer, path_of
from ..kube.refusals import unanswered
from .recent import No, Recent


class Accounts:
    """Service accounts of the API server; the gateway needs the right to get them."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._recent: Recent[datetime] = Recent()

    async def made_at(self, namespace: str, name: str) -> datetime:
        """When this one was made. Raises ApiError with 401 where there is none."""
        return await self._recent.get(f"{namespace}/{name}", lambda: self._read(namespace, name))

    async def _read(self, namespace: str, name: str) -> datetime | No:
        target = Target(verb="get", kind="serviceaccounts", namespace=namespace, name=name)
        path = path_of("serviceaccounts", group="", version="v1", namespace=namespace, name=name)
        try:
            raw = await self._api.send("GET", path, target)
        except NotFound:
            raw = {}
        except KubeTuneError as error:
            raise unanswered(error) from error
        made = parse_time(dict_of(raw.get("metadata")).get("creationTimestamp"))
        return made or No(
            HTTPStatus.UNAUTHORIZED,
            "invalid_api_key",
            f"The service account {name} that this key stands for is not there any more.",
        )
