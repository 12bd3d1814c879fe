"""Which cluster the tools work on: the local one, or the one that KUBETUNE_KUBECONFIG names.

A plain KUBECONFIG is never read: people have it exported, and it is production.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from dev import progress, shell
from dev.cluster import binaries
from dev.errors import DevError
from dev.kubectl import Kubectl


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """A cluster that is not ours."""

    kubeconfig: Path
    registry: str


class TargetError(DevError):
    """The environment names a cluster incompletely, or a change of it was declined."""


def foreign() -> Foreign | None:
    """Return the cluster that the environment names; None means the local one.

    Raises TargetError when KUBETUNE_REGISTRY is missing beside KUBETUNE_KUBECONFIG.
    """
    kubeconfig = os.environ.get("KUBETUNE_KUBECONFIG")
    if not kubeconfig:
        return None
    if not (named := registry()):
        raise TargetError(
            "KUBETUNE_KUBECONFIG is set but KUBETUNE_REGISTRY is not: name a registry that it pulls from"
        )
    if not Path(kubeconfig).is_file():
        raise TargetError(f"KUBETUNE_KUBECONFIG names {kubeconfig}, which is not a file")
    return Foreign(kubeconfig=Path(kubeconfig), registry=named)


def registry() -> str | None:
    """Return the registry, with a path perhaps, that images for other clusters are pushed to."""
    return (os.environ.get("KUBETUNE_REGISTRY") or "").removesuffix("/") or None


def may_replace_values() -> bool:
    """Tell whether somebody has agreed that the values of an existing release are reset."""
    return os.environ.get("KUBETUNE_REPLACE") == "1"


def confirm(kubectl: Kubectl, changes: Sequence[str]) -> None:
    """Name every change of a cluster that is not ours, and ask; KUBETUNE_YES=1 answers."""
    where = f"the cluster {_server(kubectl)} of {kubectl.kubeconfig}"
    progress.note("\n".join([f"In {where} this will", *(f"- {change}" for change in changes)]))
    if os.environ.get("KUBETUNE_YES") == "1":
        return
    if not sys.stdin.isatty():
        raise TargetError("Nobody can be asked: set KUBETUNE_YES=1 to agree to these changes")
    if not typer.confirm("Go on?", err=True):
        raise TargetError("declined, nothing was changed")


def kubectl_of(kubeconfig: Path) -> Kubectl:
    """Return kubectl and helm of the local cluster's version for a kubeconfig."""
    programs = binaries.ensure_binaries()
    return Kubectl(program=programs.program("kubectl"), helm=programs.program("helm"), kubeconfig=kubeconfig)


def kubectl_elsewhere(kubeconfig: Path) -> Kubectl:
    """Return the person's own kubectl and helm for a kubeconfig, else built ones."""
    program, helm = shell.which("kubectl"), shell.which("helm")
    if program and helm:
        return Kubectl(program=Path(program), helm=Path(helm), kubeconfig=kubeconfig)
    if not binaries.are_built():
        with progress.step("Build kubectl and helm, since they are not both on PATH (about 6 minutes, once)"):
            binaries.ensure_binaries()
    return kubectl_of(kubeconfig)


def _server(kubectl: Kubectl) -> str:
    return kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}").strip()
