"""A Secret as a kubelet mounts it, and mounts it anew when it has changed."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

_DATA = "..data"


def mount_secret(folder: Path, /, **values: str | bytes) -> Path:
    """Have the folder show these values by the names of their keys, all at once; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / _DATA
    before = data.resolve() if data.exists() else None
    new = Path(tempfile.mkdtemp(prefix="..", dir=folder))
    for name, value in values.items():
        (new / name).write_bytes(value.encode() if isinstance(value, str) else value)
    turned = folder / "..data_tmp"
    turned.symlink_to(new.name)
    turned.rename(data)
    for name in values:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path(_DATA) / name)
    for path in folder.iterdir():
        if not path.name.startswith("..") and path.name not in values:
            path.unlink()
    if before is not None:
        shutil.rmtree(before)
    return folder
