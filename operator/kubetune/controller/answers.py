"""Asks a job's servers, in the background, whether they answer; what answers mean is ``servers.answers``'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..api.v1alpha1 import FineTuneJob
from ..facts.canary import Canary
from ..facts.observed import Observed, Server
from ..facts.views import Key, Kind
from ..pods_http.probes import Probes
from ..servers.answers import may_answer, recalled, recalled_canary, with_answers
from ..vocabulary.names import ROLE_CANDIDATE, ROLE_SERVING, ROLES, Names
from .job_state import JobState


def with_servers(
    probes: Probes,
    key: Key,
    job: FineTuneJob,
    observed: Observed,
    state: JobState,
    *,
    wanted: Mapping[str, str | None],
) -> Observed:
    """Add what is known of the servers' answers, and ask once for each intent of a Deployment.

    ``wanted`` has the intent of each role that is to be there now.
    """
    servers = {role: _server(probes, key, job, observed, state, role, wanted.get(role)) for role in ROLES}
    return replace(observed, servers=servers)


def _server(
    probes: Probes,
    key: Key,
    job: FineTuneJob,
    observed: Observed,
    state: JobState,
    role: str,
    wanted: str | None,
) -> Server:
    known, names, server = state.server(role), Names(key.name), observed.server(role)
    live = server.deployment
    service = _service(names, observed, role)
    reachable = live is not None and service is not None
    intent = (live.intent if live else None) or ""
    # Once: later the status tells only what this process has said.
    if role == ROLE_SERVING and not known.recalled:
        known.recalled, known.answered = True, recalled(job, live)
        known.canary = recalled_canary(job)
    if not reachable:
        known.answered = None
    if wanted is None or live is None or not reachable or not may_answer(live):
        probes.stop_asking(key, role)  # nobody is there to answer; the next server is asked anew
    elif known.answered != intent and service is not None:

        def done(canary: Canary) -> None:
            known.answered, known.canary = intent, canary

        url = names.url(key.namespace, service)
        probes.ask(key, role, intent=intent, base_url=url, done=done)
    server = replace(server, accepted=known.accepted, dispute=known.dispute)
    silence = None if known.answered == intent else probes.failure(key, role)
    return with_answers(server, wanted=wanted, answered=known.answered, canary=known.canary, silence=silence)


def _service(names: Names, observed: Observed, role: str) -> str | None:
    """Role of the Service by which a server can be asked: the public one, else the evaluation's."""
    roles = (ROLE_SERVING, ROLE_CANDIDATE) if role == ROLE_SERVING else (role,)
    return next((r for r in roles if (Kind.SERVICE, names.server(r)) in observed.present), None)
