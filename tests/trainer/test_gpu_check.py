"""gpu-check on a machine without a GPU: tiny models, trained by the trainer's own loop."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.trainer


def test_tiny_models_are_trained_and_compared_on_cpu(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    command = [sys.executable, "-m", "dev", "gpu-check", "--device", "cpu", "--tiny", "--out", str(out)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    result = json.loads(out.read_text())
    assert result["device"] == "cpu"
    for part in result["parts"]:
        measured = part["measured"]
        assert measured["peak_bytes"] > measured["before_bytes"] > 2**27
        assert part["tokens_per_second"] > 0
    lora, full = (part["measured"] for part in result["parts"])
    assert lora["trained"] < full["trained"] == full["parameters"]
