"""What tests of prepare share: models that are made once, and prepare below a temporary directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.chat_templates import SHORT
from tests.support.prepare_runs import Prepare, preparing
from tests.support.tiny_model import make_tiny_model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny", chat_template=SHORT, eos="<|end|>")


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "plain", chat_template=None)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny-llama", eos="<|endoftext|>")


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    return preparing(tmp_path, monkeypatch)
