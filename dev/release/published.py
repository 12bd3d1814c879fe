"""The images of a release as clusters name them, and what a registry says about them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from dev import shell
from dev.image_values import Pushed
from dev.images import buildah

_DEFAULT_REGISTRY = "docker.io"  # what every container runtime puts in front of a name without a registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """An image in a registry."""

    name: str
    """operator, trainer, serving-cpu or gateway."""

    source: str
    """Where it was pushed to, with its tag."""

    repository: str
    """How the chart names it below `imageRegistry`."""

    registry: str
    """The chart's `imageRegistry`; empty when clusters get it by other ways than where it was pushed to."""

    tag: str
    digest: str
    """Of its manifest: `sha256:...`."""

    @property
    def full_name(self) -> str:
        """Return what container runtimes call the image, without tag."""
        return f"{self.registry or _DEFAULT_REGISTRY}/{self.repository}"


def look_up(source: str, *, registry: str) -> Published:
    """Ask the registry of a pushed image for its digest. `registry` is what clusters will pull from."""
    pushed = Pushed.parse(source)
    return Published(
        name=pushed.repository.rpartition("/")[2],
        source=source,
        repository=pushed.repository,
        registry=registry,
        tag=pushed.tag,
        digest=_digest(source),
    )


def digest_elsewhere(reference: str) -> str | None:
    """Return the digest that a registry on the internet has for a tag; None where it is not reached."""
    try:
        return _digest(reference)
    except shell.CommandError:
        return None


def _digest(reference: str) -> str:
    tls = ("--tls-verify=false",) if buildah.is_local(reference) else ()
    command = ("skopeo", "--command-timeout", "60s", "inspect", *tls, "--raw", f"docker://{reference}")
    return f"sha256:{hashlib.sha256(shell.output(command).encode()).hexdigest()}"
