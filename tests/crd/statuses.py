"""A status with every field set: what is missing in the CRD's schema would be dropped without a word."""

from __future__ import annotations

from datetime import UTC, datetime

from kubetune.api.conditions import Condition
from kubetune.api.v1alpha1.status import (
    ArtifactStatus,
    Attempt,
    CheckpointStatus,
    ContainerResources,
    DatasetStatus,
    ModelStatus,
    PlanImages,
    PlanResources,
    PlanStatus,
    ProgressStatus,
    RunUsage,
    ServingStatus,
    StageUsage,
    Status,
    TokensPerRow,
    UsageStatus,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_RESOURCES = ContainerResources(limits={"nvidia.com/gpu": "4"}, requests={"cpu": "1", "memory": "4Gi"})

FULL_STATUS = Status(
    abstract="Going on at train: Training, step 120/300.",
    observed_generation=1,
    stage="train",
    conditions=(
        Condition(
            type="Ready",
            status="False",
            observed_generation=1,
            last_transition_time=NOW,
            reason="Training",
            message="Step 120 of 300.",
        ),
        Condition(type="Reconciling", status="True", last_transition_time=NOW, reason="Training"),
    ),
    model=ModelStatus(
        uri="hf://org/base", revision="0a" * 20, architecture="LlamaForCausalLM", parameters=2**40
    ),
    dataset=DatasetStatus(
        fingerprint="0123456789abcdef",
        train_rows=1000,
        validation_rows=100,
        train_tokens=50_000,
        tokens_per_row=TokensPerRow(mean=50, p50=48, p95=90, max=120),
        truncated_rows=1,
        duplicate_rows=2,
        leaked_rows=3,
        warnings=("1 row was cut.",),
    ),
    plan=PlanStatus(
        world_size=4,
        total_steps=300,
        global_batch_size=32,
        learning_rate="0.0002",
        memory_per_gpu="12Gi",
        estimated_seconds=600,
        trainable_parameters=5_000_000,
        resources=PlanResources(training=_RESOURCES, serving=_RESOURCES),
        images=PlanImages(trainer="trainer:1", serving="serving:1"),
    ),
    progress=ProgressStatus(
        summary="120/300",
        step=120,
        total_steps=300,
        epoch="1.20",
        loss="0.4321",
        validation_loss="0.5",
        tokens_per_second=10_000,
        trained_tokens=1_000_000,
        estimated_completion_time=NOW,
        last_checkpoint_step=100,
        last_checkpoint_time=NOW,
        memory_peak_bytes=11_000_000_000,
        update_time=NOW,
    ),
    attempts=(
        Attempt(
            number=1,
            start_time=NOW,
            completion_time=NOW,
            from_step=0,
            to_step=60,
            outcome="Failed",
            reason="Preempted",
            message="The node was drained.",
        ),
        Attempt(number=2, start_time=NOW),
    ),
    usage=UsageStatus(
        stages=(
            StageUsage(
                stage="train",
                pod_seconds=600,
                gpu_seconds=2400,
                last_run=RunUsage(number=2, pod_seconds=60, pods=1, update_time=NOW),
            ),
        ),
        cost="1.6750",
        currency="USD",
    ),
    artifact=ArtifactStatus(
        uri="pvc://intents-output/intents/0123456789abcdef/adapter",
        digest="sha256:" + "0" * 64,
        size_bytes=2**33,
        type="LoRA",
        rank=16,
        base_model="hf://org/base",
        base_revision="0a" * 20,
        checkpoints=(CheckpointStatus(step=80, epoch=8, model_name="intents:ckpt-step-80"),),
    ),
    serving=ServingStatus(
        model_name="intents", url="http://intents.default.svc/v1", replicas=1, ready_replicas=1
    ),
)
