"""What Azure's API has beside OpenAI's: deployments, and questions to them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response

from kubetune.vocabulary.json_values import dict_of, text_of

from ..contracts import Caller, Means
from ..models import deployments
from ..models.refusals import no_deployment
from ..models.tuned import is_deployed
from ..wire.models import CreateDeployment
from .chat import Asker, ask
from .requests import Needs, json_body, may

router = APIRouter(prefix="/deployments")

Lister = Annotated[Caller, may("list", "finetunejobs")]
Reader = Annotated[Caller, may("get", "finetunejobs")]
Writer = Annotated[Caller, may("update", "finetunejobs")]


@router.post("/{deployment:path}/chat/completions")
async def chat(deployment: str, request: Request, means: Needs, who: Asker) -> Response:
    """Answer a conversation. Any model has a deployment of its own name."""
    return await ask(request, means, who, path="chat/completions", model=deployment)


@router.post("/{deployment:path}/completions")
async def completions(deployment: str, request: Request, means: Needs, who: Asker) -> Response:
    """Go on with a text."""
    return await ask(request, means, who, path="completions", model=deployment)


@router.get("")
async def listing(means: Needs, who: Lister) -> dict[str, Any]:
    """All deployments."""
    found = deployments.deployments(await means.jobs.list(who.namespace))
    return {"object": "list", "data": [one.model_dump() for one in found]}


@router.get("/{name}")
async def retrieve(name: str, means: Needs, who: Reader) -> dict[str, Any]:
    """One deployment."""
    held = deployments.holder(await means.jobs.list(who.namespace), name)
    if held is None or not deployments.is_one(held):
        raise no_deployment(name)
    return deployments.deployment(held).model_dump()


@router.put("/{name}")
async def create(
    name: str, request: Request, response: Response, means: Needs, who: Writer
) -> dict[str, Any]:
    """Deploy a model under a name."""
    asked = await json_body(request, CreateDeployment)
    jobs = await means.jobs.list(who.namespace)
    tuned = deployments.to_deploy(jobs, means.platform, name=name, model=asked.model)
    response.status_code = HTTPStatus.OK if is_deployed(tuned.raw) else HTTPStatus.CREATED
    patch = deployments.deploying(tuned, means.platform, name=name)
    return deployments.deployment(await _patched(means, who, tuned.raw, patch)).model_dump()


@router.delete("/{name}", status_code=HTTPStatus.NO_CONTENT)
async def delete(name: str, means: Needs, who: Writer) -> None:
    """Remove a model's server; the model stays."""
    held = deployments.holder(await means.jobs.list(who.namespace), name)
    if held is None:
        raise no_deployment(name)
    await _patched(means, who, held, deployments.removing())


async def _patched(means: Means, who: Caller, raw: Any, patch: dict[str, Any]) -> Any:
    meta = dict_of(raw.get("metadata"))
    return await means.jobs.patch(
        who.namespace, text_of(meta.get("name")), uid=text_of(meta.get("uid")), patch=patch
    )
