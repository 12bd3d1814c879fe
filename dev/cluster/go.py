"""Says which Go this machine has. Standard library only: the preflight asks before anything is installed."""

import re
from pathlib import Path

from dev import shell

VERSION = (1, 26)  # what Kubernetes' go.mod asks for


def release() -> str | None:
    """Return the release of Go, such as `go1.26.1 linux/amd64`; None if there is none."""
    if shell.which("go") is None:
        return None
    # A fixed folder, since go.mod files of the working directory can select another toolchain.
    return shell.output(["go", "version"], cwd=Path("/")).removeprefix("go version ").strip()


def is_recent_enough(release: str | None) -> bool:
    """Tell whether a release of Go can build the cluster's programs."""
    found = re.match(r"go(\d+)\.(\d+)", release or "")
    return found is not None and (int(found[1]), int(found[2])) >= VERSION
