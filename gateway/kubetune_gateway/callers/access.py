"""What a caller may, by SubjectAccessReview: Kubernetes' own rules, and none of ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, Literal

from kubetune.cluster.kube.errors import Target
from kubetune.vocabulary import names
from kubetune.vocabulary.errors import KubeTuneError
from kubetune.vocabulary.json_values import dict_of
from kubetune.vocabulary.strangers import plain

from ..kube.api_server import ApiServer, path_of
from ..kube.refusals import unanswered
from .caller import Caller, Resource, Verb
from .recent import No, Recent

_TARGET: Final = Target(
    verb="create", kind="subjectaccessreviews.authorization.k8s.io", namespace="", name=""
)
_PATH: Final = path_of("subjectaccessreviews", group="authorization.k8s.io", version="v1")


class KubeAccess:
    """Rights as the API server has them."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._recent: Recent[Literal[True]] = Recent()

    async def require(self, caller: Caller, verb: Verb, resource: Resource) -> None:
        """Raise ApiError with 403 unless the caller may, in the caller's namespace."""
        asked = question(caller, verb, resource)
        await self._recent.get(json.dumps(asked, sort_keys=True), lambda: self._ask(asked, caller))

    async def _ask(self, asked: Mapping[str, Any], caller: Caller) -> Literal[True] | No:
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": asked}
        try:
            answer = await self._api.send("POST", _PATH, _TARGET, body=review, repeatable=True)
        except KubeTuneError as error:
            raise unanswered(error) from error
        return True if dict_of(answer.get("status")).get("allowed") is True else denial(asked, caller)


def question(caller: Caller, verb: Verb, resource: Resource) -> dict[str, Any]:
    """The spec of a SubjectAccessReview. Pure."""
    plural, _, part = resource.partition("/")
    attributes = {
        "namespace": caller.namespace,
        "verb": verb,
        "group": names.GROUP,
        "version": names.VERSION,
        "resource": plural,
        **({"subresource": part} if part else {}),
    }
    who: dict[str, Any] = {"user": caller.user, "groups": list(caller.groups)}
    who |= {"uid": caller.uid} if caller.uid else {}
    who |= {"extra": {key: list(values) for key, values in caller.extra.items()}} if caller.extra else {}
    return {**who, "resourceAttributes": attributes}


def denial(asked: Mapping[str, Any], caller: Caller) -> No:
    """What is lacking, and how it is given. Pure."""
    what = asked["resourceAttributes"]
    part = f"/{what['subresource']}" if "subresource" in what else ""
    verb, resource, group = what["verb"], f"{what['resource']}{part}", what["group"]
    problem = f'User "{plain(caller.user)}" may not {verb} {resource} in the namespace {caller.namespace}.'
    remedy = f"Give them a role there with the verb {verb} on {resource} in the API group {group}."
    return No(HTTPStatus.FORBIDDEN, "forbidden", f"{problem} {remedy}")
