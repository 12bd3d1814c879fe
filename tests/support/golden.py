"""Golden cases: a FineTuneJob and a cluster's state go in, children and a status come out, all as YAML.

A case is a directory of ``tests/data`` with

- ``input.yaml``: the FineTuneJob, and in its first comment what the case shows;
- ``cluster.yaml``, where there is something: children and pods as the API server has them (a Deployment
  without spec stands for the one that was applied last, a ConfigMap ``<server>-guard`` for the guard of now;
  NetworkPolicies need not be stated);
- ``facts.yaml``, where needed: platform ``settings``, ``now``, ``answered``, ``progress``, ``rested``
  (seconds since the latest end of a run became known) and ``looked`` (what a look at pods and Events gave
  to ``diagnose``);

and the results, which ``python -m tests.support.golden --write`` writes and people review:

- ``children.yaml``: what is created once, applied and deleted, and when the operator looks again;
- ``status.yaml``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from kubetune.api.v1alpha1 import FineTuneJob, validate_spec
from kubetune.children.guard import DIGEST
from kubetune.children.server import build_server
from kubetune.decide.plan import plan
from kubetune.decide.status import compute_status
from kubetune.diagnose import diagnose
from kubetune.facts import parse
from kubetune.facts.observed import Observed
from kubetune.facts.views import Kind, Manifest, Raw, View
from kubetune.servers.intent import intent_of
from kubetune.servers.rollout import architecture_of, planned_gpus
from kubetune.spec.platform_policy import NetworkPolicies
from kubetune.spec.resolve import resolve
from kubetune.spec.settings import JobSettings
from kubetune.stages.isolation import isolation
from kubetune.stages.observe import observe
from kubetune.stages.plan import Plan
from kubetune.vocabulary.names import ROLE_SERVING, ROLES
from kubetune_trainer.contract.config import TrainerConfig
from kubetune_trainer.contract.messages import Progress

DATA = Path(__file__).parents[1] / "data"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SETTINGS = {
    "trainer_image": "registry.example.com/kubetune/trainer:0.1.0",
    "serving_image": "registry.example.com/vllm/vllm-openai:v0.32.0",
    "serving_cpu_image": "registry.example.com/kubetune/serving-cpu:0.1.0",
}


@dataclass(frozen=True)
class Case:
    """One directory of tests/data, read."""

    name: str
    raw: Raw
    cluster: tuple[Raw, ...]
    facts: Raw

    @property
    def job(self) -> FineTuneJob:
        return validate_spec(self.raw)

    @property
    def now(self) -> datetime:
        return self.facts.get("now", NOW)

    @property
    def settings(self) -> JobSettings:
        return JobSettings.model_validate(SETTINGS | self.facts.get("settings", {}))

    @property
    def config(self) -> TrainerConfig:
        return resolve(self.job, self.settings)

    @property
    def children(self) -> tuple[View, ...]:
        stated = tuple(parse_child(self._applied(raw)) for raw in self.cluster)
        return (*stated, *self._policies(stated))

    def _policies(self, stated: tuple[View, ...]) -> Iterator[View]:
        """The NetworkPolicies of now, for what is there: they need not be stated."""
        if not any(view.kind is Kind.CONFIG_MAP and view.name.endswith("-config") for view in stated):
            return
        observed = observe(self.job, stated, diagnosis=None, progress=None)
        is_served = any(view.kind is Kind.DEPLOYMENT for view in stated)
        for manifest in isolation(self.job, observed, NetworkPolicies()).create_once:
            if is_served or f"-{ROLE_SERVING}-" not in manifest["metadata"]["name"]:
                yield parse_child(manifest)

    def with_status(self, status: dict[str, Any], *, seconds_later: int) -> Case:
        """The same cluster after the status was written."""
        raw = {**self.raw, "status": json.loads(json.dumps(status))}
        later = self.now + timedelta(seconds=seconds_later)
        return replace(self, raw=raw, facts={**self.facts, "now": later})

    def _applied(self, raw: Raw) -> Raw:
        """A Deployment without spec stands for the one that was applied last."""
        name = raw["metadata"]["name"]
        if raw["kind"] == Kind.CONFIG_MAP and name.endswith("-guard"):
            return {**raw, "metadata": {**raw["metadata"], "name": f"{name}-{DIGEST}"}}
        if raw["kind"] != Kind.DEPLOYMENT or "spec" in raw:
            return raw
        others = [parse_child(child) for child in self.cluster if child is not raw]
        observed = observe(self.job, others, diagnosis=None, progress=None)
        serving, artifact = self.job.spec.serving, observed.artifact
        planned = planned_gpus(self.job, observed)
        intent = intent_of(self.job, serving, artifact, self.settings, planned_gpus=planned)
        if serving is None or artifact is None or intent is None:
            return raw
        manifest = build_server(
            self.job,
            serving,
            self.config,
            artifact,
            self.settings,
            role=ROLE_SERVING,
            intent=intent,
            architecture=architecture_of(self.job, observed),
            planned_gpus=planned,
        )
        return {**manifest, "metadata": {**manifest["metadata"], **raw["metadata"]}, "status": raw["status"]}

    @property
    def observed(self) -> Observed:
        looked = self.facts.get("looked")
        progress = self.facts.get("progress")
        observed = observe(
            self.job,
            self.children,
            diagnosis=diagnose(**{**NOTHING_SEEN, **looked}) if looked else None,
            progress=Progress.model_validate(progress) if progress else None,
        )
        rested = self.facts.get("rested")
        if rested is not None:
            observed = replace(observed, rested=timedelta(seconds=rested))
        return with_answer(observed, self.facts.get("answered", False))

    @property
    def plan(self) -> Plan:
        return plan(self.job, self.observed, self.config, self.settings)

    @property
    def status(self) -> dict[str, Any]:
        return compute_status(self.job, self.observed, self.config, now=self.now)


def with_answer(observed: Observed, answered: bool) -> Observed:
    """What the Services have answered."""
    servers = {role: replace(observed.server(role), answered=answered) for role in ROLES}
    return replace(observed, servers=servers)


NOTHING_SEEN: dict[str, Any] = {
    "pods": (),
    "events": {},
    "claim": {"status": {"phase": "Bound"}},
    "claim_events": (),
    "refusal": "",
    "seen_for": lambda _uid, _what: timedelta(hours=1),
}


def parse_child(raw: Raw) -> View:
    """Project an object as the operator's index does."""
    return parse.parse_child(raw, Kind(raw["kind"]))


