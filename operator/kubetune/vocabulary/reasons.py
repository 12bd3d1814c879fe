"""Condition types and reasons: API, closed sets, never renamed. A reason's row says all that follows from it.

Finality, stalls, types of Events and docs/reference/reasons.md are read from the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from .sentences import ADOPTED, APPLY_AGAIN


class ConditionType(StrEnum):
    """Types of status.conditions that are not a stage's."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    PREPARED = "Prepared"
    TRAINED = "Trained"
    BASE_ANSWERED = "BaseAnswered"
    EVALUATED = "Evaluated"
    PROMOTED = "Promoted"
    SERVED = "Served"


class Reason(StrEnum):
    """Reasons of conditions, attempts and Events."""

    PREPARING = "Preparing"
    TRAINING = "Training"
    TRAINING_DEGRADED = "TrainingDegraded"
    RETRYING = "Retrying"
    EVALUATING = "Evaluating"
    DEPLOYING = "Deploying"
    WAITING = "Waiting"
    WAITING_FOR_EARLIER_PODS = "WaitingForEarlierPods"

    COMPLETED = "Completed"
    ARTIFACT_ADOPTED = "ArtifactAdopted"
    GATE_PASSED = "GatePassed"
    NOT_GATED = "NotGated"
    GATE_OVERRIDDEN = "GateOverridden"
    SERVING = "Serving"
    SERVING_UNPROVEN = "ServingUnproven"

    SUSPENDED = "Suspended"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    UNSCHEDULABLE = "Unschedulable"
    SECRET_NOT_FOUND = "SecretNotFound"
    CONFIG_MAP_NOT_FOUND = "ConfigMapNotFound"
    CLAIM_NOT_FOUND = "ClaimNotFound"
    CLAIM_PENDING = "ClaimPending"
    VOLUME_MOUNT_FAILED = "VolumeMountFailed"
    CONTAINER_FAILED = "ContainerFailed"
    QUOTA_EXCEEDED = "QuotaExceeded"
    POD_REJECTED = "PodRejected"
    NODE_LOST = "NodeLost"
    CHILD_CHANGED = "ChildChanged"
    ROLLOUT_FAILED = "RolloutFailed"
    CHANGED_BY_OTHERS = "ChangedByOthers"
    WEBHOOK_FAILED = "WebhookFailed"
    MISSING_PERMISSION = "MissingPermission"
    REQUEST_FAILED = "RequestFailed"
    INTERNAL_ERROR = "InternalError"

    INVALID_SPEC = "InvalidSpec"
    NAME_CONFLICT = "NameConflict"
    DATA_INVALID = "DataInvalid"
    MODEL_UNAVAILABLE = "ModelUnavailable"
    DOES_NOT_FIT = "DoesNotFit"
    OUT_OF_MEMORY = "OutOfMemory"
    NUMERICAL_FAILURE = "NumericalFailure"
    ADAPTER_INVALID = "AdapterInvalid"
    VOLUME_UNUSABLE = "VolumeUnusable"
    GPU_UNUSABLE = "GpuUnusable"
    STORAGE_NOT_SHARED = "StorageNotShared"
    CLAIM_DIFFERS = "ClaimDiffers"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    MODEL_MISMATCH = "ModelMismatch"
    GATE_FAILED = "GateFailed"

    PREEMPTED = "Preempted"
    GANG_INCOMPLETE = "GangIncomplete"
    DIRECTORY_IN_USE = "DirectoryInUse"
    PEER_LOST = "PeerLost"
    POD_FAILED = "PodFailed"


@dataclass(frozen=True, slots=True)
class Finding:
    """A reason and its sentence."""

    reason: Reason
    message: str


class Group(StrEnum):
    """What a reason means for the job; in the order of the reference."""

    ONGOING = "Work goes on"
    REACHED = "Reached"
    HEALS = "It goes on when the cause is gone"
    STALLED = "A person must change something"
    RUN = "Of one run of a stage"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonFacts:
    """All that follows from a reason."""

    group: Group
    meaning: str
    """For the reference."""
    normal: bool
    """Its Event needs nobody's attention."""
    begins: bool = False
    """It says that a stage has begun; the end of the one before has just been told."""
    final: bool = False
    """No change in the cluster heals it: the job is not looked at any more."""
    remedy: str = ""
    """What to do about a run that ended so; empty where the message says it."""

    @property
    def stalls(self) -> bool:
        """Nothing goes on, and nothing is retried, before a person changes something."""
        return self.group is Group.STALLED


