"""Who may reach a server: peers, as Kubernetes' NetworkPolicy spells them."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from kubetune.api.base import Rule, SpecModel
from kubetune.api.v1alpha1.scheduling import LabelSelector

_CIDR = r"^([0-9]{1,3}([.][0-9]{1,3}){3}/([0-9]|[12][0-9]|3[0-2])|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*/[0-9]{1,3})$"
Cidr = Annotated[str, StringConstraints(pattern=_CIDR, max_length=64)]
"""Addresses, such as 10.0.0.0/8 or fd00::/8."""


class IpBlock(SpecModel):
    """Addresses outside the cluster."""

    cidr: Cidr
    """Addresses that may come: 10.0.0.0/8."""
    except_: tuple[Cidr, ...] | None = Field(default=None, max_length=16)
    """Those among them that may not."""


class NetworkPeer(SpecModel):
    """Pods, or addresses outside the cluster. Both selectors together mean these pods in these namespaces."""

    rules: ClassVar = (
        Rule(
            cel="has(self.podSelector) || has(self.namespaceSelector) || has(self.ipBlock)",
            check=lambda peer: peer.manifest() != {},
            message="names nobody; set podSelector, namespaceSelector or ipBlock",
        ),
        Rule(
            cel="!has(self.ipBlock) || !(has(self.podSelector) || has(self.namespaceSelector))",
            check=lambda peer: peer.ip_block is None or peer.pod_selector is peer.namespace_selector is None,
            path=".ipBlock",
            message="selectors and ipBlock exclude each other; make two entries of them",
        ),
    )

    pod_selector: LabelSelector | None = None
    """Pods with these labels, in the job's namespace unless namespaceSelector is set; {} is all pods."""
    namespace_selector: LabelSelector | None = None
    """Namespaces with these labels, as kubernetes.io/metadata.name; {} is the whole cluster."""
    ip_block: IpBlock | None = None
    """Addresses outside the cluster."""
