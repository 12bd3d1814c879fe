"""What a FineTuneJob says of the model that it makes. Pure, and total."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kubetune.vocabulary.json_values import condition_in, dict_of, int_of, text_of
from kubetune.vocabulary.names import DONE, SERVE
from kubetune.vocabulary.reasons import ConditionType
from kubetune.vocabulary.times import parse_time

from ..ids import short
from ..jobs import remembered
from ..jobs.checkpoints import checkpoints
from ..jobs.record import name_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """One model of a job: its last weights, or earlier ones."""

    raw: Mapping[str, Any]
    """The FineTuneJob."""
    id: str
    served_name: str
    """Its name in the job's server."""
    is_checkpoint: bool = False


def named(jobs: Iterable[Mapping[str, Any]], model: str) -> Tuned | None:
    """The model of this name: its id, its deployment's name or its job's own name.

    It is looked for in every request: what is derived by digests is asked of the one job that may be it.
    """
    if model.startswith("ft:"):
        return _by_id(jobs, model)
    deployed = None
    for raw in jobs:
        if dict_of(raw.get("metadata")).get("name") == model:
            return last(raw)
        if model and given_name(raw) == model:
            deployed = raw if deployed is None else min(deployed, raw, key=age)
    return None if deployed is None else last(deployed)


def _by_id(jobs: Iterable[Mapping[str, Any]], model: str) -> Tuned | None:
    end = model.split(":")[4:5]
    for raw in jobs:
        if [short(text_of(dict_of(raw.get("metadata")).get("uid")))] != end:
            continue
        found = next((one for one in (last(raw), *earlier(raw)) if one.id == model), None)
        if found is not None:
            return found
    return None


def last(raw: Mapping[str, Any]) -> Tuned:
    """The job's last weights."""
    return Tuned(raw=raw, id=name_of(raw), served_name=text_of(dict_of(raw.get("metadata")).get("name")))


def earlier(raw: Mapping[str, Any]) -> list[Tuned]:
    """Those that its server has beside them."""
    return [
        Tuned(raw=raw, id=kept.model, served_name=kept.served_name, is_checkpoint=True)
        for kept in checkpoints(raw)
    ]


def is_made(raw: Mapping[str, Any]) -> bool:
    """Whether there is a model: all stages before the server's are reached.

    A job whose server is rolled out anew, or has failed since, still has it.
    """
    return dict_of(raw.get("status")).get("stage") in (SERVE, DONE) or is_answering(raw)


def is_deployed(raw: Mapping[str, Any]) -> bool:
    """Whether a server is asked for."""
    return isinstance(dict_of(raw.get("spec")).get("serving"), dict)


def is_answering(raw: Mapping[str, Any]) -> bool:
    """Whether a server that has proved itself takes requests, be it an earlier one."""
    status = dict_of(raw.get("status"))
    serving = dict_of(status.get("serving"))
    served = condition_in(status, ConditionType.SERVED).get("status") == "True"
    return bool(serving.get("url")) and (served or int_of(serving.get("readyReplicas")) > 0)


def is_going(raw: Mapping[str, Any]) -> bool:
    """Whether it is being deleted."""
    return "deletionTimestamp" in dict_of(raw.get("metadata"))


def deployment_of(raw: Mapping[str, Any]) -> str:
    """Name of its deployment."""
    return given_name(raw) or text_of(dict_of(raw.get("metadata")).get("name"))


def given_name(raw: Mapping[str, Any]) -> str:
    """The name that a client gave its deployment; empty where nobody did."""
    notes = dict_of(dict_of(raw.get("metadata")).get("annotations"))
    return text_of(notes.get(remembered.DEPLOYMENT))


def created(raw: Mapping[str, Any]) -> int:
    """When the job was made, in Unix seconds."""
    found = parse_time(dict_of(raw.get("metadata")).get("creationTimestamp"))
    return 0 if found is None else int(found.timestamp())


def age(raw: Mapping[str, Any]) -> tuple[int, str]:
    """By which jobs are in an order that stays, the oldest first."""
    return created(raw), text_of(dict_of(raw.get("metadata")).get("name"))
