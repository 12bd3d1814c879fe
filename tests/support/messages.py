"""Termination messages as a trainer writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubetune_trainer.contract.evaluation import CandidateSummary, EvaluateSummary, Override, Verdict
from kubetune_trainer.contract.messages import (
    ArtifactSummary,
    DatasetSummary,
    ModelSummary,
    PlanSummary,
    PrepareSummary,
    Reason,
    TerminationMessage,
    TokensPerRow,
    TrainSummary,
)

ARTIFACT = ArtifactSummary(
    path="job/0123456789abcdef/adapter",
    digest="sha256:" + "0" * 64,
    size_bytes=1000,
    type="LoRA",
    rank=16,
    base_model="pvc://models/smol",
    base_revision="0123456789abcdef",
    train_loss="0.5",
)

PREPARED = PrepareSummary(
    model=ModelSummary(
        revision="0123456789abcdef",
        path="/inputs/model",
        architecture="LlamaForCausalLM",
        parameters=134515008,
    ),
    dataset=DatasetSummary(
        fingerprint="fedcba9876543210",
        train_rows=100,
        validation_rows=0,
        train_tokens=4500,
        tokens_per_row=TokensPerRow(mean=45, p50=44, p95=60, max=70),
    ),
    plan=PlanSummary(
        total_steps=30, trainable_parameters=4884480, memory_per_gpu_bytes=2 * 2**30, estimated_seconds=120
    ),
)


def prepared(*, artifact: ArtifactSummary | None = None) -> str:
    """Message of a completed prepare."""
    summary = PREPARED.model_copy(update={"artifact": artifact})
    return _message(Reason.COMPLETED, "Prepared.", summary.model_dump(mode="json"))


def trained(artifact: ArtifactSummary = ARTIFACT) -> str:
    """Message of a completed rank 0."""
    summary = TrainSummary(from_step=0, to_step=30, artifact=artifact)
    return _message(Reason.COMPLETED, "Trained.", summary.model_dump(mode="json"), step=30)


def evaluated(verdict: Verdict = "Passed", override: Override | None = None) -> str:
    """Message of a completed evaluation."""
    said = "ExactMatch 0.78 is 0.21 above Base's 0.57 (95 % interval 0.12 to 0.30)."
    scores = {"prompt_tokens": 45, "latency_seconds": "0.5", "seconds_per_request": "0.25"}
    summary = EvaluateSummary(
        artifact=ARTIFACT.digest,
        metric="ExactMatch",
        rows=200,
        candidates=(
            CandidateSummary(name="Tuned", score="0.7800", low="0.7200", high="0.8400", **scores),
            CandidateSummary(
                name="Base",
                score="0.5700",
                low="0.5000",
                high="0.6400",
                wins=50,
                losses=8,
                ties=142,
                **scores,
            ),
        ),
        verdict=verdict,
        said=said if verdict == "Passed" else f"Not passed: {said}",
        report="job/0123456789abcdef/evaluation",
        override=override,
    )
    return _message(Reason.COMPLETED, said, summary.model_dump(mode="json"))


def base_answered() -> str:
    """Message of an evaluator that has asked the base of a full fine-tune."""
    return _message(Reason.COMPLETED, "The base has answered.", {})


def ends_well(pod: Mapping[str, Any]) -> tuple[int, str] | None:
    """Exit code and message of a trainer's pod that completes; None for others, which run on."""
    stage = pod["metadata"]["labels"]["kubetune.dev/stage"]
    ends = {"prepare": prepared, "train": trained, "baseline": base_answered, "evaluate": evaluated}
    return (0, ends[stage]()) if stage in ends else None


def failed(reason: Reason, message: str) -> str:
    """Message of a pod that failed."""
    return _message(reason, message, {})


def _message(reason: Reason, message: str, summary: dict[str, object], *, step: int | None = None) -> str:
    return TerminationMessage(reason=reason, message=message, step=step, summary=summary).model_dump_json()
