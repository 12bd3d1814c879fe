"""Puts the demo's model and rows into the local S3 endpoint: what is there already is not sent again."""

from __future__ import annotations

from pathlib import Path

import s3fs

from dev.cluster.s3 import S3Endpoint

MODEL_PREFIX = "models/SmolLM2-135M-Instruct"
DATA_PREFIX = "datasets/triage"


def filesystem(endpoint: S3Endpoint) -> s3fs.S3FileSystem:
    """Return a client of the endpoint."""
    return s3fs.S3FileSystem(
        key=endpoint.access_key,
        secret=endpoint.secret_key,
        client_kwargs={"endpoint_url": endpoint.url, "region_name": endpoint.region},
    )


def upload(endpoint: S3Endpoint, source: Path, prefix: str) -> None:
    """Make ``s3://<prefix>/`` hold the files of a folder; a file of the same size and content stays."""
    files = filesystem(endpoint)
    for path in sorted(p for p in source.iterdir() if p.is_file() and p.suffix != ".md"):
        target = f"{prefix}/{path.name}"
        if not _same(files, path, target):
            files.put_file(str(path), target)


def _same(files: s3fs.S3FileSystem, path: Path, target: str) -> bool:
    if not files.exists(target) or files.size(target) != path.stat().st_size:
        return False
    if path.suffix == ".safetensors":  # hundreds of megabytes that no one edits in place
        return True
    return bool(files.cat_file(target) == path.read_bytes())
