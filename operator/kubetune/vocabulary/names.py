"""Every child name, label and annotation key comes from here; nothing formats a name elsewhere.

A FineTuneJob's name has at most 40 characters (CEL on the CRD), so every name below stays under the 63
characters of a DNS label, the Job's pod suffix ``-<index>`` and the collector's random suffix included.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

GROUP: Final = "kubetune.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "FineTuneJob"
PLURAL: Final = "finetunejobs"

LABEL_JOB: Final = f"{GROUP}/finetunejob"
"""On every child: the FineTuneJob's name. Watches, lists and the headless Service select by it."""

PREPARE: Final = "prepare"
TRAIN: Final = "train"
BASELINE: Final = "baseline"
EVALUATE: Final = "evaluate"
PROMOTE: Final = "promote"
SERVE: Final = "serve"
"""Names of stages: in labels, names of Jobs and, for what runs in the trainer's image, its subcommands."""

DONE: Final = "done"
"""In place of a stage, in a status and in metrics: all stages that the spec asks for are reached."""

LABEL_STAGE: Final = f"{GROUP}/stage"
"""Name of the stage that made a child."""

LABEL_ATTEMPT: Final = f"{GROUP}/attempt"
"""Number of the run of its stage, from 1."""

LABEL_ROLE: Final = f"{GROUP}/role"
"""On a server's Deployment and pods: which of the job's servers it is. Selectors have it, which cannot be
changed later."""

ROLE_SERVING: Final = "serving"
ROLE_CANDIDATE: Final = "candidate"
"""Of the Service by which the evaluator reaches the job's own server before its public one exists."""
ROLE_BASELINE: Final = "baseline"
"""Of the server of the base model beside which a full fine-tune is judged."""
ROLES: Final = (ROLE_SERVING, ROLE_CANDIDATE, ROLE_BASELINE)

ANNOTATION_PROMOTE: Final = f"{GROUP}/promote"
"""On a FineTuneJob: why a person has its result served although it did not pass the gate."""

LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "kubetune"
FIELD_MANAGER: Final = "kubetune"
HANDOVER_MANAGER: Final = "kubetune-handover"
"""Owns what we do not manage any more until somebody else does: what nobody owns is reset."""

POD_INDEX: Final = "batch.kubernetes.io/job-completion-index"
"""Label and annotation of an Indexed Job's pods, which the Job controller sets: the node rank."""

ANNOTATION_INTENT: Final = f"{GROUP}/intent"
"""Digest of what a Deployment is made from: an equal digest needs no second apply."""

ANNOTATION_LIVE: Final = f"{GROUP}/live"
"""Digest of image, command and arguments, which people edit by hand, as they were applied."""

CONTAINER_TRAINER: Final = "trainer"
"""podFailurePolicy rules name it, since sidecars may be injected."""

CONTAINER_SERVER: Final = "server"
PORT_METRICS: Final = "metrics"
PORT_HTTP: Final = "http"
CONFIG_KEY: Final = "config.json"


_GUARD: Final = "guard"
_NETWORK: Final = "network"
_DIGEST: Final = re.compile(r"[0-9a-f]{16}")
_RUN: Final = re.compile(r".+-([a-z]+)(?:-([1-9]\d{0,5}))?")


def run_of(name: str) -> tuple[str, int] | None:
    """Stage and number of a run by its Job's name, which nobody can edit, unlike its labels.

    Whether there is such a stage is for the table of stages to say.
    """
    found = _RUN.fullmatch(name)
    if found is None:
        return None
    stage, number = found[1], int(found[2] or 1)
    is_bare = found[2] is None
    return (stage, number) if is_bare == _is_bare(stage, number) else None


def _is_bare(stage: str, number: int) -> bool:
    """Whether a run has no number in its name: training has attempts, other stages mostly run once."""
    return number == 1 and stage != TRAIN


@dataclass(frozen=True, slots=True)
class Names:
    """Names of one FineTuneJob's children."""

    job: str

    @property
    def config(self) -> str:
        """The immutable ConfigMap with the TrainerConfig."""
        return f"{self.job}-config"

    @property
    def output(self) -> str:
        """The output claim, unless the spec names an existing one."""
        return f"{self.job}-output"

    def run(self, stage: str, number: int) -> str:
        """The Job of one run of a stage: every run has its own, so that the cluster remembers them."""
        return f"{self.job}-{stage}" if _is_bare(stage, number) else f"{self.job}-{stage}-{number}"

    @property
    def rendezvous(self) -> str:
        """The headless Service of the trainer pods, the same for every attempt."""
        return f"{self.job}-{TRAIN}"

    def server(self, role: str) -> str:
        """The Deployment of one role; the public Service has the name of the server that it leads to."""
        return self.job if role == ROLE_SERVING else f"{self.job}-{role}"

    def role_of(self, server: str) -> str | None:
        """The role of the server of this name."""
        return next((role for role in ROLES if self.server(role) == server), None)

    def checkpoint_model(self, step: int) -> str:
        """What the job's server calls the adapter of an earlier step, as OpenAI calls checkpoints."""
        return f"{self.job}:ckpt-step-{step}"

    def guard(self, role: str, digest: str) -> str:
        """The ConfigMap with the guard of one role's server, by the digest of what is in it."""
        return f"{self.server(role)}-{_GUARD}-{digest}"

    def guard_role(self, name: str) -> str | None:
        """The role of the server whose guard, of whatever content, has this name."""
        server, _, digest = name.rpartition(f"-{_GUARD}-")
        return self.role_of(server) if _DIGEST.fullmatch(digest) else None

    def network(self, of: str, digest: str) -> str:
        """A NetworkPolicy: what it is of (``pods``, ``sources`` or a server's role), by what it says."""
        return f"{self.job}-{_NETWORK}-{of}-{digest}"

    def is_network(self, name: str) -> bool:
        """Whether this is the name of one of the job's NetworkPolicies, of whatever content."""
        prefix, _, rest = name.rpartition(f"{self.job}-{_NETWORK}-")
        of, _, digest = rest.rpartition("-")
        return not prefix and of.isalpha() and _DIGEST.fullmatch(digest) is not None

    def rank0_host(self, number: int, namespace: str) -> str:
        """DNS name of rank 0's pod."""
        return f"{self.run(TRAIN, number)}-0.{self.rendezvous}.{namespace}.svc"

    def url(self, namespace: str, role: str = ROLE_SERVING) -> str:
        """OpenAI-compatible base URL of a server's Service inside the cluster; by default the public one."""
        return f"http://{self.server(role)}.{namespace}.svc/v1"

    def base(self, uri: str) -> str:
        """Name of the base model in the job's servers: never the job's, which is the adapter's."""
        scheme, _, rest = uri.partition("://")
        name = rest if scheme == "hf" else rest.rsplit("/", maxsplit=1)[-1]
        return f"{name}-base" if name == self.job else name
