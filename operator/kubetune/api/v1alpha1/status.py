"""status: what the operator observed. Everything here can be rebuilt by looking again."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from kubetune.api.base import ATOMIC, ListMap, StatusModel, Time, first
from kubetune.api.conditions import CamelCase, Condition
from kubetune.api.v1alpha1.bounds import Int, Message, Number, Short, Small, Uri
from kubetune.api.v1alpha1.evaluation_status import EvaluationPlanStatus, EvaluationStatus
from kubetune_trainer.contract.messages import MOST_KEPT

_MOST_AMOUNTS: Final = 80
"""Requests take 32 names from the spec's limits and 32 from its requests; GPUs, cpu and memory are added."""

_Amounts = Annotated[dict[str, Number], Field(max_length=_MOST_AMOUNTS), first(_MOST_AMOUNTS)]


class ModelStatus(StatusModel):
    """The base model as it was pinned."""

    model_config = ATOMIC

    uri: Uri | None = None
    """Where it came from."""
    revision: Short | None = None
    """Commit of a hub model, else a digest of the files."""
    architecture: Short | None = None
    """Class of the model, such as LlamaForCausalLM."""
    parameters: Int | None = None
    """Number of weights."""


class TokensPerRow(StatusModel):
    """Distribution of row lengths in tokens."""

    mean: Small | None = None
    """Mean."""
    p50: Small | None = None
    """Median."""
    p95: Small | None = None
    """95 of 100 rows are not longer."""
    max: Small | None = None
    """Longest row."""


class DatasetStatus(StatusModel):
    """The rows as they were tokenised."""

    model_config = ATOMIC

    fingerprint: Short | None = None
    """Digest of the tokenised rows."""
    train_rows: Int | None = None
    """Rows that are trained on."""
    train_examples: Int | None = None
    """What training reads: more than rows, where some have an example for each learned turn."""
    validation_rows: Int | None = None
    """Rows that are only measured on."""
    train_tokens: Int | None = None
    """Tokens of all training rows."""
    tokens_per_row: TokensPerRow | None = None
    """Distribution of row lengths in tokens."""
    truncated_rows: Int | None = None
    """Rows that were cut at dataset.maxLength."""
    duplicate_rows: Int | None = None
    """Training rows that occur more than once."""
    leaked_rows: Int | None = None
    """Validation rows that stand in the training rows as well, also where only case, spaces or punctuation
    differ."""
    sha256: Short | None = None
    """SHA-256 of the training file, if it came over https://."""
    warnings: Annotated[tuple[Message, ...], Field(max_length=20)] | None = None
    """What is suspicious about the data."""


class ContainerResources(StatusModel):
    """Resources of one pod's main container."""

    limits: _Amounts | None = None
    """The most the container may use."""
    requests: _Amounts | None = None
    """What the scheduler reserves."""


class PlanResources(StatusModel):
    """Resources that were resolved."""

    training: ContainerResources | None = None
    """Of one training pod."""
    serving: ContainerResources | None = None
    """Of one server; also of that for the evaluation, where the spec asks for no other."""
    evaluator: ContainerResources | None = None
    """Of the pod that asks and scores."""
    baseline: ContainerResources | None = None
    """Of the base model's own server, which a full fine-tune is compared with, before its own is there."""


class PlanImages(StatusModel):
    """Images that were resolved."""

    trainer: Uri | None = None
    """Of prepare and training pods."""
    serving: Uri | None = None
    """Of servers."""


class PlanStatus(StatusModel):
    """What will be done, with every default resolved."""

    model_config = ATOMIC

    world_size: Small | None = None
    """Processes over all pods."""
    total_steps: Int | None = None
    """Optimizer steps of the whole run."""
    global_batch_size: Small | None = None
    """Rows per optimizer step."""
    learning_rate: Number | None = None
    """Peak learning rate."""
    memory_per_gpu: Number | None = None
    """Estimated memory of one GPU; on CPU, of one process."""
    estimated_seconds: Int | None = None
    """Estimated duration of training."""
    trainable_parameters: Int | None = None
    """Weights that are trained."""
    serving_gpus: Small | None = None
    """GPUs of one server: those that the spec asked for, else those that the model needs; absent where the
    platform does not say how much memory a GPU has."""
    evaluation: EvaluationPlanStatus | None = None
    """What the evaluation will ask, and what its numbers can show."""
    resources: PlanResources | None = None
    """Resources that were resolved."""
    images: PlanImages | None = None
    """Images that were resolved."""


