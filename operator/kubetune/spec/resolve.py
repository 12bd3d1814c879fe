"""From a spec to the TrainerConfig: defaults that depend on other fields or on the platform's settings.

Pure. The result is frozen into the ConfigMap ``<name>-config`` when the job starts; from then on everything
is read from there, so that an operator upgrade changes nothing under a running job.
"""

from __future__ import annotations

import re
from typing import Final

from pydantic import ValidationError

from kubetune_trainer.contract.config import (
    AdapterConfig,
    AdoptedConfig,
    DatasetConfig,
    FileSource,
    ModelSource,
    PlatformConfig,
    ResolvedImages,
    ScheduleConfig,
    SelectConfig,
    ServingConfig,
    TrainerConfig,
    TrainingConfig,
)

from ..api.base import decimal_text
from ..api.problems import path_of
from ..api.v1alpha1 import FineTuneJob
from ..api.v1alpha1.resources import Resources
from ..api.v1alpha1.serving import Serving
from ..api.v1alpha1.training import LEARNING_RATES
from ..vocabulary.errors import SpecError
from ..vocabulary.names import PREPARE, SERVE, TRAIN, Names
from ..vocabulary.quantities import amount_of
from ..vocabulary.sentences import ADOPTED, APPLY_AGAIN
from ..vocabulary.strangers import plain
from .evaluation import resolve_evaluation
from .pod_layers import check_pod_template
from .resources import ContainerResources, serving_gpus, serving_resources, training_resources
from .settings import LABEL_FIELD, JobSettings
from .sources import Role, mount_of

CA_BUNDLE_MOUNT: Final = "/etc/kubetune-ca"
CA_BUNDLE_PATH: Final = f"{CA_BUNDLE_MOUNT}/ca.crt"
_SETTINGS: Final = "settings"
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]{0,14})([.][0-9]{1,15})?")


def resolve(job: FineTuneJob, settings: JobSettings) -> TrainerConfig:
    """Resolve what the spec leaves open.

    Raises SpecError where a field is wrong in a way that the schema could not say.
    """
    spec = job.spec
    training = job.spec.trains
    _check_resources(
        "training", training.resources, training_resources(job, settings), training.gpus_per_node, settings
    )
    check_pod_template(job, settings, PREPARE)
    check_pod_template(job, settings, TRAIN)
    on_gpus = spec.trains.gpus_per_node > 0 or (spec.training is None and serving_gpus(job) > 0)
    revision = spec.model.revision or ("main" if spec.model.uri.startswith("hf://") else None)
    return TrainerConfig(
        namespace=job.metadata.namespace,
        name=job.metadata.name,
        use_case=spec.use_case,
        labels=_labels(job, settings),
        model=ModelSource(
            uri=spec.model.uri, revision=revision, mount=mount_of(spec.model.uri, role="model")
        ),
        dataset=_dataset(job),
        adopt=_adopted(job),
        training=_training(job, settings),
        images=ResolvedImages(
            trainer=spec.trains.image or settings.trainer_image, serving=serving_image(job, settings)
        ),
        gpu_memory_bytes=settings.gpu_memory_bytes if on_gpus else None,
        gpu_type=settings.gpu_type if on_gpus else None,
        serving=_serving(job, settings),
        evaluation=resolve_evaluation(job),
        platform=PlatformConfig(
            hf_endpoint=settings.hf_endpoint,
            ca_bundle=CA_BUNDLE_PATH if settings.ca_bundle_config_map else None,
            https_data_hosts=settings.https_data_hosts,
            https_data_max_bytes=settings.https_data_max_bytes,
        ),
        operator={_SETTINGS: settings.model_dump(mode="json")},
    )


def _labels(job: FineTuneJob, settings: JobSettings) -> dict[str, str]:
    """Those labels of the job that the platform lists."""
    listed = (f.removeprefix(LABEL_FIELD) for f in settings.metric_fields if f.startswith(LABEL_FIELD))
    return {key: plain(job.metadata.labels[key]) for key in listed if key in job.metadata.labels}


def check_serving(job: FineTuneJob, settings: JobSettings) -> None:
    """Check what may change while the job runs.

    Raises SpecError where a field is wrong in a way that the schema could not say.
    """
    serving = job.spec.serving
    if serving is not None:
        resolved = serving_resources(job, settings)
        _check_resources("serving", serving.resources, resolved, serving_gpus(job), settings)
        check_pod_template(job, settings, SERVE)


def frozen_settings(config: TrainerConfig) -> JobSettings:
    """Settings as they were when the job started; what a newer operator had added is left out.

    Raises SpecError for those that this version does not take any more, or that somebody edited.
    """
    stored = config.operator.get(_SETTINGS)
    settings = stored if isinstance(stored, dict) else {}
    known = {name: value for name, value in settings.items() if name in JobSettings.model_fields}
    try:
        return JobSettings.model_validate({"trainer_image": config.images.trainer, **known})
    except ValidationError as error:
        problem = error.errors()[0]
        where = f"{_SETTINGS}.{path_of(problem)}"
        raise unreadable(Names(config.name).config, where, problem["msg"]) from None


def unreadable(config_map: str, where: str, problem: str) -> SpecError:
    """What to say of a ConfigMap with a job's configuration that cannot be used."""
    return SpecError(
        f"ConfigMap {config_map}",
        f"cannot be read by this version of KubeTune ({where}: {problem})",
        f"run the version that started the job, or {APPLY_AGAIN} ({ADOPTED})",
    )


