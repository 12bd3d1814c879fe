"""Programs that others wrote for OpenAI's API, unmodified, each in an environment with its own versions."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dev import clients
from dev.paths import REPOSITORY
from kubetune_gateway.platform import Base
from kubetune_gateway.webhooks.message import body, headers
from tests.support import openai_gateway, openai_life, s3_server
from tests.support.model_server import model_server
from tests.support.openai_gateway import PLACES, Gateway
from tests.support.recording import rank0, recording

pytestmark = [s3_server.needed, pytest.mark.slow]

SCRIPTS = Path(__file__).parent / "clients"
EXAMPLES = REPOSITORY / "examples"
ROWS = EXAMPLES / "openai" / "couplets.jsonl"
OPENAI = ["openai-1", "openai"]
"""The last of 1.x, and the newest: that of .venv."""

Run = Callable[..., str]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One with all around it but Kubernetes and GPUs: what happens to jobs is made up."""
    with (
        s3_server.running(tmp_path_factory.mktemp("s3"), PLACES.bucket) as s3,
        model_server() as server,
        openai_gateway.running(s3, {"large": Base(uri="hf://acme/large", url=server.url)}) as found,
        rank0() as training,
        recording(s3, found.jobs, address=training.url),
    ):
        for step in range(1, openai_life.STEPS + 1):
            training.add(step, train_loss=2.5 / step, train_mean_token_accuracy=0.5, valid_loss=2.6 / step)

        def is_recorded(raw: Mapping[str, Any]) -> bool:
            steps = PLACES.job_steps(raw["metadata"]["namespace"], raw["metadata"]["uid"])
            return (s3.folder / PLACES.bucket / steps).is_dir()

        with openai_life.lived(found.jobs, server=server.url, is_recorded=is_recorded):
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


@pytest.mark.parametrize("client", OPENAI)
def test_a_webhook_is_believed(run: Run, client: str, tmp_path: Path) -> None:
    secret = "whsec_" + base64.b64encode(b"k" * 24).decode()
    told = body("evt_1", "fine_tuning.job.succeeded", job="ftjob-1", created_at=1)
    sent = headers("evt_1", told, [secret], now=int(time.time()))
    message = {"payload": told.decode(), "headers": sent, "secret": secret}
    (tmp_path / "webhook.json").write_text(json.dumps(message))
    assert run(client, SCRIPTS / "webhook.py", "webhook.json") == "fine_tuning.job.succeeded ftjob-1\n"


def test_dspy_trains_a_model_by_its_own_provider(run: Run) -> None:
    assert "ft:gpt-4o-mini:team-a:" in run("dspy", SCRIPTS / "dspy_finetune.py")


def test_llama_index_trains_a_model_by_its_own_engine(run: Run) -> None:
    assert "ft:gpt-4o-mini:team-a:" in run("llama-index", SCRIPTS / "llama_index_finetune.py", ROWS)


@pytest.mark.parametrize("client", OPENAI)
@pytest.mark.parametrize("script", ["openai/recipes.py", "openai/lesson.py", "azure/stapler.py"])
def test_an_example_runs_as_it_is(run: Run, script: str, client: str) -> None:
    printed = run(client, EXAMPLES / script, MODEL="gpt-4o-mini", POLL_SECONDS="0.05")
    assert "The job has successfully completed" in printed


@pytest.mark.parametrize("client", OPENAI)
def test_a_small_model_learns_a_large_ones_answers(run: Run, client: str) -> None:
    printed = run(
        client, EXAMPLES / "openai/distill.py", LARGE="large", MODEL="gpt-4o-mini", POLL_SECONDS="0.05"
    )
    assert "48 answers are stored" in printed
    assert "Model: ft:gpt-4o-mini:team-a:distilled:" in printed
