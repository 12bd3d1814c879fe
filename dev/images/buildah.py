"""Runs buildah with a store of our own: no daemon, and nothing in the store that the system may have."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dev import paths, progress, shell

RUN_ROOTS = Path("/run/kubetune-buildah")  # buildah's mounts are counted here, which a reboot must reset
_BUNDLE_IN_IMAGE = "/etc/ssl/certs/ca-certificates.crt"  # Debian's
_UV_CACHE_IN_BUILD = "/root/.cache/uv"
_LOCAL = ("127.0.0.1", "localhost")  # registries without TLS
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def log() -> Path:
    """Return the log of all builds and pushes."""
    return paths.cache() / "images.log"


def command(*arguments: str | Path) -> list[str | Path]:
    """Return the command line of a buildah command."""
    store = paths.build_store()
    run_root = RUN_ROOTS / hashlib.sha256(str(store).encode()).hexdigest()[:12]
    # overlay: the alternative, vfs, copies all files for every layer, hundreds of gigabytes in the end.
    return ["buildah", "--root", store, "--runroot", run_root, "--storage-driver", "overlay", *arguments]


def exists(image: str) -> bool:
    """Tell whether an image is in the store."""
    return shell.succeeds(command("inspect", "--type", "image", image))


def build(
    image: str, *, dockerfile: str, context: Path, target: str = "", options: Sequence[str] = ()
) -> None:
    """Build an image, or a stage of one, on top of the layers that are the same as before."""
    arguments = ["build", "--layers", "--quiet", "--isolation", "chroot", "--network", "host"]
    if target:
        arguments += ["--target", target]
    arguments += [*_machine_mounts(), *options, "--tag", image, "--file", str(context / dockerfile)]
    shell.run([*command(*arguments), context], log=log())


def push(image: str, *, reference: str) -> None:
    """Push an image; layers that the registry has are not sent again."""
    # zstd's first level: half the processor time of gzip, here and where containerd unpacks it.
    compression = ("--compression-format", "zstd", "--compression-level", "1")
    shell.run(
        command("push", "--quiet", *_tls(reference), *compression, image, f"docker://{reference}"), log=log()
    )


def is_pushed(reference: str) -> bool:
    """Tell whether a registry has an image."""
    if is_local(reference):
        return _answers(reference)
    return shell.succeeds(command("manifest", "inspect", f"docker://{reference}"))


def say_if_logged_out(reference: str) -> None:
    """Tell a person that the push will fail if the registry wants a password, before the builds begin."""
    host = reference.partition("/")[0]
    if not is_local(reference) and not shell.succeeds(["buildah", "login", "--get-login", host]):
        progress.note(
            f"   nobody is logged in to {host}: if it wants a password, run buildah login {host} first"
        )


@contextmanager
def mounted(image: str, *, reference: str) -> Iterator[Path]:
    """Mount an image's files in the block, read only by agreement; one that only a registry has is pulled."""
    source = [image] if exists(image) else [*_tls(reference), f"docker://{reference}"]
    container = shell.output(command("from", "--quiet", *source)).strip()
    try:
        yield Path(shell.output(command("mount", container)).strip())
    finally:
        shell.output(command("rm", container))


def size(image: str) -> str:
    """Return an image's uncompressed size, for people."""
    return str(json.loads(shell.output(command("images", "--json", image)))[0]["size"])


def forget_old(repository: str, *, current: str, count: int) -> None:
    """Forget the images of a repository but for the `count` newest and the current one."""
    names = ("--filter", f"reference={repository}", "--format", "{{.Name}}:{{.Tag}}")  # the newest come first
    for image in shell.output(command("images", *names)).split()[count:]:
        if image != current:
            shell.succeeds(command("rmi", image))


def remove_unused() -> None:
    """Delete layers that no image with a name is made from."""
    shell.succeeds(command("rmi", "--prune"))


def remove_abandoned() -> None:
    """Delete what a killed build has left mounted."""
    shell.succeeds(command("rm", "--all"))


def _machine_mounts() -> list[str]:
    """Mount what builds use of this machine and images must not hold."""
    uv_cache = Path(os.environ.get("UV_CACHE_DIR") or paths.cache().parent / "uv")
    uv_cache.mkdir(parents=True, exist_ok=True)
    # Wheels that .venv has are not fetched again.
    mounts = ["--volume", f"{uv_cache}:{_UV_CACHE_IN_BUILD}"]
    bundle = os.environ.get("SSL_CERT_FILE")
    if bundle and Path(bundle).is_file():
        mounts += ["--volume", f"{Path(bundle).resolve()}:{_BUNDLE_IN_IMAGE}:ro"]
    return mounts


def is_local(reference: str) -> bool:
    """Tell whether an image is in a registry of this machine, which speaks no TLS."""
    return reference.partition("/")[0].partition(":")[0] in _LOCAL


def _tls(reference: str) -> tuple[str, ...]:
    return ("--tls-verify=false",) if is_local(reference) else ()


def _answers(reference: str) -> bool:
    host, _, path = reference.partition("/")
    repository, _, tag = path.rpartition(":")
    request = urllib.request.Request(
        f"http://{host}/v2/{repository}/manifests/{tag}", headers={"Accept": _MANIFEST}, method="HEAD"
    )
    # No proxy, whatever the environment says: this registry is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10):
            return True
    except urllib.error.HTTPError:
        return False