class OutputStatus(StatusModel):
    """The output volume, where it was made for this job."""

    model_config = ATOMIC

    claim_uid: Short | None = None
    """uid of the claim that was prepared: another claim under its name is empty."""
    prepared_by: Small | None = None
    """Number of the run of prepare that filled it."""


class RetryStatus(StatusModel):
    """Runs of one stage that have ended, counted over all of them."""

    stage: Short
    """Name of the stage."""
    number: Small
    """The last run that is counted."""
    failures: Small
    """Runs that failed by the job's own fault; more than training.retries.max end the job."""
    interruptions: Small
    """The latest runs, as many as ended through no fault of their own, one after another."""


class RunUsage(StatusModel):
    """What the pods of one run have taken."""

    number: Small
    """Number of the run."""
    pod_seconds: Int
    """Seconds, added up over its pods."""
    pods: Small | None = None
    """Pods that were ready when this was observed; absent once the run has ended."""
    update_time: Time | None = None
    """When this was observed; absent once the run has ended."""


class StageUsage(StatusModel):
    """What the pods of one stage have taken, over all its runs."""

    stage: Short
    """Name of the stage."""
    pod_seconds: Int
    """Seconds that its pods have held what they ask for, added up over the pods of all runs."""
    gpu_seconds: Int
    """The same, times the GPUs of a pod."""
    last_run: RunUsage
    """The latest run that is counted, which may still be on."""


class UsageStatus(StatusModel):
    """What has been taken to the verified and judged result; what serves it has no end, and is not in it."""

    model_config = ATOMIC

    stages: Annotated[tuple[StageUsage, ...], Field(max_length=16)] = ()
    """By stage."""
    cost: Number | None = None
    """What that costs by the platform's prices, as a decimal; absent where it gives none."""
    currency: Short | None = None
    """Currency of cost, as in ISO 4217."""
    break_even_requests: Int | None = None
    """Requests after which all this is worth the time of the server that is saved against the best baseline
    with examples in its prompt: by cost, else by GPU-seconds or, without GPUs, pod-seconds. Absent where the
    tuned model saves no time."""


class ProgressStatus(StatusModel):
    """How far training is; written at most every 30 seconds, curves are in Prometheus."""

    model_config = ATOMIC

    summary: Short | None = None
    """Step and total, such as 120/300."""
    step: Int | None = None
    """Optimizer steps done."""
    total_steps: Int | None = None
    """Optimizer steps of the whole run."""
    epoch: Number | None = None
    """Passes over the data done, as a decimal."""
    loss: Number | None = None
    """Training loss, as a decimal."""
    validation_loss: Number | None = None
    """Latest validation loss, as a decimal."""
    tokens_per_second: Int | None = None
    """Throughput of all processes."""
    trained_tokens: Int | None = None
    """Tokens trained on so far."""
    estimated_completion_time: Time | None = None
    """When training is expected to end."""
    last_checkpoint_step: Int | None = None
    """Step of the newest verified checkpoint."""
    last_checkpoint_time: Time | None = None
    """When the newest checkpoint was verified."""
    memory_peak_bytes: Int | None = None
    """Most memory that one GPU held; on CPU, one process. The estimate is plan.memoryPerGPU."""
    transport: Short | None = None
    """How gradients travel between GPUs, as NCCL chose: Sockets is TCP."""
    best_step: Int | None = None
    """Step with the lowest validation loss so far, where training.select.strategy is Best."""
    warnings: Annotated[tuple[Message, ...], Field(max_length=20)] | None = None
    """What is wrong with the attempt, a sentence each: loss or gradients that grow, a speed that falls, GPUs
    without bf16, RDMA that is not used."""
    update_time: Time | None = None
    """When this was observed."""


class Attempt(StatusModel):
    """One try to train."""

    number: Small
    """Counts from 1."""
    pods_ready: bool | None = None
    """Whether all its pods were ready at one time; absent when not."""
    start_time: Time | None = None
    """When its Job was made."""
    completion_time: Time | None = None
    """When it ended."""
    from_step: Int | None = None
    """Step of the checkpoint that it began with."""
    to_step: Int | None = None
    """Last step that it reached."""
    outcome: CamelCase | None = None
    """How it ended."""
    reason: CamelCase | None = None
    """Why, in one word."""
    message: Message | None = None
    """Why, as a sentence."""


