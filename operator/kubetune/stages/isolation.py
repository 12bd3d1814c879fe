"""NetworkPolicies, over all stages: those that are to be, and those of earlier content to delete. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ..api.v1alpha1 import FineTuneJob
from ..children.network import build_pods_policy, build_server_policy, build_sources_policy
from ..facts.observed import Observed
from ..facts.views import Kind, Manifest
from ..servers.wanted import wanted_serving
from ..spec.platform_policy import NetworkPolicies
from ..vocabulary.names import ROLE_BASELINE, ROLE_SERVING
from .plan import Plan, doomed


def isolation(job: FineTuneJob, observed: Observed, platform: NetworkPolicies) -> Plan:
    """Say which policies to make; those that say something else go once all that are wanted are there."""
    wanted = {m["metadata"]["name"]: m for m in _wanted(job, observed, platform)} if platform.enabled else {}
    present = {name: view for (kind, name), view in observed.present.items() if kind is Kind.NETWORK_POLICY}
    missing = tuple(manifest for name, manifest in wanted.items() if name not in present)
    if missing:
        return Plan(create_once=missing)
    return Plan(
        delete=doomed(view for name, view in present.items() if name not in wanted and not view.deleting)
    )


def _wanted(job: FineTuneJob, observed: Observed, platform: NetworkPolicies) -> Iterator[Manifest]:
    yield build_pods_policy(job, platform)
    sources = build_sources_policy(job, platform)
    if sources is not None:
        yield sources
    for role in (ROLE_SERVING, ROLE_BASELINE):
        if wanted_serving(job, observed, role) is not None:
            yield build_server_policy(job, platform, role=role)
