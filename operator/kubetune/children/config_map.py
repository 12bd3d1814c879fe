"""ConfigMap ``<name>-config``: the TrainerConfig as one JSON document, immutable.

Later attempts and serving read it, never the live settings.
"""

from __future__ import annotations

from kubetune_trainer.contract.config import TrainerConfig

from ..api.v1alpha1 import FineTuneJob
from ..facts.views import Manifest
from ..vocabulary.names import CONFIG_KEY, Names
from .common import labels, metadata


def build_config_map(job: FineTuneJob, config: TrainerConfig) -> Manifest:
    """Build the ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(job, Names(job.metadata.name).config, labels(job, component="config")),
        "immutable": True,
        "data": {CONFIG_KEY: config.model_dump_json(indent=2)},
    }
