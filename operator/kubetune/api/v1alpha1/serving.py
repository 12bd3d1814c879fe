"""spec.serving: how the result is offered."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from kubetune.api.base import ATOMIC, Image, ObjectName, SpecModel
from kubetune.api.v1alpha1.network import NetworkPeer
from kubetune.api.v1alpha1.pod_template import PodTemplate
from kubetune.api.v1alpha1.resources import Resources

_Count = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,6}$", max_length=7)]
_Parser = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
_Share = Annotated[str, StringConstraints(pattern=r"^(0[.][0-9]*[1-9][0-9]*|1([.]0+)?)$", max_length=8)]


class EngineArgs(SpecModel):
    """Options of the vLLM server, under vLLM's own names. All values are strings."""

    model_config = ConfigDict(alias_generator=lambda field: field.replace("_", "-"))

    max_model_len: _Count | None = None
    """Longest sequence in tokens, prompt and answer together."""
    max_num_seqs: _Count | None = None
    """Most sequences in one batch."""
    dtype: Literal["auto", "half", "float16", "bfloat16", "float", "float32"] | None = None
    """Data type of weights and activations."""
    gpu_memory_utilization: _Share | None = None
    """Part of the GPU's memory that the server takes: above 0, at most 1."""
    enforce_eager: Literal["true", "false"] | None = None
    """"true" leaves CUDA graphs out: starts faster, answers slower."""
    tool_call_parser: _Parser | None = None
    """Parser of the model's tool calls; turns automatic tool choice on."""
    reasoning_parser: _Parser | None = None
    """Parser of the model's reasoning."""


class ApiKey(SpecModel):
    """Keys that clients of the job's servers have to show."""

    secret_name: ObjectName
    """Secret in the job's namespace. Each of its values is a key: printable ASCII characters, no spaces.
    A change of the Secret needs no restart. While there is no key in it, everybody is refused."""


class Serving(SpecModel):
    """An OpenAI-compatible server for the fine-tuned model."""

    model_config = ATOMIC

    mode: Literal["Adapter", "Full"] | None = None
    """Adapter serves the base model with the LoRA adapter, Full the weights of a full fine-tune.
    Default: what training.adapter.type asks for. An artifact says it itself."""
    replicas: int | None = Field(default=None, ge=1, le=100, strict=True)
    """Number of servers behind the Service. Left out, it is one at first and then left to others: an
    autoscaler or kubectl scale. Servers on more than one node need a claim with ReadWriteMany, which the
    operator makes only where replicas, or training.nodes, is above 1."""
    gpus: int | None = Field(default=None, ge=0, le=64, strict=True)
    """GPUs of one server; 0 serves on CPU. Default: what the model needs (status.plan.servingGpus) when
    training uses GPUs, or 1 where that is not known; else 0. With an artifact it has to be said."""
    resources: Resources | None = None
    """Resources of one server. Default: its GPUs, and requests of 2 CPUs and 12Gi of memory for each; without
    GPUs 1 CPU and 4Gi of memory, which is then limited to 8Gi."""
    image: Image | None = None
    """Serving image. Default: the platform's."""
    engine_args: EngineArgs | None = None
    """Options of the vLLM server: {max-model-len: "2048"}."""
    allow_from: tuple[NetworkPeer, ...] | None = Field(default=None, max_length=16)
    """Who may reach the servers, as in a NetworkPolicy: [{namespaceSelector: {}}] is the whole cluster.
    Default: the pods of the job's namespace. Operator, Prometheus, the job's own evaluator and the platform's
    gateway always may."""
    api_key: ApiKey | None = None
    """Has every path but health and metrics ask for a key ("Authorization: Bearer KEY", or "api-key: KEY").
    Default: whoever reaches the servers may use them."""
    pod_template: PodTemplate | None = None
    """Goes on top of spec.podTemplate for servers."""
