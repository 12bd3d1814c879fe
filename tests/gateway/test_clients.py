"""OpenAI's own client, unmodified, on the gateway: files and jobs."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import openai
import pytest
import yaml

from dev.paths import REPOSITORY
from tests.support import openai_gateway, s3_server
from tests.support.openai_gateway import Gateway

pytestmark = s3_server.needed

ROWS = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' * 12


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with (
        s3_server.running(tmp_path_factory.mktemp("s3"), "clients") as s3,
        openai_gateway.running(s3) as found,
    ):
        yield found


Client = Callable[..., openai.OpenAI]


@pytest.fixture
def client(gateway: Gateway) -> Iterator[Client]:
    with ExitStack() as stack:

        def make(team: str = "team-a", *, strict: bool = False) -> openai.OpenAI:
            made = openai.OpenAI(
                base_url=gateway.url,
                api_key=f"token-of-{team}",
                max_retries=0,
                _strict_response_validation=strict,
            )
            stack.callback(made.close)
            return made

        yield make


def test_a_program_uploads_rows_and_makes_a_job_of_them(gateway: Gateway, client: Client) -> None:
    strict = client(strict=True)
    file = strict.files.create(file=("rows.jsonl", ROWS), purpose="fine-tune")
    assert (file.filename, file.bytes, file.status) == ("rows.jsonl", len(ROWS), "processed")
    assert strict.files.wait_for_processing(file.id).id == file.id
    assert strict.files.content(file.id).read() == ROWS
    job = strict.fine_tuning.jobs.create(
        model="gpt-4o-mini", training_file=file.id, suffix="triage", seed=105, metadata={"team": "search"}
    )
    assert (job.status, job.model, job.seed) == ("validating_files", "gpt-4o-mini", 105)
    assert (job.hyperparameters.n_epochs, job.hyperparameters.batch_size) == (8, 1)
    assert strict.fine_tuning.jobs.retrieve(job.id) == job
    told = [event.message for event in strict.fine_tuning.jobs.list_events(job.id, limit=1)]
    assert told == [f"Validating training file: {file.id}", f"Created fine-tuning job: {job.id}"]
    [raw] = [raw for raw in gateway.jobs.objects if raw["metadata"]["name"].startswith("ft-triage-")]
    assert raw["spec"]["dataset"] == {"train": {"uri": f"s3://clients/team-a/files/{file.id}/content.jsonl"}}


def test_bytes_without_a_name_are_a_file_too(client: Client) -> None:
    one = client()
    file = one.files.create(file=io.BytesIO(ROWS), purpose="fine-tune")
    assert file.filename == "upload"
    assert one.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        one.files.retrieve(file.id)


def test_lists_are_paged_and_filtered_by_the_client_itself(client: Client) -> None:
    one = client()
    file = one.files.create(file=ROWS, purpose="fine-tune")
    made = [
        one.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=file.id, metadata={"n": str(n)}).id
        for n in range(3)
    ]
    listed = [job.id for job in one.fine_tuning.jobs.list(limit=1)]
    assert set(made) <= set(listed)
    assert len(listed) == len(set(listed))
    found = one.fine_tuning.jobs.list(metadata={"n": "1"})
    assert [job.id for job in found if job.training_file == file.id] == [made[1]]
    assert file.id in [kept.id for kept in one.files.list(limit=1)]


def test_a_job_that_kubectl_made_is_in_the_list(gateway: Gateway, client: Client) -> None:
    raw = yaml.safe_load((REPOSITORY / "examples" / "minimal.yaml").read_text())
    raw["metadata"] |= {
        "namespace": "team-a",
        "uid": "71b186a7-8c2c-4540-92f4-f2ab565299ef",
        "creationTimestamp": "2026-11-30T18:47:12Z",
    }
    gateway.jobs.objects.append(raw)
    [found] = [
        job
        for job in client(strict=True).fine_tuning.jobs.list(limit=100)
        if job.training_file == "configMap://rows/train.jsonl"
    ]
    assert (found.model, found.hyperparameters.n_epochs) == ("hf://HuggingFaceTB/SmolLM2-135M-Instruct", 1)


def test_nobody_sees_what_is_anothers(client: Client) -> None:
    mine, theirs = client(), client("team-b")
    file = mine.files.create(file=ROWS, purpose="fine-tune")
    job = mine.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=file.id)
    assert file.id not in [kept.id for kept in theirs.files.list()]
    for look in (
        lambda: theirs.files.content(file.id),
        lambda: theirs.fine_tuning.jobs.retrieve(job.id),
        lambda: theirs.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=file.id),
    ):
        with pytest.raises(openai.NotFoundError):
            look()
    with pytest.raises(openai.AuthenticationError):
        client("nobody").files.list()


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"model": "gpt-5"}, "model"),
        ({"hyperparameters": {"n_epochs": 51}}, "hyperparameters.n_epochs"),
        ({"suffix": "a:b"}, "suffix"),
        ({"method": {"type": "dpo"}}, "method.type"),
    ],
)
def test_a_wrong_field_is_named(client: Client, asked: Any, param: str) -> None:
    one = client()
    file = one.files.create(file=ROWS, purpose="fine-tune")
    with pytest.raises(openai.BadRequestError) as refused:
        one.fine_tuning.jobs.create(**{"model": "gpt-4o-mini", "training_file": file.id} | asked)
    assert refused.value.param == param


def test_a_wrong_purpose_is_refused(client: Client) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client().files.create(file=ROWS, purpose="assistants")
    assert (refused.value.code, refused.value.param) == ("invalid_purpose", "purpose")


def test_what_is_unknown_is_not_found_in_the_same_form(client: Client) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client().get("/assistants", cast_to=object)
    assert refused.value.code == "unknown_url"
