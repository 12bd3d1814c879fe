"""Where pods may run: tolerations, affinity and topology spread, as Kubernetes spells them.

Affinity is spelled out rather than left as an unknown object: the API server would store one that is nested a
thousand deep, and Python's JSON parser, which reads every watch event, gives up on it.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from kubetune.api.base import INT32_MAX, INT64_MAX, LabelKey, LabelValue, Map, Rule, SpecModel

_Value = Annotated[str, StringConstraints(max_length=253)]


class Toleration(SpecModel):
    """Lets the pod run on nodes with a matching taint."""

    rules: ClassVar = (
        Rule(
            cel="has(self.key) || self.operator == 'Exists'",
            check=lambda t: t.key is not None or t.operator == "Exists",
            path=".key",
            message="without key a toleration needs operator Exists; set key or operator",
        ),
        Rule(
            cel="self.operator != 'Exists' || !has(self.value) || self.value == ''",
            check=lambda t: t.operator != "Exists" or not t.value,
            path=".value",
            message="operator Exists takes no value; remove value or use operator Equal",
        ),
        Rule(
            cel="!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            check=lambda t: t.toleration_seconds is None or t.effect == "NoExecute",
            path=".tolerationSeconds",
            message="needs effect NoExecute; set effect or remove tolerationSeconds",
        ),
    )

    key: LabelKey | None = None
    """Key of the taint; without it every key matches (operator Exists)."""
    operator: Literal["Equal", "Exists"] = "Equal"
    """Equal compares the value, Exists only the key."""
    value: LabelValue | None = None
    """Value of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; without it every effect matches."""
    toleration_seconds: int | None = Field(default=None, ge=0, le=INT64_MAX, strict=True)
    """How long a NoExecute taint is tolerated."""


class LabelRequirement(SpecModel):
    """One condition on a label."""

    key: LabelKey
    """Label that is compared."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How it is compared with the values."""
    values: tuple[LabelValue, ...] | None = Field(default=None, max_length=32)
    """Values for In and NotIn."""


class LabelSelector(SpecModel):
    """Selects objects by their labels; all conditions must hold."""

    match_labels: Map[LabelValue] | None = None
    """Labels with exactly these values."""
    match_expressions: tuple[LabelRequirement, ...] | None = Field(default=None, max_length=32)
    """Further conditions."""


class NodeRequirement(SpecModel):
    """One condition on a node."""

    key: LabelKey
    """Label or field that is compared."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """How it is compared with the values."""
    values: tuple[_Value, ...] | None = Field(default=None, max_length=64)
    """Values; Gt and Lt take one integer."""


class NodeTerm(SpecModel):
    """Conditions on a node that must all hold."""

    match_expressions: tuple[NodeRequirement, ...] | None = Field(default=None, max_length=16)
    """Conditions on labels."""
    match_fields: tuple[NodeRequirement, ...] | None = Field(default=None, max_length=16)
    """Conditions on fields, such as metadata.name."""


class NodeSelector(SpecModel):
    """Nodes of which at least one term must hold."""

    node_selector_terms: tuple[NodeTerm, ...] = Field(min_length=1, max_length=16)
    """Alternatives."""


class PreferredNodes(SpecModel):
    """A wish for nodes, with its weight."""

    weight: int = Field(ge=1, le=100, strict=True)
    """How much the wish counts."""
    preference: NodeTerm
    """Nodes that are wished for."""


class NodeAffinity(SpecModel):
    """Which nodes the pod may run on."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    """Nodes that are necessary."""
    preferred_during_scheduling_ignored_during_execution: tuple[PreferredNodes, ...] | None = Field(
        default=None, max_length=16
    )
    """Nodes that are preferred."""


class PodTerm(SpecModel):
    """Pods of the job's namespace that this pod runs near to, or away from."""

    topology_key: LabelKey
    """Label of nodes: those with the same value are near to each other."""
    label_selector: LabelSelector | None = None
    """Labels of the pods."""


class PreferredPods(SpecModel):
    """A wish for pods, with its weight."""

    weight: int = Field(ge=1, le=100, strict=True)
    """How much the wish counts."""
    pod_affinity_term: PodTerm
    """Pods that are meant."""


class PodAffinity(SpecModel):
    """Which pods the pod runs near to, or away from."""

    required_during_scheduling_ignored_during_execution: tuple[PodTerm, ...] | None = Field(
        default=None, max_length=16
    )
    """What is necessary."""
    preferred_during_scheduling_ignored_during_execution: tuple[PreferredPods, ...] | None = Field(
        default=None, max_length=16
    )
    """What is preferred."""


class Affinity(SpecModel):
    """Where the pod may and shall run."""

    node_affinity: NodeAffinity | None = None
    """By nodes."""
    pod_affinity: PodAffinity | None = None
    """Near to these pods."""
    pod_anti_affinity: PodAffinity | None = None
    """Away from these pods."""


class TopologySpread(SpecModel):
    """How pods are spread over parts of the cluster."""

    max_skew: int = Field(ge=1, le=INT32_MAX, strict=True)
    """Largest difference between the parts."""
    topology_key: LabelKey
    """Label of nodes: those with the same value are one part."""
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    """What happens when the pods cannot be spread so."""
    label_selector: LabelSelector | None = None
    """Labels of the pods that are counted."""
    match_label_keys: tuple[LabelKey, ...] | None = Field(default=None, max_length=16)
    """Labels whose value must be the same as this pod's."""
    min_domains: int | None = Field(default=None, ge=1, le=INT32_MAX, strict=True)
    """Smallest number of parts."""
    node_affinity_policy: Literal["Honor", "Ignore"] | None = None
    """Whether nodes that affinity excludes are counted."""
    node_taints_policy: Literal["Honor", "Ignore"] | None = None
    """Whether nodes with taints are counted."""