def serving_image(job: FineTuneJob, settings: JobSettings) -> str:
    """Image of the servers: the spec's, else the platform's for GPUs or for CPU."""
    if job.spec.serving is not None and job.spec.serving.image is not None:
        return job.spec.serving.image
    if serving_gpus(job) == 0 and settings.serving_cpu_image is not None:
        return settings.serving_cpu_image
    return settings.serving_image


def _dataset(job: FineTuneJob) -> DatasetConfig:
    dataset = job.spec.dataset
    if dataset is None:
        return DatasetConfig()
    columns = dataset.columns.manifest() if dataset.columns else {}
    validation = _file(dataset.validation.uri, "validation") if dataset.validation else None
    fraction = dataset.validation_fraction
    return DatasetConfig(
        train=_file(dataset.train.uri, "train"),
        validation=validation,
        validation_fraction=None if fraction is None else decimal_text(fraction),
        format=dataset.format,
        columns=columns,
        system_prompt=dataset.system_prompt,
        max_length=dataset.max_length,
        on_too_long=dataset.on_too_long,
        chat_template=dataset.chat_template,
        chat_template_kwargs={
            name: _template_value(text) for name, text in (dataset.chat_template_kwargs or {}).items()
        },
        on_leak=dataset.on_leak,
    )


def _adopted(job: FineTuneJob) -> AdoptedConfig | None:
    artifact = job.spec.artifact
    if artifact is None:
        return None
    mount = mount_of(artifact.uri, role="artifact")
    return AdoptedConfig(uri=artifact.uri, mount=mount, digest=artifact.digest)


def _template_value(text: str) -> bool | int | float | str:
    """The value that a chat template gets: what is written as JSON's true, false or a number is one."""
    if text in ("true", "false"):
        return text == "true"
    if _NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    return text


def _file(uri: str, role: Role) -> FileSource:
    return FileSource(uri=uri, mount=mount_of(uri, role=role))


def _training(job: FineTuneJob, settings: JobSettings) -> TrainingConfig:
    training = job.spec.trains
    adapter, rate = training.adapter, training.learning_rate
    return TrainingConfig(
        method=training.method,
        adapter=AdapterConfig(
            type=adapter.type,
            rank=adapter.rank,
            alpha=adapter.alpha,
            dropout=decimal_text(adapter.dropout),
            target_modules=adapter.target_modules,
            use_rslora=adapter.use_rslora,
        ),
        epochs=training.epochs,
        max_steps=training.max_steps,
        batch_size=training.batch_size,
        learning_rate=decimal_text(LEARNING_RATES[adapter.type] if rate is None else rate),
        schedule=ScheduleConfig(
            type=training.schedule.type, warmup_ratio=decimal_text(training.schedule.warmup_ratio)
        ),
        weight_decay=decimal_text(training.weight_decay),
        max_grad_norm=decimal_text(training.max_grad_norm),
        select=SelectConfig(strategy=training.select.strategy, patience=training.select.patience),
        keep_epochs=training.keep_epochs,
        on_divergence=training.on_divergence,
        seed=training.seed,
        zero_stage=training.deepspeed.zero_stage,
        nodes=training.nodes,
        gpus_per_node=training.gpus_per_node,
        checkpoint_every_steps=training.checkpoint.every_steps,
        checkpoint_keep=training.checkpoint.keep,
        collective_timeout_seconds=settings.collective_timeout_seconds,
    )


def _serving(job: FineTuneJob, settings: JobSettings) -> ServingConfig | None:
    """What prepare must know of the server; GPUs that only its resources name count as given."""
    serving = job.spec.serving or (Serving() if job.spec.evaluation else None)
    if serving is None:
        return None
    named = serving.resources and settings.gpu_resource in {
        *(serving.resources.limits or ()),
        *(serving.resources.requests or ()),
    }
    options = serving.engine_args
    length = options.max_model_len if options else None
    return ServingConfig(
        gpus=serving_gpus(job) if named else serving.gpus,
        max_model_len=None if length is None else int(length),
        gpu_memory_utilization=options.gpu_memory_utilization if options else None,
        tool_call_parser=options is not None and options.tool_call_parser is not None,
    )


def _check_resources(
    block: str, given: Resources | None, resolved: ContainerResources, gpus: int, settings: JobSettings
) -> None:
    """Quantities are compared here, since neither schema nor CEL can read them."""
    _check_gpus(block, given, gpus=gpus, resource=settings.gpu_resource)
    limits = resolved.get("limits", {})
    for name, amount in resolved.get("requests", {}).items():
        if name in limits and amount_of(amount) > amount_of(limits[name]):
            raise SpecError(
                f"spec.{block}.resources.requests[{name}]",
                f"{amount} is more than the limit {limits[name]}",
                "lower the request or raise the limit",
            )


def _check_gpus(block: str, given: Resources | None, *, gpus: int, resource: str) -> None:
    field = "gpusPerNode" if block == "training" else "gpus"
    for kind in ("limits", "requests"):
        amounts = (given.limits if kind == "limits" else given.requests) if given else None
        amount = (amounts or {}).get(resource)
        if amount is not None and amount_of(amount) != gpus:
            raise SpecError(
                f"spec.{block}.resources.{kind}[{resource}]",
                f"{amount} contradicts {block}.{field}, which is {gpus}",
                f"remove it: {field} sets it",
            )