def cases() -> list[str]:
    """Names of all cases."""
    return sorted(path.parent.name for path in DATA.glob("*/input.yaml"))


def load(name: str) -> Case:
    """Read one case."""
    directory = DATA / name
    return Case(
        name=name,
        raw=_read(directory / "input.yaml")[0],
        cluster=tuple(_read(directory / "cluster.yaml")),
        facts=next(iter(_read(directory / "facts.yaml")), {}),
    )


def expected(case: Case) -> dict[str, str]:
    """The results as they are, by file name."""
    todo = case.plan
    children = {
        "create": [_without_source(manifest) for manifest in todo.create_once],
        "apply": list(todo.apply),
        "delete": [{"kind": d.kind.value, "name": d.name, "uid": d.uid} for d in todo.delete],
        "requeueAfterSeconds": None if todo.requeue_after is None else todo.requeue_after.total_seconds(),
    }
    return {"children.yaml": dump(children), "status.yaml": dump(case.status)}


def _without_source(manifest: Manifest) -> Manifest:
    """The guard's source is reviewed where it is written."""
    if "middleware.py" not in manifest.get("data", {}):
        return manifest
    return {**manifest, "data": dict.fromkeys(manifest["data"], "(guard/kubetune_guard)")}


def dump(value: Any) -> str:
    """YAML in the order of the value, multi-line strings as blocks, without aliases."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_str(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_multi_representer(str, _represent_str)


def _read(path: Path) -> list[Any]:
    if not path.exists():
        return []
    return [document for document in yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader) if document]


def main(arguments: Iterable[str]) -> None:
    """Write the results of all cases."""
    if list(arguments) != ["--write"]:
        sys.exit("usage: python -m tests.support.golden --write")
    for name in cases():
        for file, text in expected(load(name)).items():
            (DATA / name / file).write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
