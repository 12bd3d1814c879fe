"""Programs that others wrote for OpenAI's API, unmodified, each in an environment with its own versions."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dev import clients
from dev.paths import REPOSITORY
from tests.support import openai_gateway, openai_life, s3_server
from tests.support.model_server import model_server
from tests.support.openai_gateway import Gateway

pytestmark = [s3_server.needed, pytest.mark.slow]

SCRIPTS = Path(__file__).parent / "clients"
EXAMPLES = REPOSITORY / "examples"
ROWS = EXAMPLES / "openai" / "couplets.jsonl"
OPENAI = ["openai-1", "openai"]
"""The last of 1.x, and the newest: that of .venv."""

Run = Callable[..., str]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with (
        s3_server.running(tmp_path_factory.mktemp("s3"), "clients") as s3,
        openai_gateway.running(s3) as found,
        model_server() as server,
        openai_life.lived(found.jobs, server=server.url),
    ):
        yield found


@pytest.fixture
def run(gateway: Gateway, tmp_path: Path) -> Run:
    """Runs a program with a client's Python, as a member of team-a; returns what it prints."""

    def done(client: str, script: Path, *arguments: str | Path, **environment: str) -> str:
        python = sys.executable if client == "openai" else clients.python(client)
        asked = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "NO_PROXY": "127.0.0.1",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # of DSPy: nothing is fetched
        }
        if "azure" in str(script):
            asked |= {
                "AZURE_OPENAI_ENDPOINT": gateway.url.removesuffix("/v1"),
                "AZURE_OPENAI_API_KEY": "token-of-team-a",
            }
        else:
            asked |= {
                "OPENAI_BASE_URL": gateway.url,
                "OPENAI_API_BASE": gateway.url,  # the same, for LlamaIndex
                "OPENAI_API_KEY": "token-of-team-a",
            }
        ended = subprocess.run(
            [python, script, *arguments],
            env=asked | environment,
            cwd=tmp_path,
            text=True,
            capture_output=True,
            timeout=300,
        )
        assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    return done


@pytest.mark.parametrize("types", ["strict", "loose"])
@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("client", OPENAI)
def test_openais_client_makes_all_its_calls(run: Run, client: str, way: str, types: str) -> None:
    assert "ft:gpt-4o-mini:team-a:all-calls:" in run(client, SCRIPTS / "lifecycle.py", way, types)


@pytest.mark.parametrize("client", OPENAI)
def test_azures_client_fine_tunes_and_asks_a_deployment(run: Run, client: str) -> None:
    assert "ft:gpt-4o-mini:team-a:" in run(client, SCRIPTS / "azure_lifecycle.py")


def test_dspy_trains_a_model_by_its_own_provider(run: Run) -> None:
    assert "ft:gpt-4o-mini:team-a:" in run("dspy", SCRIPTS / "dspy_finetune.py")


def test_llama_index_trains_a_model_by_its_own_engine(run: Run) -> None:
    assert "ft:gpt-4o-mini:team-a:" in run("llama-index", SCRIPTS / "llama_index_finetune.py", ROWS)


@pytest.mark.parametrize("client", OPENAI)
@pytest.mark.parametrize("script", ["openai/recipes.py", "openai/lesson.py", "azure/stapler.py"])
def test_an_example_runs_as_it_is(run: Run, script: str, client: str) -> None:
    printed = run(client, EXAMPLES / script, MODEL="gpt-4o-mini", POLL_SECONDS="0.05")
    assert "The job has successfully completed" in printed
