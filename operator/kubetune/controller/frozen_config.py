"""Finds a job's TrainerConfig: in its ConfigMap, else resolved from the spec and the live settings."""

from __future__ import annotations

from pydantic import ValidationError

from kubetune_trainer.contract.config import TrainerConfig

from ..api.v1alpha1 import FineTuneJob
from ..cluster.index import Index
from ..cluster.kube import Kube
from ..facts.parse import parse_bare
from ..facts.views import Key, Kind, Raw
from ..spec.resolve import frozen_settings, resolve, unreadable
from ..spec.settings import JobSettings
from ..vocabulary.errors import NotFound, SpecError
from ..vocabulary.names import CONFIG_KEY, Names
from .job_state import JobState


class Configurer:
    """Reads a job's configuration once, and keeps it."""

    def __init__(self, kube: Kube, index: Index, settings: JobSettings) -> None:
        self._kube = kube
        self._index = index
        self._settings = settings

    def is_there(self, key: Key) -> bool:
        """Whether there is a ConfigMap of that name."""
        return self._index.child(key, Kind.CONFIG_MAP, Names(key.name).config) is not None

    async def config(self, key: Key, job: FineTuneJob, state: JobState) -> tuple[TrainerConfig, JobSettings]:
        """Return the job's configuration, and the settings in it.

        What a ConfigMap of this very job says wins over the live settings: an upgrade changes nothing.
        Raises SpecError when the spec cannot be resolved, or what the ConfigMap holds cannot be read.
        """
        name = Names(key.name).config
        # The index knows what exists; should it not, the creation meets it.
        if not state.config_read and self.is_there(key):
            try:
                raw = await self._kube.get(Kind.CONFIG_MAP, key.namespace, name)
            except NotFound:
                pass
            else:
                view = parse_bare(raw, Kind.CONFIG_MAP)
                self._index.put(view, key=key)
                if view.owner_uid == state.uid:
                    state.config, state.settings = _parse(raw, key), None
        state.config_read = True
        if state.config is None:
            state.config, state.settings = resolve(job, _as_started(job, self._settings)), None
        if state.settings is None:
            try:
                state.settings = frozen_settings(state.config)
            except SpecError:
                state.config, state.config_read = None, False  # it is read again: it may be another one
                raise
        return state.config, state.settings


def _as_started(job: FineTuneJob, settings: JobSettings) -> JobSettings:
    """The settings, with the images that the status says the job has run: somebody deleted its ConfigMap."""
    images = job.status.plan.images if job.status and job.status.plan else None
    if images is None:
        return settings
    known: dict[str, str | None] = {"trainer_image": images.trainer or settings.trainer_image}
    if images.serving is not None:
        known |= {"serving_image": images.serving, "serving_cpu_image": None}
    return settings.model_copy(update=known)


def _parse(raw: Raw, key: Key) -> TrainerConfig:
    name = Names(key.name).config
    text = (raw.get("data") or {}).get(CONFIG_KEY)
    if not isinstance(text, str):
        raise unreadable(name, CONFIG_KEY, "is missing")
    try:
        config = TrainerConfig.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"]) or CONFIG_KEY
        raise unreadable(name, where, problem["msg"]) from None
    if (config.namespace, config.name) != (key.namespace, key.name):
        raise unreadable(name, "name", f"it is that of {config.namespace}/{config.name}")
    return config
