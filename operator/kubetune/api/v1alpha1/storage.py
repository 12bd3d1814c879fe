"""spec.storage: the volume that holds checkpoints and the result."""

from __future__ import annotations

from typing import ClassVar, Literal

from kubetune.api.base import ATOMIC, ObjectName, PositiveQuantity, Rule, SpecModel


class Storage(SpecModel):
    """The output volume: a claim made for this job, or one that exists."""

    model_config = ATOMIC

    rules: ClassVar = (
        Rule(
            cel="!has(self.claimName) || (!has(self.size) && !has(self.storageClassName))",
            check=lambda s: s.claim_name is None or (s.size is None and s.storage_class_name is None),
            path=".claimName",
            message="a claim that exists has size and class; remove size and storageClassName, or claimName",
        ),
        Rule(
            cel="!has(self.claimName) || !has(self.whenDeleted) || self.whenDeleted == 'Retain'",
            check=lambda s: s.claim_name is None or s.when_deleted == "Retain",
            path=".whenDeleted",
            message="a claim that exists is never deleted with a job; remove whenDeleted, or claimName",
        ),
    )

    size: PositiveQuantity | None = None
    """Size of the claim that is made. Default: the platform's, 20Gi as delivered. A claim that an earlier
    job of this name left keeps its size."""
    storage_class_name: ObjectName | None = None
    """Class of the claim that is made. Default: the platform's, else the cluster's."""
    claim_name: ObjectName | None = None
    """An existing claim in the job's namespace, in place of a new one. Jobs may share it."""
    when_deleted: Literal["Retain", "Delete"] = "Retain"
    """What becomes of a claim that was made for this job when the job is deleted. An existing one stays."""
