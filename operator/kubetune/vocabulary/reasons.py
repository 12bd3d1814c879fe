"""Condition types and reasons (API: closed sets, never renamed), and the operator's own times and limits."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Final


class ConditionType(StrEnum):
    """Types of status.conditions."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    PREPARED = "Prepared"
    TRAINED = "Trained"
    SERVED = "Served"


class Reason(StrEnum):
    """Reasons of conditions and Events."""

    # Work goes on.
    PREPARING = "Preparing"
    TRAINING = "Training"
    RETRYING = "Retrying"
    DEPLOYING = "Deploying"
    WAITING_FOR_EARLIER_PODS = "WaitingForEarlierPods"

    # Reached.
    COMPLETED = "Completed"
    ARTIFACT_ADOPTED = "ArtifactAdopted"
    SERVING = "Serving"

    # It heals by itself when the cause is removed.
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
    ROLLOUT_FAILED = "RolloutFailed"

    # Stalled: a person must change something.
    INVALID_SPEC = "InvalidSpec"
    NAME_CONFLICT = "NameConflict"
    DATA_INVALID = "DataInvalid"
    MODEL_UNAVAILABLE = "ModelUnavailable"
    DOES_NOT_FIT = "DoesNotFit"
    OUT_OF_MEMORY = "OutOfMemory"
    NUMERICAL_FAILURE = "NumericalFailure"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    ADAPTER_INVALID = "AdapterInvalid"
    STORAGE_NOT_SHARED = "StorageNotShared"
    CLAIM_DIFFERS = "ClaimDiffers"
    VOLUME_UNUSABLE = "VolumeUnusable"

    # Reasons of one attempt.
    PREEMPTED = "Preempted"
    PEER_LOST = "PeerLost"
    POD_FAILED = "PodFailed"


LOOK_AFTER: Final = timedelta(seconds=10)
"""A child that is not where it should be this long has its pods and Events looked at, again and again."""

PROGRESS_PERIOD: Final = timedelta(seconds=30)
"""Progress is written to the status at most this often; curves go to Prometheus."""

RELIST_PERIOD: Final = timedelta(seconds=60)
"""How often the index is compared with a metadata-only list: bounds how long a missed deletion lives."""

MAX_ATTEMPTS_LISTED: Final = 20
"""status.attempts keeps this many, the oldest dropped."""
