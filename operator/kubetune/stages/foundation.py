"""What every pod of a job needs, as far as it is missing: configuration, output claim, headless Service."""

from __future__ import annotations

from ..children.claim import build_claim
from ..children.config_map import build_config_map
from ..children.rendezvous import build_rendezvous
from ..facts.views import Kind, Manifest
from ..spec.sources import named_claim
from ..vocabulary.names import Names
from .stage import Look


def foundation(look: Look) -> tuple[Manifest, ...]:
    """Return what is missing of what pods of the trainer need."""
    job, present, names = look.job, look.observed.present, Names(look.job.metadata.name)
    missing = [*configuration(look)]
    if named_claim(job) is None and (Kind.CLAIM, names.output) not in present:
        missing.append(build_claim(job, look.settings))
    if job.spec.training is not None and (Kind.SERVICE, names.rendezvous) not in present:
        missing.append(build_rendezvous(job))
    return tuple(missing)


def configuration(look: Look) -> tuple[Manifest, ...]:
    """Return the ConfigMap, when it is missing; what is there is not built, since each look asks."""
    if (Kind.CONFIG_MAP, Names(look.job.metadata.name).config) in look.observed.present:
        return ()
    return (build_config_map(look.job, look.config),)
