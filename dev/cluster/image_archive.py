"""Writes images that hold one static program and nothing else, in the form that `docker save` has.

The cluster's own two images are made here, so that it does not need an image builder to start.
"""

import hashlib
import io
import json
import tarfile
from pathlib import Path


def write_archive(target: Path, *, image: str, program: Path) -> None:
    """Write the archive of an image whose entry point is `program`, at the root of its file system."""
    layer = target.with_name(target.name + ".layer")
    with tarfile.open(layer, "w") as archive, program.open("rb") as source:
        member = tarfile.TarInfo(program.name)
        member.size = source.seek(0, io.SEEK_END)
        member.mode = 0o755
        source.seek(0)
        archive.addfile(member, source)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_digest(layer)}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [image], "Layers": ["layer.tar"]}]
    with tarfile.open(target, "w") as archive:
        _add_json(archive, "config.json", config)
        archive.add(layer, "layer.tar")
        _add_json(archive, "manifest.json", manifest)
    layer.unlink()


def _digest(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _add_json(archive: tarfile.TarFile, name: str, content: object) -> None:
    data = json.dumps(content).encode()
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))
