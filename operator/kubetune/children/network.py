"""NetworkPolicies of a job: its pods are apart from everybody else's, but for what they are there for.

- ``pods``, of all that run the trainer's image: they reach each other and DNS, and nothing else; operator,
  gateway and Prometheus read their metrics.
- ``sources``, of those that fetch models and rows or ask judges: they get out, but not to where clouds tell
  credentials. No policy can name a host, so it is everywhere else.
- one of each server: it is reached by whom ``serving.allowFrom`` names, the evaluator, the operator, the
  gateway and Prometheus, and gets nowhere: what a client names as the address of an image is not fetched.

Policies add up, and a name has the digest of what it says: another is made beside the old one, which is
deleted then, so that nothing is shut in between.
"""

from __future__ import annotations

from typing import Final

from kubetune_trainer.contract.config import METRICS_PORT, digest_of

from ..api.v1alpha1 import FineTuneJob
from ..facts.views import Manifest
from ..spec.platform_policy import NetworkPolicies
from ..spec.sources import mount_of, sources_of
from ..vocabulary.names import EVALUATE, LABEL_JOB, LABEL_ROLE, LABEL_STAGE, PREPARE, Names
from .common import Item, labels, metadata
from .judges import has_judge
from .server import PORT

_EVERYWHERE: Final = ("0.0.0.0/0", "::/0")
_DNS: Final[Item] = {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]}


def build_pods_policy(job: FineTuneJob, platform: NetworkPolicies) -> Manifest:
    """Build the policy of all pods that run the trainer's image."""
    own = _trainers(job)
    ingress: list[Item] = [{"from": [{"podSelector": own}]}]
    if platform.readers:
        ingress.append({"from": platform.readers, "ports": [{"protocol": "TCP", "port": METRICS_PORT}]})
    siblings = {"podSelector": {"matchLabels": {LABEL_JOB: job.metadata.name}}}
    return _policy(
        job, "pods", {"podSelector": own, "ingress": ingress, "egress": [{"to": [siblings]}, _DNS]}
    )


def build_sources_policy(job: FineTuneJob, platform: NetworkPolicies) -> Manifest | None:
    """Build the policy of pods that need more than the job's own; None where none does."""
    fetches = any(mount_of(source.uri, role=source.role) is None for source in sources_of(job))
    stages = [PREPARE] if fetches or has_judge(job) else []
    stages += [EVALUATE] if has_judge(job) else []
    if not stages:
        return None
    selector = {
        "matchLabels": {LABEL_JOB: job.metadata.name},
        "matchExpressions": [{"key": LABEL_STAGE, "operator": "In", "values": stages}],
    }
    anywhere = [{"namespaceSelector": {}}, *(_all_but(platform, block) for block in _EVERYWHERE)]
    return _policy(job, "sources", {"podSelector": selector, "egress": [{"to": anywhere}]})


def build_server_policy(job: FineTuneJob, platform: NetworkPolicies, *, role: str) -> Manifest:
    """Build the policy of the server of a role."""
    serving = job.spec.serving
    allowed = serving.allow_from if serving else None
    peers = [{"podSelector": {}}] if allowed is None else [peer.manifest() for peer in allowed]
    ingress = [{"podSelector": _trainers(job)}, *platform.readers, *peers]
    selector = {"matchLabels": {LABEL_JOB: job.metadata.name, LABEL_ROLE: role}}
    rule = {"from": ingress, "ports": [{"protocol": "TCP", "port": PORT}]}
    return _policy(job, role, {"podSelector": selector, "ingress": [rule], "egress": []})


def _policy(job: FineTuneJob, of: str, spec: Item) -> Manifest:
    """``spec`` without ``policyTypes``: they are the directions that it names."""
    types = [name for name in ("Ingress", "Egress") if name.lower() in spec]
    name = Names(job.metadata.name).network(of, digest_of(spec))
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(job, name, labels(job, component="network")),
        "spec": {**spec, "policyTypes": types},
    }


def _trainers(job: FineTuneJob) -> Item:
    return {
        "matchLabels": {LABEL_JOB: job.metadata.name},
        "matchExpressions": [{"key": LABEL_ROLE, "operator": "DoesNotExist"}],
    }


def _all_but(platform: NetworkPolicies, block: str) -> Item:
    blocked = [network for network in platform.blocked_networks if (":" in network) == (":" in block)]
    return {"ipBlock": {"cidr": block} | ({"except": blocked} if blocked else {})}
