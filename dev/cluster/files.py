"""Writes the cluster's configuration files: only what changed, and never half of a file."""

import os
from pathlib import Path


def ensure_file(path: Path, content: str | bytes, *, mode: int = 0o644) -> Path:
    """Make a file have this content, and return its path."""
    data = content.encode() if isinstance(content, str) else content
    if not path.exists() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        partial.touch(mode=mode)
        partial.write_bytes(data)
        os.replace(partial, path)
    return path
