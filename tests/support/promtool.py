"""promtool, which comes with Prometheus."""

from __future__ import annotations

import shutil

import pytest

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="`make cluster` installs promtool"
)
"""On tests that run it."""
