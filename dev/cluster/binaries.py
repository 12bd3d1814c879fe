"""Builds the programs that Debian does not have, once per version, into the cache.

Owns the rule what makes a version: the Go sources, the module's locked requirements and the Go release.
"""

import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev import paths, shell
from dev.cluster import go
from dev.cluster.lock import locked

KUBERNETES_VERSION = "v1.34.3"
_SOURCES = Path(__file__).parent / "bin"
_PAUSE = Path(__file__).parent / "pause" / "main.go"
_PROGRAMS = (
    "coredns",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
    "local-provisioner",
    "pod-targets",
    "policy-agent",
)
_FLAGS = (
    "-trimpath",  # the same program from every clone,
    "-buildvcs=false",  # and from every commit
    "-gcflags=all=-dwarf=false",  # a sixth of the compiler's work, for what _STRIP throws away
)
_STRIP = "-s -w"
_ENV = {
    "CGO_ENABLED": "0",  # CoreDNS and pause run in images that hold nothing else
    # Compilers are short-lived: collecting garbage while there is memory would be an eighth of their work.
    "GOGC": "off",
    "GOMEMLIMIT": "2GiB",
}


@dataclass(frozen=True, slots=True)
class Binaries:
    """The folder of one version's programs."""

    folder: Path

    def program(self, name: str) -> Path:
        """Return the path of a program."""
        return self.folder / name


def build_log() -> Path:
    """Return the log of all builds."""
    return paths.binaries() / "build.log"


def locate() -> Binaries:
    """Return where this version's programs are or will be."""
    how = [go.release() or platform.machine(), KUBERNETES_VERSION, *_PROGRAMS]
    digest = hashlib.sha256(" ".join(how).encode())
    for source in [*sorted(path for path in _SOURCES.iterdir() if path.is_file()), _PAUSE]:
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return Binaries(paths.binaries() / digest.hexdigest()[:16])


def are_built() -> bool:
    """Tell whether `ensure_binaries` has nothing to do."""
    return locate().folder.is_dir()


def ensure_binaries() -> Binaries:
    """Return this version's programs, built if need be: about six minutes when nothing is cached."""
    binaries = locate()
    with _build_folder(binaries.folder) as building:
        if building is not None:
            target = building / "kubetune-dev-bin"
            version = f"-X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}"
            build = ["go", "build", *_FLAGS, "-ldflags", f"{_STRIP} {version}", "-o"]
            shell.run([*build, target, "."], cwd=_SOURCES, env=_ENV, log=build_log())
            helm = building / "helm"
            shell.run([*build, helm, "helm.sh/helm/v3/cmd/helm"], cwd=_SOURCES, env=_ENV, log=build_log())
            shell.run([*build, building / "pause", _PAUSE], cwd=_PAUSE.parent, env=_ENV, log=build_log())
            for name in _PROGRAMS:
                (building / name).symlink_to(target.name)
    return binaries


def ensure_module(package: str, version: str) -> Path:
    """Return a program that has a Go module to itself, built if need be."""
    program = locate_module(package, version)
    folder = program.parent
    with _build_folder(folder) as building:
        if building is not None:
            shell.run(
                ["go", "install", *_FLAGS, "-ldflags", _STRIP, f"{package}@{version}"],
                cwd=building,  # outside the checkout, so that no go.mod changes what is built
                env={**_ENV, "GOBIN": str(building)},
                log=build_log(),
            )
    return program


def locate_module(package: str, version: str) -> Path:
    """Return where the program of a Go module is or will be."""
    name = package.rpartition("/")[2]
    return paths.binaries() / f"{name}-{version}" / name


@contextmanager
def _build_folder(folder: Path) -> Iterator[Path | None]:
    """Give a folder to build in, which becomes `folder` when all went well; None if that exists.

    Builds wait for each other, so that two commands at once do not do the same work twice.
    """
    if folder.is_dir():  # not even wait for builds of other programs
        yield None
        return
    with locked("programs"):
        if folder.is_dir():
            yield None
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        for abandoned in folder.parent.glob(".building-*"):  # by a build that was killed
            shutil.rmtree(abandoned)
        building = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
        try:
            yield building
            building.chmod(0o755)
            os.replace(building, folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)
