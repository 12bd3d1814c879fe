"""An output claim that an earlier job of the same name left, and that is not what this one asks for.

Pure; part of ``diagnose``. Nothing that exists is changed by a spec, so it is told before pods are made.
"""

from __future__ import annotations

from ..api.v1alpha1 import FineTuneJob
from ..facts.observed import Diagnosis
from ..facts.views import Raw
from ..vocabulary.names import PREPARE
from ..vocabulary.quantities import amount_of
from ..vocabulary.reasons import Reason
from ..vocabulary.sentences import respec
from .evidence import found, name_of


def kept_problem(job: FineTuneJob, claim: Raw) -> Diagnosis | None:
    """Say how a claim that was left falls short of spec.storage; None when it will do.

    Only what the spec names counts: a platform that raises its default size must not stop what is adopted.
    """
    storage, spec, name = job.spec.storage, claim.get("spec") or {}, name_of(claim)
    where = f"PersistentVolumeClaim {name} of an earlier job"
    given = storage.storage_class_name if storage else None
    there = spec.get("storageClassName")
    if given is not None and there != given:
        what = f"{where} is of storage class {there or '(none)'}, and storage.storageClassName is {given}"
        wish = respec(f"ask for {there}" if there else "remove storage.storageClassName")
        return _told(what, f"A claim keeps its class: {wish}, or delete it with all that it holds")
    size, wanted = _size(claim), storage.size if storage else None
    if not size or wanted is None or amount_of(size) >= amount_of(wanted):
        return None
    patch = f'{{"spec":{{"resources":{{"requests":{{"storage":"{wanted}"}}}}}}}}'
    enlarge = f"Enlarge it (`kubectl patch pvc {name} -p '{patch}'`, where its storage class allows that)"
    less = respec(f"set storage.size to {size}")
    what = f"{where} has {size}, and storage.size is {wanted}"
    return _told(what, f"{enlarge}, delete it with all that it holds, or {less}")


def _told(what: str, remedy: str) -> Diagnosis:
    return found(Reason.CLAIM_DIFFERS, PREPARE, what, remedy, stalled=True)


def _size(claim: Raw) -> str:
    """What is asked for, or what the volume has when that is more; empty when nothing is known."""
    asked = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    got = (claim.get("status") or {}).get("capacity") or {}
    return max(str(asked.get("storage", "")), str(got.get("storage", "")), key=amount_of)
