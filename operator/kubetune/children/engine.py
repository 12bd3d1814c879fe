"""How vLLM is started: its options, its environment, and how much at once it is given. Pure."""

from __future__ import annotations

from typing import Final

from kubetune_trainer.contract.config import OUTPUT_MOUNT
from kubetune_trainer.contract.messages import ArtifactSummary

from ..api.v1alpha1 import FineTuneJob
from ..api.v1alpha1.serving import Serving
from ..spec.resources import serving_gpus, serving_resources
from ..spec.settings import JobSettings
from ..vocabulary.names import ROLE_BASELINE, ROLE_SERVING, Names
from ..vocabulary.quantities import amount_of
from .common import SCRATCH, Item, env
from .guard import MIDDLEWARE, MOUNT

KV_CACHE_GIB: Final = "1"
"""vLLM on CPU takes 4 GiB by itself, which is all that the default container has."""

_ON_CPU: Final = {
    # bfloat16 is 5.5 times slower on processors without instructions for it, and no faster on the others
    "dtype": "float32",
    # compiling takes longer than it saves
    "enforce-eager": "true",
    # larger batches answer no more per second, and everybody in them waits longer
    "max-num-seqs": "16",
}
_ON_GPU: Final = {
    # as much of the model's context as the memory beside its weights holds: all of it does not fit many GPUs
    "max-model-len": "auto",
}
_BFLOAT16_ON_CPU: Final = frozenset(
    {
        "Qwen3NextForCausalLM",
        "Qwen3_5ForCausalLM",
        "Qwen3_5ForConditionalGeneration",
        "Qwen3_5MoeForCausalLM",
        "Qwen3_5MoeForConditionalGeneration",
    }
)
"""Architectures with gated delta nets, for which vLLM's kernel on CPU takes bfloat16 and nothing else."""

_SEQUENCES_ON_GPU: Final = "256"
"""vLLM's own default on the smaller GPUs; on larger ones it takes more, which is then headroom."""

_WAITING: Final = 2
"""Sequences in hand for each that runs: as many wait as run, so that a batch is full and no wait is long."""


def engine_arguments(job: FineTuneJob, serving: Serving, architecture: str) -> list[str]:
    """spec.serving.engineArgs, and what a server without GPUs has by default, as options."""
    args = ["--middleware", MIDDLEWARE]
    if serving_gpus(job) == 0:
        # towers for images are not loaded, nor tried out on the largest image: nobody waits for that on CPU
        args.append("--language-model-only")
    for option, value in sorted(_options(job, serving, architecture).items()):
        if option == "enforce-eager":
            args += ["--enforce-eager"] if value == "true" else []
            continue
        if option == "tool-call-parser":
            args.append("--enable-auto-tool-choice")
        args += [f"--{option}", value]
    return args


def environment(
    job: FineTuneJob,
    serving: Serving,
    artifact: ArtifactSummary,
    settings: JobSettings,
    architecture: str,
    *,
    role: str = ROLE_SERVING,
) -> list[Item]:
    """Environment variables of the server's container."""
    is_baseline = role == ROLE_BASELINE
    on_cpu = serving_gpus(job) == 0
    options = _options(job, serving, architecture)
    sequences = int(options.get("max-num-seqs", _SEQUENCES_ON_GPU))
    return env(
        HOME=SCRATCH,
        TMPDIR=SCRATCH,
        # torch asks for the user's name when it is imported, and most images have none for our uid
        USER="kubetune",
        PYTHONPATH=MOUNT,
        # the CPU image has a cache of its own, filled when it was built
        VLLM_CACHE_ROOT=None if on_cpu else f"{SCRATCH}/vllm",
        TRITON_CACHE_DIR=f"{SCRATCH}/triton",
        HF_HUB_OFFLINE="1",
        VLLM_NO_USAGE_STATS="1",
        VLLM_CPU_KVCACHE_SPACE=KV_CACHE_GIB if on_cpu else None,
        # threads that are bound to cores, or more than the container has, spin while others have the cores
        VLLM_CPU_OMP_THREADS_BIND="nobind" if on_cpu else None,
        OMP_NUM_THREADS=_threads(job, settings) if on_cpu else None,
        # --enforce-eager does not reach log-probabilities, and the image has no compiler
        TORCHDYNAMO_DISABLE="1" if on_cpu else None,
        # said, so that no envFrom says otherwise: the guard asks for keys and not vLLM, whose own are past by
        # some paths and not known to the canary, and nobody adds adapters
        VLLM_API_KEY="",
        VLLM_ALLOW_RUNTIME_LORA_UPDATING="0",
        # of the guard
        KUBETUNE_SERVING_LIMIT=str(_WAITING * sequences),
        KUBETUNE_SERVED_MODEL=base_name(job) if is_baseline else job.metadata.name,
        KUBETUNE_SERVED_BASE=base_name(job) if artifact.type == "LoRA" and not is_baseline else None,
        KUBETUNE_SERVED_IS_BASE="true" if is_baseline else None,
        KUBETUNE_SERVED_DTYPE=options.get("dtype", "auto"),
        KUBETUNE_ARTIFACT=f"{OUTPUT_MOUNT}/{artifact.path}",
        KUBETUNE_ARTIFACT_DIGEST=artifact.digest,
    )


def base_name(job: FineTuneJob) -> str:
    """Name of the base model in the server."""
    return Names(job.metadata.name).base(job.spec.model.uri)


def _options(job: FineTuneJob, serving: Serving, architecture: str) -> dict[str, str]:
    on_cpu = serving_gpus(job) == 0
    given: dict[str, str] = dict(_ON_CPU if on_cpu else _ON_GPU)
    if on_cpu and architecture in _BFLOAT16_ON_CPU:
        given["dtype"] = "bfloat16"
    return given | (serving.engine_args.manifest() if serving.engine_args else {})


def _threads(job: FineTuneJob, settings: JobSettings) -> str:
    """Whole processors that the container has requested."""
    return str(max(1, int(amount_of(serving_resources(job, settings)["requests"]["cpu"]))))
