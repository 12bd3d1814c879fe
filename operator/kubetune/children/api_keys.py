"""Keys of the job's own servers: the Secret of serving.apiKey, for who asks for keys and who shows one.

It is mounted, and no variable: what changes in it reaches pods that run. The kubelet reads it, the operator
does not.
"""

from __future__ import annotations

from typing import Final

from kubetune_trainer.contract.evaluation import API_KEYS

from ..api.v1alpha1.serving import Serving
from .common import Item, Volumes, env

MOUNT: Final = "/etc/kubetune-keys"
VOLUME: Final = "kubetune-api-keys"


def api_keys(serving: Serving | None, volumes: Volumes) -> list[Item]:
    """Mount the keys, and return the variable that says where; nothing where servers ask for none."""
    if serving is None or serving.api_key is None:
        return []
    secret = {"secretName": serving.api_key.secret_name}
    volumes.add(VOLUME.removeprefix("kubetune-"), {"secret": secret}, MOUNT, read_only=True)
    return env(**{API_KEYS: MOUNT})
