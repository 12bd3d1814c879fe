"""From rows to answers of the tuned model, by programs that know OpenAI and Azure, on the real cluster.

The programs are examples/openai/lesson.py, with the newest client, and examples/azure/stapler.py, with one of
version 1. They run at once; what they have trained serves the other tests.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
from openai.types import FileObject

from dev import clients
from dev.deploy import NAMESPACE
from dev.paths import REPOSITORY
from tests.cluster.conftest import Cluster, tiny_job, until
from tests.cluster.gateway import NAME, SELECTOR, client_at, token_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]

EXAMPLES = REPOSITORY / "examples"
MODEL = "gpt-4o-mini-2024-07-18"
ROW = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
DEADLINE_SECONDS = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The gateway, by its Service and by each of its replicas."""

    url: str
    replicas: tuple[str, ...]
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a program has printed."""

    text: str

    def one(self, pattern: str) -> str:
        """What a pattern's group has found."""
        found = re.search(pattern, self.text)
        assert found, self.text
        return found[1]

    @property
    def model(self) -> str:
        return self.one(r"New fine-tuned model created: (ft:\S+)")

    @property
    def job(self) -> str:
        return self.one(r"Job: (ftjob-\w+)")


@pytest.fixture(scope="module")
def gateway(cluster: Cluster, namespace: str) -> Iterator[Gateway]:
    pods = cluster.kubectl.get("pods", "-n", NAMESPACE, "-l", SELECTOR)["items"]
    names = [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    with ExitStack() as stack:
        ports = [
            stack.enter_context(cluster.kubectl.port_forward(NAMESPACE, target, port))
            for target, port in ((f"service/{NAME}", 80), *((f"pod/{name}", 8080) for name in names))
        ]
        service, *replicas = [f"http://127.0.0.1:{port}" for port in ports]
        yield Gateway(url=service, replicas=tuple(replicas), key=token_of(cluster, namespace))


@pytest.fixture(scope="module")
def told(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """What both programs have told, by their names."""
    common = {"NO_PROXY": "*", "POLL_SECONDS": "2", "PYTHONUNBUFFERED": "1"}
    programs = {
        "lesson": (
            [sys.executable, EXAMPLES / "openai" / "lesson.py"],
            {"OPENAI_BASE_URL": f"{gateway.url}/v1", "OPENAI_API_KEY": gateway.key},
        ),
        "stapler": (
            [clients.python("openai-1"), EXAMPLES / "azure" / "stapler.py"],
            {"AZURE_OPENAI_ENDPOINT": gateway.url, "AZURE_OPENAI_API_KEY": gateway.key},
        ),
    }
    folder = tmp_path_factory.mktemp("programs")
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, (command, environment) in programs.items():
            with (folder / name).open("wb") as out:
                running[name] = subprocess.Popen(
                    command, env=os.environ | common | environment, stdout=out, stderr=subprocess.STDOUT
                )
        codes = {name: program.wait(DEADLINE_SECONDS) for name, program in running.items()}
    finally:
        for program in running.values():
            program.kill()
            program.wait()
    found = {name: Told(text=(folder / name).read_text()) for name in programs}
    assert set(codes.values()) == {0}, "\n\n".join(each.text for each in found.values())
    return found


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with client_at(gateway.url, gateway.key) as made:
        yield made


def test_the_lessons_program_trains_a_model_and_asks_it(told: dict[str, Told]) -> None:
    text = told["lesson"].text
    assert re.search(r"Step \d+/\d+: training loss=\d", text)
    assert "The job has successfully completed" in text
    asked = told["lesson"].model
    assert text.index(f"\n{MODEL}:\n") < text.index(f"\n{asked}:\n")
    assert text.rpartition(f"\n{asked}:\n")[2].strip()


def test_azures_tutorial_shows_checkpoints_and_results(told: dict[str, Told]) -> None:
    text, model = told["stapler"].text, told["stapler"].model
    assert f": {model}\n" in text
    assert len(re.findall(r"Step \d+: \S+:ckpt-step-\d+\n", text)) == 2
    assert "step,train_loss" in text


def test_kubectl_sees_the_jobs_and_the_api_says_the_same(
    cluster: Cluster, namespace: str, client: openai.OpenAI, told: dict[str, Told]
) -> None:
    job = client.fine_tuning.jobs.retrieve(told["lesson"].job)
    [raw] = [
        raw
        for raw in cluster.kubectl.get("finetunejobs", "-n", namespace)["items"]
        if raw["metadata"]["annotations"].get("openai.kubetune.dev/training-file") == job.training_file
    ]
    assert job.trained_tokens == raw["status"]["progress"]["trainedTokens"]
    assert job.hyperparameters.n_epochs == raw["spec"]["training"]["epochs"]
    steps = [
        event.data["step"]
        for event in client.fine_tuning.jobs.list_events(job.id, limit=100)
        if event.type == "metrics" and isinstance(event.data, dict)
    ]
    assert steps == sorted(range(1, raw["status"]["plan"]["totalSteps"] + 1), reverse=True)


def test_the_last_weights_and_the_earlier_ones_answer(client: openai.OpenAI, told: dict[str, Told]) -> None:
    kept = [
        each.fine_tuned_model_checkpoint
        for each in client.fine_tuning.jobs.checkpoints.list(told["lesson"].job)
    ]
    assert kept[0] == told["lesson"].model
    assert len(kept) == 3
    listed = {model.id for model in client.models.list()}
    assert {MODEL, *kept} <= listed
    question: Any = [{"role": "user", "content": "Does Venus have a moon?"}]
    for model in kept:
        answer = client.chat.completions.create(model=model, messages=question, max_tokens=8)
        assert answer.model == model
        assert answer.choices[0].message.content
    pieces = client.chat.completions.create(model=kept[0], messages=question, max_tokens=8, stream=True)
    assert {piece.model for piece in pieces} == {kept[0]}


def test_answers_that_were_stored_become_rows(client: openai.OpenAI, told: dict[str, Told]) -> None:
    question: Any = [{"role": "user", "content": "Does Venus have a moon?"}]
    task = uuid.uuid4().hex  # the bucket has those of earlier runs
    asked = client.chat.completions.create(
        model=told["lesson"].model, messages=question, store=True, metadata={"task": task}, max_tokens=200
    )
    [stored] = client.chat.completions.list(metadata={"task": task})
    assert stored.id == asked.id
    if asked.choices[0].finish_reason == "stop":  # a row has a whole answer
        body = {"metadata": {"task": task}}
        file = client.post("/chat/datasets", body=body, cast_to=FileObject)
        assert b"Venus" in client.files.content(file.id).read()


def test_replicas_know_of_each_others_jobs_and_of_those_of_kubectl(
    cluster: Cluster, gateway: Gateway, namespace: str, tiny_uri: str
) -> None:
    with ExitStack() as stack:
        one, other = [stack.enter_context(client_at(url, gateway.key)) for url in gateway.replicas[:2]]
        file = one.files.create(file=("rows.jsonl", ROW * 12), purpose="fine-tune")
        job = one.fine_tuning.jobs.create(model=MODEL, training_file=file.id, metadata={"made": "here"})
        assert other.fine_tuning.jobs.retrieve(job.id).metadata == {"made": "here"}
        until(
            lambda: job.id in [each.id for each in other.fine_tuning.jobs.list()],
            "the job in the other's list",
        )
        cancelled = other.fine_tuning.jobs.cancel(job.id)
        assert cancelled.status == "cancelled"
        assert one.fine_tuning.jobs.retrieve(job.id).status == "cancelled"
        until(lambda: not named(cluster, namespace, file.id), "the FineTuneJob to go")
        assert job.id in [each.id for each in one.fine_tuning.jobs.list()]
        told = [event.message for event in one.fine_tuning.jobs.list_events(job.id)]
        assert f"Created fine-tuning job: {job.id}" in told

        cluster.kubectl.apply(tiny_job(namespace, "by-kubectl", tiny_uri, maxSteps=1))
        until(
            lambda: tiny_uri in [each.model for each in other.fine_tuning.jobs.list()],
            "kubectl's job in the list",
        )
        cluster.kubectl("delete", "finetunejob", "by-kubectl", "-n", namespace, "--wait=false")


def test_rows_that_cannot_be_trained_on_end_the_job_with_their_lines(
    cluster: Cluster, namespace: str, client: openai.OpenAI
) -> None:
    bad = client.files.create(file=("rows.jsonl", ROW * 12 + b'{"messages": 1}\n'), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model=MODEL, training_file=bad.id)
    until(lambda: client.fine_tuning.jobs.retrieve(job.id).status == "failed", "the job's failure")
    failed = client.fine_tuning.jobs.retrieve(job.id)
    assert failed.error is not None
    assert (failed.error.code, failed.error.param) == ("invalid_training_file", "training_file")
    assert "13" in (failed.error.message or "")


def test_a_model_is_deleted_once_it_is_not_deployed(
    gateway: Gateway, client: openai.OpenAI, told: dict[str, Told]
) -> None:
    model = told["stapler"].model
    with pytest.raises(openai.BadRequestError) as refused:
        client.models.delete(model)
    assert refused.value.code == "model_deployed"
    url = f"{gateway.url}/openai/deployments"
    with httpx.Client(headers={"api-key": gateway.key}, trust_env=False) as azure:
        deployed = azure.get(url).raise_for_status().json()["data"]
        [mine] = [each["id"] for each in deployed if each["model"] == model]
        azure.delete(f"{url}/{mine}").raise_for_status()
    until(lambda: delete(client, model), "the model to be deleted")
    assert client.fine_tuning.jobs.retrieve(told["stapler"].job).fine_tuned_model == model


def test_a_replica_that_is_killed_in_a_stream_costs_one_retry(
    cluster: Cluster, gateway: Gateway, told: dict[str, Told]
) -> None:
    kubectl = cluster.kubectl
    pods = kubectl.get("pods", "-n", NAMESPACE, "-l", SELECTOR)["items"]
    victim = next(pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"])
    question: Any = [{"role": "user", "content": "Count to a thousand."}]

    def ask(client: openai.OpenAI) -> Any:
        return client.chat.completions.create(
            model=told["lesson"].model,
            messages=question,
            max_tokens=800,
            stream=True,
            extra_body={"ignore_eos": True},
        )

    with (
        kubectl.port_forward(NAMESPACE, f"pod/{victim}", 8080) as port,
        client_at(f"http://127.0.0.1:{port}", gateway.key) as client,
    ):
        pieces = iter(ask(client))
        next(pieces)
        kubectl("delete", "pod", victim, "-n", NAMESPACE, "--grace-period=0", "--force", "--wait=false")
        with pytest.raises((openai.APIError, httpx.TransportError)):
            for _ in pieces:
                pass
    with (
        kubectl.port_forward(NAMESPACE, f"service/{NAME}", 80) as port,
        client_at(f"http://127.0.0.1:{port}", gateway.key) as client,
    ):
        assert next(iter(ask(client))).model == told["lesson"].model


def delete(client: openai.OpenAI, model: str) -> bool:
    """Delete a model, if nobody serves it any more."""
    try:
        return client.models.delete(model).deleted
    except openai.BadRequestError:
        return False


def named(cluster: Cluster, namespace: str, file: str) -> list[str]:
    """FineTuneJobs of a file."""
    return [
        raw["metadata"]["name"]
        for raw in cluster.kubectl.get("finetunejobs", "-n", namespace)["items"]
        if raw["metadata"].get("annotations", {}).get("openai.kubetune.dev/training-file") == file
    ]
