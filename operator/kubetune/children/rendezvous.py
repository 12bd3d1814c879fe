"""Headless Service ``<name>-train``: the DNS name of rank 0's pod, for the rendezvous and for /progress.

It selects by job and stage, not by attempt, and is made with the job: DNS knows it when training starts. No
other pod is in it: nobody asks for their names, and each that starts or ends would cost two writes of all
addresses.
"""

from __future__ import annotations

from kubetune_trainer.contract.config import METRICS_PORT, RENDEZVOUS_PORT

from ..api.v1alpha1 import FineTuneJob
from ..facts.views import Manifest
from ..vocabulary.names import LABEL_JOB, LABEL_STAGE, POD_INDEX, PORT_METRICS, TRAIN, Names
from .common import labels, metadata


def build_rendezvous(job: FineTuneJob) -> Manifest:
    """Build the Service."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(job, Names(job.metadata.name).rendezvous, labels(job, component=TRAIN)),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,  # ranks look for each other before any of them is ready
            "selector": {LABEL_JOB: job.metadata.name, LABEL_STAGE: TRAIN, POD_INDEX: "0"},
            "ports": [
                {
                    "name": "rendezvous",
                    "port": RENDEZVOUS_PORT,
                    "protocol": "TCP",
                    "targetPort": RENDEZVOUS_PORT,
                },
                {"name": PORT_METRICS, "port": METRICS_PORT, "protocol": "TCP", "targetPort": METRICS_PORT},
            ],
        },
    }
