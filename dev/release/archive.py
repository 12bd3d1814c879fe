"""Writes image archives that container runtimes import and that keep the digest of the registry's image."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from dev import paths, shell
from dev.errors import DevError
from dev.images import buildah
from dev.release.published import Published

_RUNTIME_NAME = "io.containerd.image.name"
_LAYOUT_NAME = "org.opencontainers.image.ref.name"


def write_archive(image: Published, target: Path, *, epoch: int) -> None:
    """Copy an image from its registry, as it is there, into an archive of the OCI layout.

    `docker load` finds its own manifest in it too. All files have the time `epoch`, so that the same image
    makes the same archive. While it is written the disk holds the image twice.
    """
    with tempfile.TemporaryDirectory(prefix=".archive-", dir=target.parent) as folder:
        layout = Path(folder)
        tls = ("--src-tls-verify=false",) if buildah.is_local(image.source) else ()
        copy = ("skopeo", "copy", "--quiet", "--preserve-digests", *tls)
        shell.run([*copy, f"docker://{image.source}", f"oci:{layout}:copied"], log=_log())
        [found] = json.loads((layout / "index.json").read_text())["manifests"]
        if found["digest"] != image.digest:
            raise DevError(
                f"{image.source} is {found['digest']} now and was {image.digest} a moment ago: somebody has"
                " pushed another image under this tag. Run make release again."
            )
        manifest = json.loads(_blob(layout, found["digest"]).read_bytes())
        _write(layout / "index.json", index(image, found))
        _write(layout / "manifest.json", for_docker(image, manifest))
        _tar(layout, target, epoch=epoch)


def index(image: Published, manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the layout's index: the image under its tag, and under its digest as pods name it.

    A node that has imported it finds it by either, and asks no registry.
    """
    tagged, pinned = f"{image.full_name}:{image.tag}", f"{image.full_name}@{image.digest}"
    bare = {key: value for key, value in manifest.items() if key != "annotations"}
    return {
        "schemaVersion": 2,
        "manifests": [
            {**bare, "annotations": {_RUNTIME_NAME: tagged, _LAYOUT_NAME: tagged}},
            # No name of the layout: skopeo and others would see two images.
            {**bare, "annotations": {_RUNTIME_NAME: pinned}},
        ],
    }


def for_docker(image: Published, manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what `docker load` reads, which names the same files."""

    def path(digest: str) -> str:
        return f"blobs/{digest.replace(':', '/')}"

    return [
        {
            "Config": path(manifest["config"]["digest"]),
            "RepoTags": [f"{image.full_name}:{image.tag}"],
            "Layers": [path(layer["digest"]) for layer in manifest["layers"]],
        }
    ]


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))


def _tar(layout: Path, target: Path, *, epoch: int) -> None:
    same = (
        "--sort=name",
        f"--mtime=@{epoch}",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--mode=u=rwX,go=rX",
    )
    content = sorted(path.name for path in layout.iterdir())
    shell.run(["tar", *same, "--directory", layout, "--create", "--file", target, *content], log=_log())


def _log() -> Path:
    return paths.cache() / "release.log"