def _ongoing(meaning: str, *, normal: bool = True, begins: bool = False) -> ReasonFacts:
    return ReasonFacts(group=Group.ONGOING, meaning=meaning, normal=normal, begins=begins)


def _reached(meaning: str, *, normal: bool = True) -> ReasonFacts:
    return ReasonFacts(group=Group.REACHED, meaning=meaning, normal=normal)


def _heals(meaning: str, *, normal: bool = False) -> ReasonFacts:
    return ReasonFacts(group=Group.HEALS, meaning=meaning, normal=normal)


def _stalls(meaning: str, *, final: bool = False, remedy: str = "") -> ReasonFacts:
    return ReasonFacts(group=Group.STALLED, meaning=meaning, normal=False, final=final, remedy=remedy)


def _of_run(meaning: str, *, normal: bool = False) -> ReasonFacts:
    return ReasonFacts(group=Group.RUN, meaning=meaning, normal=normal)


REASONS: Final[Mapping[Reason, ReasonFacts]] = {
    Reason.PREPARING: _ongoing("model and data are fetched, checked and tokenised"),
    Reason.TRAINING: _ongoing("an attempt starts or runs", begins=True),
    Reason.TRAINING_DEGRADED: _ongoing(
        "an attempt runs, but something is wrong with it, such as a loss that grows; the message says what",
        normal=False,
    ),
    Reason.DEPLOYING: _ongoing("the server starts, or has not answered yet", begins=True),
    Reason.EVALUATING: _ongoing("the result and its baselines are asked the same questions", begins=True),
    Reason.RETRYING: _ongoing("a run of a stage failed, and the next one follows", normal=False),
    Reason.WAITING: _ongoing("the stage waits for an earlier one"),
    Reason.WAITING_FOR_EARLIER_PODS: _ongoing(
        "pods or Jobs of an earlier job of this name are still ending; two runs must not write to one "
        "directory"
    ),
    Reason.COMPLETED: _reached("the stage, or without `spec.serving` the job, is done"),
    Reason.ARTIFACT_ADOPTED: _reached(
        "the volume held the verified result of an equal run: nothing was trained"
    ),
    Reason.GATE_PASSED: _reached("the result has reached what `evaluation.gate` asks for"),
    Reason.NOT_GATED: _reached("the result was evaluated, and `evaluation` has no gate"),
    Reason.GATE_OVERRIDDEN: _reached(
        "a person has the result served although it did not pass; the message says who and why", normal=False
    ),
    Reason.SERVING: _reached("the Service answers with this model, as training measured it"),
    Reason.SERVING_UNPROVEN: _reached(
        "the Service answers, and nobody can tell whether as training measured; the message says why",
        normal=False,
    ),
    Reason.SUSPENDED: _heals("the Job of a run is suspended, by a queue or by hand", normal=True),
    Reason.IMAGE_PULL_FAILED: _heals("the image cannot be pulled"),
    Reason.UNSCHEDULABLE: _heals("no node has room, or none fits"),
    Reason.SECRET_NOT_FOUND: _heals("a Secret is missing, or lacks a key"),
    Reason.CONFIG_MAP_NOT_FOUND: _heals("a ConfigMap is missing, or lacks a key"),
    Reason.CLAIM_NOT_FOUND: _heals("a claim is missing, or being deleted"),
    Reason.CLAIM_PENDING: _heals("the claim has no volume"),
    Reason.VOLUME_MOUNT_FAILED: _heals("the node cannot mount a volume"),
    Reason.CONTAINER_FAILED: _heals("the container does not start, or does not end"),
    Reason.QUOTA_EXCEEDED: _heals("a quota leaves no room for the pods"),
    Reason.POD_REJECTED: _heals("a policy or a webhook refuses the pods, or an object that they need"),
    Reason.NODE_LOST: _heals("the node of a pod does not answer"),
    Reason.ROLLOUT_FAILED: _heals("the new server did not become ready; earlier ones go on"),
    Reason.CHILD_CHANGED: _heals(
        "somebody changed, or keeps, an object of the job; the message says what and who"
    ),
    Reason.CHANGED_BY_OTHERS: _heals(
        "somebody changes or deletes the server again and again; it is put right ever more slowly"
    ),
    Reason.WEBHOOK_FAILED: _heals("an admission webhook that has a say does not answer"),
    Reason.MISSING_PERMISSION: _heals(
        "KubeTune's own ServiceAccount lacks a right; the message has verb, resource and account"
    ),
    Reason.REQUEST_FAILED: _heals(
        "a request to the API server fails again and again; the message has its words"
    ),
    Reason.INTERNAL_ERROR: _heals("a fault of KubeTune: report it with the message; KubeTune tries again"),
    Reason.INVALID_SPEC: _stalls(
        "the spec contradicts itself, the model, or a checkpoint of the run",
        remedy=f"Correct the spec, {APPLY_AGAIN}; {ADOPTED}.",
    ),
    Reason.NAME_CONFLICT: _stalls("an object under the name of a child belongs to somebody else"),
    Reason.DATA_INVALID: _stalls(
        "rows are malformed or too few, a file cannot be read, or dataset.onLeak refuses validation rows",
        final=True,
        remedy=f"Fix the data, {APPLY_AGAIN}; {ADOPTED}.",
    ),
    Reason.MODEL_UNAVAILABLE: _stalls(
        "the base model, or an artifact to adopt, is missing, gated, or of a kind that is not served",
        final=True,
        remedy=f"Make the model available, {APPLY_AGAIN}; {ADOPTED}.",
    ),
    Reason.DOES_NOT_FIT: _stalls(
        "by the estimate the memory of GPUs is too small for training or for a server",
        final=True,
        remedy=f"Change the spec or use larger GPUs, {APPLY_AGAIN}.",
    ),
    Reason.OUT_OF_MEMORY: _stalls("a container or a GPU ran out of memory", final=True),
    Reason.NUMERICAL_FAILURE: _stalls(
        "a loss or gradient is not finite",
        final=True,
        remedy=f"Lower training.learningRate or look for broken rows, {APPLY_AGAIN}.",
    ),
    Reason.ADAPTER_INVALID: _stalls(
        "the trained weights did not pass their checks, or an artifact cannot be served as it was trained",
        final=True,
        remedy=f"Do what the message says, {APPLY_AGAIN}.",
    ),
    Reason.VOLUME_UNUSABLE: _stalls(
        "the output volume is full, may not be written, or holds damaged files",
        final=True,
        remedy=f"Then {APPLY_AGAIN}; {ADOPTED}.",
    ),
    Reason.GPU_UNUSABLE: _stalls(
        "a node's driver is too old or missing, or it has fewer GPUs than ranks",
        final=True,
        remedy=f"Then {APPLY_AGAIN}; {ADOPTED}.",
    ),
    Reason.STORAGE_NOT_SHARED: _stalls("several nodes need a claim that only one can use"),
    Reason.CLAIM_DIFFERS: _stalls("the claim that an earlier job left is less than what `storage` asks for"),
    Reason.RETRIES_EXHAUSTED: _stalls(
        "more runs failed than `training.retries.max` allows; the message has the last one", final=True
    ),
    Reason.MODEL_MISMATCH: _stalls(
        "a server does not answer as training measured, and gets no requests; the message has both numbers"
    ),
    Reason.GATE_FAILED: _stalls(
        "the result has not reached what `evaluation.gate` asks for: it is kept, and not served", final=True
    ),
    Reason.PREEMPTED: _of_run(
        "its pod was evicted, drained, preempted or turned away; it does not count as a retry", normal=True
    ),
    Reason.GANG_INCOMPLETE: _of_run(
        "its pods were never all there at once; it gave its GPUs back, and does not count as a retry",
        normal=True,
    ),
    Reason.DIRECTORY_IN_USE: _of_run(
        "another pod was writing to its run directory; it ended, and does not count as a retry"
    ),
    Reason.PEER_LOST: _of_run("a rank did not answer the others"),
    Reason.POD_FAILED: _of_run("a pod ended with an error of another kind"),
}


def facts_of(reason: str) -> ReasonFacts:
    """Facts of a reason as it stands in a status, which an operator of another version may have written."""
    try:
        return REASONS[Reason(reason)]
    except ValueError:
        return REASONS[Reason.POD_FAILED]
