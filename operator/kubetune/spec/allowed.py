"""Whether a job asks for no more than its platform allows (``PlatformPolicy``). Pure.

What a namespace's user may not decide alone is refused unless the platform lists it: what reaches outside the
pod or its namespace, what others go by, and what gives a pod more than it has requested. podTemplates of the
platform itself are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from ..api.v1alpha1 import FineTuneJob
from ..api.v1alpha1.env import EnvFrom
from ..api.v1alpha1.pod_template import PodTemplate
from ..api.v1alpha1.volumes import Volume
from ..vocabulary.errors import SpecError
from .platform_policy import PlatformPolicy, allows, in_full, repository_of
from .settings import JobSettings

RUNTIME_PREFIXES: Final = (
    "NVIDIA_",
    "AMD_",
    "HABANA_",
    "ASCEND_",
    "CAMBRICON_",
    "MTHREADS_",
    "DOCKER_RESOURCE_",
)
RUNTIME_SUFFIX: Final = "_VISIBLE_DEVICES"
"""Variables that container runtimes of devices read: with one of them a pod gets devices that it has not
requested, past every quota."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """Something that a job asks for, which the platform has to allow."""

    field: str
    what: str
    """As a message names it."""
    allowed: bool
    setting: str
    """The platform's setting that allows it."""
    remedy: str = "remove it"


def check_allowed(job: FineTuneJob, policy: PlatformPolicy, settings: JobSettings) -> None:
    """Check what decides training, and can never change; ``settings`` name the platform's own images.

    Raises SpecError for the first thing that the platform does not allow; it names the setting.
    """
    spec = job.spec
    training = spec.trains
    _check(_of_image("spec.training.image", training.image, policy, settings))
    _check(_of_template("spec.podTemplate", spec.pod_template, policy))
    _check(_of_template("spec.training.podTemplate", training.pod_template, policy))


def check_allowed_serving(job: FineTuneJob, policy: PlatformPolicy, settings: JobSettings) -> None:
    """Check what servers are made from, which may change while the job runs. Raises SpecError likewise."""
    serving = job.spec.serving
    if serving is not None:
        _check(_of_template("spec.podTemplate", job.spec.pod_template, policy))
        _check(_of_image("spec.serving.image", serving.image, policy, settings))
        _check(_of_template("spec.serving.podTemplate", serving.pod_template, policy))


def _check(wishes: Iterable[_Wish]) -> None:
    for wish in wishes:
        if not wish.allowed:
            raise SpecError(
                wish.field,
                f"{wish.what} is not allowed by this platform",
                f"{wish.remedy}, or ask for it to be added to the operator's setting {wish.setting}",
            )


def _of_image(
    field: str, image: str | None, policy: PlatformPolicy, settings: JobSettings
) -> Iterator[_Wish]:
    """Any tag of the platform's own repositories will do: an earlier trainer, a server that is tried out."""
    if image is not None:
        listed = (in_full(pattern) if pattern != "*" else "*" for pattern in policy.allowed_images)
        own = (settings.trainer_image, settings.serving_image, settings.serving_cpu_image)
        patterns = (*listed, *(repository_of(image) for image in own if image))
        yield _Wish(field, f'image "{image}"', allows(patterns, repository_of(image)), "allowedImages")


def _of_template(field: str, template: PodTemplate | None, policy: PlatformPolicy) -> Iterator[_Wish]:
    if template is None:
        return
    if template.service_account_name is not None:
        name = template.service_account_name
        allowed = allows(policy.allowed_service_accounts, name)
        yield _Wish(f"{field}.serviceAccountName", f'"{name}"', allowed, "allowedServiceAccounts")
    if template.priority_class_name is not None:
        name = template.priority_class_name
        allowed = allows(policy.allowed_priority_classes, name)
        yield _Wish(f"{field}.priorityClassName", f'"{name}"', allowed, "allowedPriorityClasses")
    for key in template.annotations or ():
        allowed = allows(policy.allowed_annotations, key)
        yield _Wish(f"{field}.annotations", f'"{key}"', allowed, "allowedAnnotations")
    for key in template.labels or ():
        yield _Wish(f"{field}.labels", f'"{key}"', allows(policy.allowed_labels, key), "allowedLabels")
    for variable in template.env or ():
        allowed = not is_of_runtime(variable.name) or allows(policy.allowed_environment, variable.name)
        what = f'variable "{variable.name}", which container runtimes read,'
        yield _Wish(f"{field}.env", what, allowed, "allowedEnvironment")
    for source in template.env_from or ():
        yield _of_env_from(field, source, policy)
    for volume in template.volumes or ():
        yield from _of_volume(f"{field}.volumes", volume, policy)


def is_of_runtime(variable: str) -> bool:
    """Whether a variable is one that container runtimes read."""
    return variable.startswith(RUNTIME_PREFIXES) or variable.endswith(RUNTIME_SUFFIX)


def _of_env_from(field: str, source: EnvFrom, policy: PlatformPolicy) -> _Wish:
    """Its keys are nobody's to see beforehand: only a prefix keeps them from being a runtime's variables.

    One that ends in ``_VISIBLE_DEVICES`` may come of any prefix; runtimes read those that begin with the
    name of a vendor, which the prefix hides.
    """
    prefix = source.prefix or ""
    hidden = prefix != "" and not any(
        prefix.startswith(name) or name.startswith(prefix) for name in RUNTIME_PREFIXES
    )
    told = f'prefix "{prefix}"' if prefix else "without prefix"
    return _Wish(
        f"{field}.envFrom",
        f"{told}, by which a key can be a variable that container runtimes read,",
        hidden or "*" in policy.allowed_environment,
        'allowedEnvironment (as "*")',
        remedy="set another prefix, such as APP_, name the keys in env",
    )


def _of_volume(field: str, volume: Volume, policy: PlatformPolicy) -> Iterator[_Wish]:
    where = f"{field}[{volume.name}]"
    if volume.csi is not None:
        driver = volume.csi.driver
        allowed = allows(policy.allowed_csi_drivers, driver)
        yield _Wish(f"{where}.csi", f'driver "{driver}"', allowed, "allowedCsiDrivers")
    for source in volume.projected.sources if volume.projected else ():
        if source.service_account_token is not None:
            audience = source.service_account_token.audience
            allowed = allows(policy.allowed_token_audiences, audience)
            yield _Wish(f"{where}.projected", f'a token for "{audience}"', allowed, "allowedTokenAudiences")