class CheckpointStatus(StatusModel):
    """The adapter as it was at the end of an earlier epoch."""

    step: Int
    """Optimizer step after which it was kept."""
    epoch: Small | None = None
    """Epochs that it had learned from."""
    model_name: Short | None = None
    """Name to put into the model field of a request to the job's server."""


class ArtifactStatus(StatusModel):
    """The verified result."""

    model_config = ATOMIC

    uri: Uri | None = None
    """Where it is: pvc://claim/path."""
    digest: Short | None = None
    """Digest of its manifest, sha256:..."""
    size_bytes: Int | None = None
    """Size of its files."""
    type: Literal["LoRA", "Full"] | None = None
    """LoRA adapter, or the weights of a full fine-tune."""
    rank: Small | None = None
    """Rank of a LoRA adapter."""
    base_model: Uri | None = None
    """The base model."""
    base_revision: Short | None = None
    """Its revision."""
    chat_content: Literal["string", "openai"] | None = None
    """How the chat template that was trained with takes the content of messages; absent without one."""
    generation_config: bool | None = None
    """Whether an adapter brings the tokens at which its server stops."""
    step: Int | None = None
    """Step whose weights these are, where training.select.strategy is Best; else they are the last."""
    checkpoints: Annotated[tuple[CheckpointStatus, ...], Field(max_length=MOST_KEPT)] | None = None
    """Adapters of earlier epochs that training.keepEpochs has kept beside it, the earliest first."""
    source_digest: Short | None = None
    """Digest of the folder that was adopted, sha256:..., as artifact.digest pins it."""
    warnings: Annotated[tuple[Message, ...], Field(max_length=20)] | None = None
    """What may be wrong with an artifact that was adopted, a sentence each."""


class CanaryStatus(StatusModel):
    """Whether the server answers as training measured."""

    verdict: CamelCase | None = None
    """Same, or Unproven where nobody can tell; a server with a Mismatch gets no requests."""
    message: Message | None = None
    """By which numbers, or why not."""
    digest: Short | None = None
    """Digest of the artifact that answered: status.artifact.digest, or that of an earlier server."""
    weights: Short | None = None
    """SHA-256 of the adapter's weights as the server's pod has them."""


class ServingStatus(StatusModel):
    """The server of the result."""

    model_config = ATOMIC

    model_name: Short | None = None
    """Name to put into the model field of a request."""
    url: Uri | None = None
    """OpenAI-compatible base URL inside the cluster; ends in /v1."""
    replicas: Small | None = None
    """Servers that there are."""
    ready_replicas: Small | None = None
    """Servers that answer."""
    canary: CanaryStatus | None = None
    """What the server that answered last said of itself."""


class Status(StatusModel):
    """What the operator observed."""

    abstract: Message | None = None
    """How the job stands, in a line; the conditions say why, and what to do."""
    observed_generation: Int | None = None
    """Generation of the spec that was observed."""
    stage: Short | None = None
    """The stage that the job is at: prepare, train, baseline, evaluate, promote or serve; else done."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), ListMap("type")] = ()
    """Observations; wait for Ready, Trained, Promoted, Served or Stalled."""
    model: ModelStatus | None = None
    """The base model as it was pinned."""
    dataset: DatasetStatus | None = None
    """The rows as they were tokenised."""
    plan: PlanStatus | None = None
    """What will be done, with every default resolved."""
    progress: ProgressStatus | None = None
    """How far training is."""
    attempts: Annotated[tuple[Attempt, ...], Field(max_length=20)] | None = None
    """Tries to train, the newest last; the oldest are dropped."""
    retries: Annotated[tuple[RetryStatus, ...], Field(max_length=16), ListMap("stage")] | None = None
    """Runs that failed or were interrupted, by stage."""
    usage: UsageStatus | None = None
    """What the pods of all stages but serving have taken, and what that costs."""
    output: OutputStatus | None = None
    """The output volume."""
    artifact: ArtifactStatus | None = None
    """The verified result."""
    evaluation: EvaluationStatus | None = None
    """What the evaluation found."""
    serving: ServingStatus | None = None
    """The server of the result."""
