"""What is kept while jobs train, end and go: whole, whoever is killed in between."""

from __future__ import annotations

import asyncio
import csv
import io
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import openai
import pytest

from kubetune_gateway.ids import job_id, results_id
from kubetune_gateway.recorder.lead import lead
from kubetune_gateway.recorder.recorder import Periodic, Recorder
from kubetune_gateway.telemetry import Telemetry
from tests.support import openai_gateway, s3_server
from tests.support.golden_jobs import golden
from tests.support.memory_kube import MemoryKube
from tests.support.openai_gateway import Gateway
from tests.support.recording import Life, Told, kept, rank0, recording, until
from tests.support.s3_server import S3Server

pytestmark = [s3_server.needed, pytest.mark.slow]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server.running(tmp_path_factory.mktemp("s3"), "clients") as found:
        yield found


@pytest.fixture(scope="module")
def gateway(s3: S3Server) -> Iterator[Gateway]:
    with openai_gateway.running(s3) as found:
        yield found


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=gateway.url, api_key="token-of-team-a", max_retries=0, _strict_response_validation=True
    ) as made:
        yield made


@pytest.fixture
def life(gateway: Gateway) -> Callable[[str], Life]:
    return lambda name: Life(gateway.jobs, name)


def steps_of(client: openai.OpenAI, id_: str) -> list[int]:
    return [
        event.data["step"]  # type: ignore[index]
        for event in reversed(list(client.fine_tuning.jobs.list_events(id_, limit=100)))
        if event.type == "metrics"
    ]


def results_of(client: openai.OpenAI, id_: str) -> list[dict[str, str]]:
    [file] = client.fine_tuning.jobs.retrieve(id_).result_files
    return list(csv.DictReader(io.StringIO(client.files.content(file).text)))


def measure(told: Told, steps: range, loss: float = 1.0) -> None:
    for step in steps:
        told.add(step, train_loss=loss, train_mean_token_accuracy=0.5)


def test_a_job_is_told_whole_after_it_was_deleted(
    s3: S3Server, gateway: Gateway, client: openai.OpenAI, life: Callable[[str], Life]
) -> None:
    with rank0() as told, recording(s3, gateway.jobs, address=told.url):
        job = life("training")
        measure(told, range(1, 31))
        until(lambda: steps_of(client, job.id) == list(range(1, 31)))
        measure(told, range(31, 76))
        told.add(75, full_valid_loss=0.75, full_valid_mean_token_accuracy=0.875)
        until(lambda: steps_of(client, job.id) == list(range(1, 76)))
        kept = {"step": 50, "modelName": "x:ckpt-step-50"}
        job.becomes("serving", artifact={"uri": "pvc://a/b", "checkpoints": [kept]})
        until(lambda: client.fine_tuning.jobs.retrieve(job.id).result_files)
    before = (
        client.fine_tuning.jobs.retrieve(job.id),
        list(client.fine_tuning.jobs.list_events(job.id, limit=100)),
        list(client.fine_tuning.jobs.checkpoints.list(job.id, limit=1)),
        results_of(client, job.id),
    )
    job.goes()
    with recording(s3, gateway.jobs):
        until(lambda: job.id in [one.id for one in client.fine_tuning.jobs.list(limit=100)])
    found, events, checkpoints, results = before
    assert client.fine_tuning.jobs.retrieve(job.id) == found
    assert list(client.fine_tuning.jobs.list_events(job.id, limit=7)) == events
    assert list(client.fine_tuning.jobs.checkpoints.list(job.id)) == checkpoints
    assert found.status == "succeeded"
    assert found.fine_tuned_model is not None
    assert [event.message for event in events[:4]] == [
        f"Completed results file: {results_id(job.uid)}",
        "The job has successfully completed",
        f"New fine-tuned model created: {found.fine_tuned_model}",
        f"Checkpoint created at step 50 with Snapshot ID: {found.fine_tuned_model}:ckpt-step-50",
    ]
    assert [(one.step_number, one.fine_tuned_model_checkpoint) for one in checkpoints] == [
        (75, found.fine_tuned_model),
        (50, f"{found.fine_tuned_model}:ckpt-step-50"),
    ]
    assert [one.created_at for one in checkpoints] == [1772366075, 1772366050]
    assert checkpoints[0].metrics.model_dump(exclude_none=True) == {
        "step": 75,
        "train_loss": 1.0,
        "train_mean_token_accuracy": 0.5,
        "full_valid_loss": 0.75,
        "full_valid_mean_token_accuracy": 0.875,
    }
    assert [int(row["step"]) for row in results] == list(range(1, 76))
    assert (results[74]["full_valid_loss"], results[73]["full_valid_loss"]) == ("0.75", "")
    [file] = [one for one in client.files.list(purpose="fine-tune-results") if one.id in found.result_files]
    assert (file.filename, file.created_at) == ("step_metrics.csv", found.finished_at)
    assert client.files.retrieve(file.id) == file


def test_steps_of_a_long_answer_are_read_to_the_end_and_asked_for_once(
    s3: S3Server, gateway: Gateway, client: openai.OpenAI, life: Callable[[str], Life]
) -> None:
    with rank0() as told:
        job = life("training")
        job.becomes("training", plan={"totalSteps": 2600})
        measure(told, range(1, 2501))
        with recording(s3, gateway.jobs, address=told.url):
            until(lambda: told.asked[-2:] == [2499, 2499])
            assert told.asked[:3] == [0, 999, 1998]
            told.add(2501, train_loss=2.0)
            told.add(2500, valid_loss=0.25)
            until(lambda: told.asked[-1] == 2500)
        found = [one.data for one in client.fine_tuning.jobs.list_events(job.id, limit=1000).data[:2]]
        assert [(one["step"], one.get("valid_loss")) for one in found] == [(2501, None), (2500, 0.25)]  # type: ignore[index,attr-defined]
        # a few objects have them all, and another recorder asks for nothing that is kept
        folder = s3.folder / "clients" / "team-a" / "job-data" / job.uid / "steps"
        chunks = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert len(chunks) < 10
        with recording(s3, gateway.jobs, address=told.url):
            until(lambda: told.asked[-2:] == [2500, 2500])
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == chunks
    job.goes()


def test_another_attempt_overwrites_what_it_repeats(
    s3: S3Server, gateway: Gateway, client: openai.OpenAI, life: Callable[[str], Life]
) -> None:
    job = life("training")
    with rank0() as told, recording(s3, gateway.jobs, address=told.url):
        measure(told, range(1, 41), loss=1.0)
        until(lambda: steps_of(client, job.id) == list(range(1, 41)))
        for step in range(26, 41):
            del told.steps[step]
        first, again = golden("training")["status"]["attempts"][0], {"number": 2, "podsReady": True}
        job.becomes("training", attempts=[first | {"completionTime": "2026-03-01T12:00:00Z"}, again])
        for step in range(26, 31):
            told.steps[step] = {"step": step, "time": 1772369000.0 + step, "train_loss": 9.0}

        def losses() -> dict[int, float]:
            found = client.fine_tuning.jobs.list_events(job.id, limit=1000).data
            return {one.data["step"]: one.data["train_loss"] for one in found if one.type == "metrics"}  # type: ignore[index,misc]

        until(lambda: losses() == {n: 9.0 if 26 <= n <= 30 else 1.0 for n in range(1, 41)})
    job.goes()


def test_what_is_no_step_of_the_plan_is_not_kept(
    s3: S3Server, gateway: Gateway, client: openai.OpenAI, life: Callable[[str], Life]
) -> None:
    job = life("training")
    with rank0() as told, recording(s3, gateway.jobs, address=told.url):
        measure(told, range(76, 90))
        told.add(0, valid_loss=2.0)
        told.add(7, train_loss=2.0)
        until(lambda: steps_of(client, job.id) == [7])
    job.goes()


def test_a_cancelled_job_is_cancelled_at_once_and_stays_so(
    s3: S3Server, gateway: Gateway, client: openai.OpenAI, life: Callable[[str], Life]
) -> None:
    with rank0() as told, recording(s3, gateway.jobs, address=told.url):
        job = life("training")
        measure(told, range(1, 31))
        until(lambda: steps_of(client, job.id) == list(range(1, 31)))
        cancelled = client.fine_tuning.jobs.cancel(job.id)
        assert (cancelled.status, cancelled.error, cancelled.trained_tokens) == ("cancelled", None, 43200)
        assert cancelled.finished_at is not None
        until(lambda: not job.is_there)
        until(lambda: client.fine_tuning.jobs.retrieve(job.id).result_files)
        again = client.fine_tuning.jobs.cancel(job.id)
        assert again == client.fine_tuning.jobs.retrieve(job.id)
        assert again.finished_at == cancelled.finished_at
        assert len(results_of(client, job.id)) == 30
        newest = client.fine_tuning.jobs.list_events(job.id, limit=2).data
        assert newest[1].message == "Fine-tuning job cancelled"
        assert client.fine_tuning.jobs.checkpoints.list(job.id).data == []


def test_a_job_that_nobody_recorded_is_cancelled_too(
    s3: S3Server, gateway: Gateway, client: openai.OpenAI, life: Callable[[str], Life]
) -> None:
    job = life("training")
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    assert not job.is_there
    before = client.fine_tuning.jobs.retrieve(job.id)
    assert before.status == "cancelled"
    with recording(s3, gateway.jobs):
        assert kept(s3, job)["deleted_at"]
    assert client.fine_tuning.jobs.retrieve(job.id) == before


@pytest.mark.parametrize(("name", "status"), [("serving", "succeeded"), ("data-invalid", "failed")])
def test_a_job_that_has_ended_cannot_be_cancelled(
    gateway: Gateway, client: openai.OpenAI, life: Callable[[str], Life], name: str, status: str
) -> None:
    job = life(name)
    with pytest.raises(openai.BadRequestError) as refused:
        client.fine_tuning.jobs.cancel(job.id)
    assert (refused.value.code, refused.value.param) == ("job_has_ended", "id")
    assert client.fine_tuning.jobs.retrieve(job.id).status == status
    assert job.is_there
    job.goes()


@pytest.mark.parametrize("by", ["the recorder", "another try"])
def test_a_deletion_that_was_interrupted_is_finished(
    s3: S3Server, gateway: Gateway, client: openai.OpenAI, life: Callable[[str], Life], by: str
) -> None:
    job = life("training")
    with ExitStack() as stack:
        if by == "the recorder":
            stack.enter_context(recording(s3, gateway.jobs))
        gateway.jobs.is_away = True
        try:
            with pytest.raises(openai.InternalServerError) as refused:
                client.fine_tuning.jobs.cancel(job.id)
        finally:
            gateway.jobs.is_away = False
        assert refused.value.status_code == 503
        assert client.fine_tuning.jobs.retrieve(job.id).status == "cancelled"
        if by == "another try":
            assert job.is_there
            assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
        until(lambda: not job.is_there)


def test_jobs_that_went_while_nobody_looked_are_told_of(
    s3: S3Server, gateway: Gateway, client: openai.OpenAI, life: Callable[[str], Life]
) -> None:
    with recording(s3, gateway.jobs):
        running, served, failed = life("training"), life("serving"), life("data-invalid")
        for job in (running, served, failed):
            kept(s3, job)
    for job in (running, served, failed):
        job.goes()
    with recording(s3, gateway.jobs):
        until(lambda: client.fine_tuning.jobs.retrieve(running.id).status == "cancelled")
    told = [client.fine_tuning.jobs.retrieve(job.id) for job in (running, served, failed)]
    assert [job.status for job in told] == ["cancelled", "succeeded", "failed"]
    assert all(job.finished_at for job in told)
    ids = [job.id for job in client.fine_tuning.jobs.list(limit=2)]
    assert {running.id, served.id, failed.id} <= set(ids)
    assert len(ids) == len(set(ids))


def test_a_server_that_is_away_a_while_takes_back_no_success(
    s3: S3Server, gateway: Gateway, client: openai.OpenAI, life: Callable[[str], Life]
) -> None:
    with recording(s3, gateway.jobs):
        job = life("serving")
        kept(s3, job)
        job.becomes("deploying")
        until(lambda: client.fine_tuning.jobs.retrieve(job.id).status == "running")
        job.goes()
        until(lambda: kept(s3, job)["deleted_at"])
    assert client.fine_tuning.jobs.retrieve(job.id).status == "succeeded"


def test_a_job_that_was_healed_is_told_as_it_ended(
    s3: S3Server, gateway: Gateway, client: openai.OpenAI, life: Callable[[str], Life]
) -> None:
    with recording(s3, gateway.jobs):
        job = life("data-invalid")
        kept(s3, job)
        job.becomes("training")
        until(lambda: client.fine_tuning.jobs.retrieve(job.id).status == "running")
        job.becomes("serving")
        until(lambda: {"failed", "succeeded"} == kept(s3, job)["ended_at"].keys())
        job.becomes("training")
        job.goes()
        until(lambda: kept(s3, job)["deleted_at"])
    assert client.fine_tuning.jobs.retrieve(job.id).status == "succeeded"


def test_two_recorders_at_once_and_one_after_the_other_write_the_same(
    s3: S3Server, gateway: Gateway, client: openai.OpenAI, life: Callable[[str], Life]
) -> None:
    job = life("training")
    with rank0() as told, ExitStack() as first, ExitStack() as second:
        first.enter_context(recording(s3, gateway.jobs, address=told.url))
        second.enter_context(recording(s3, gateway.jobs, address=told.url))
        for begin in range(1, 75, 5):
            measure(told, range(begin, begin + 5))
            until(lambda begin=begin: steps_of(client, job.id) == list(range(1, begin + 5)))
            if begin == 31:
                first.close()  # as if it was killed
                first.enter_context(recording(s3, gateway.jobs, address=told.url))
        measure(told, range(1, 76))
        until(lambda: steps_of(client, job.id) == list(range(1, 76)))
        job.becomes("serving")
        until(lambda: client.fine_tuning.jobs.retrieve(job.id).result_files)
    before = results_of(client, job.id), client.fine_tuning.jobs.retrieve(job.id)
    assert [int(row["step"]) for row in before[0]] == list(range(1, 76))
    with recording(s3, gateway.jobs):
        job.goes()
        until(lambda: kept(s3, job)["deleted_at"])
    assert (results_of(client, job.id), client.fine_tuning.jobs.retrieve(job.id)) == before


def test_a_result_file_that_a_client_has_deleted_stays_deleted(
    s3: S3Server, gateway: Gateway, client: openai.OpenAI, life: Callable[[str], Life]
) -> None:
    job = life("training")
    with rank0() as told, recording(s3, gateway.jobs, address=told.url):
        measure(told, range(1, 6))
        until(lambda: steps_of(client, job.id) == [1, 2, 3, 4, 5])
        job.becomes("serving")
        [file] = until(lambda: client.fine_tuning.jobs.retrieve(job.id).result_files)
        client.files.delete(file)
    with recording(s3, gateway.jobs):
        job.goes()
        until(lambda: kept(s3, job)["deleted_at"])
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file)


def test_a_job_cannot_be_paused_and_says_so(
    gateway: Gateway, client: openai.OpenAI, life: Callable[[str], Life]
) -> None:
    job = life("training")
    for ask in (client.fine_tuning.jobs.pause, client.fine_tuning.jobs.resume):
        with pytest.raises(openai.BadRequestError) as refused:
            ask(job.id)
        assert (refused.value.code, refused.value.param) == ("not_supported", "id")
        with pytest.raises(openai.NotFoundError):
            ask(job_id(str(uuid.uuid4())))
    job.goes()


def test_nobody_cancels_what_is_anothers_or_without_the_right(
    gateway: Gateway, client: openai.OpenAI, life: Callable[[str], Life]
) -> None:
    job = life("training")
    with (
        openai.OpenAI(base_url=gateway.url, api_key="token-of-team-b", max_retries=0) as other,
        pytest.raises(openai.NotFoundError),
    ):
        other.fine_tuning.jobs.cancel(job.id)
    gateway.rights.denied |= {("team-a", "delete", "finetunejobs"), ("team-a", "update", "finetunejobs")}
    try:
        for ask in (
            client.fine_tuning.jobs.cancel,
            client.fine_tuning.jobs.pause,
            client.fine_tuning.jobs.resume,
        ):
            with pytest.raises(openai.PermissionDeniedError):
                ask(job.id)
    finally:
        gateway.rights.denied.clear()
    assert client.fine_tuning.jobs.retrieve(job.id).status == "running"
    job.goes()


def test_pages_of_events_stay_as_they_were_while_more_happens(
    s3: S3Server, gateway: Gateway, client: openai.OpenAI, life: Callable[[str], Life]
) -> None:
    job = life("training")
    with rank0() as told, recording(s3, gateway.jobs, address=told.url):
        measure(told, range(1, 21))
        until(lambda: len(steps_of(client, job.id)) == 20)
        everything = list(client.fine_tuning.jobs.list_events(job.id, limit=100))
        page = client.fine_tuning.jobs.list_events(job.id, limit=5)
        seen = list(page.data)
        for step in range(21, 26):
            told.add(step, train_loss=1.0)
        until(lambda: len(steps_of(client, job.id)) == 25)
        while page.has_next_page():
            page = page.get_next_page()
            seen += page.data
        assert seen == everything
    job.goes()


def test_what_else_is_to_be_done_is_done_again_and_again(s3: S3Server, gateway: Gateway) -> None:
    done: list[str] = []

    async def fails() -> None:
        done.append("fails")
        raise RuntimeError("broken")

    async def works() -> None:
        done.append("works")

    tasks = [Periodic(name="a", seconds=0.02, do=fails), Periodic(name="b", seconds=0.02, do=works)]
    with recording(s3, gateway.jobs, periodic=tasks):
        until(lambda: min(done.count("fails"), done.count("works")) >= 3)


def test_what_was_read_while_s3_was_away_is_kept_when_it_is_back(
    s3: S3Server, gateway: Gateway, client: openai.OpenAI, life: Callable[[str], Life]
) -> None:
    job = life("training")
    bucket, away = s3.folder / "clients", s3.folder / "away"
    with rank0() as told, recording(s3, gateway.jobs, address=told.url):
        measure(told, range(1, 6))
        until(lambda: steps_of(client, job.id) == [1, 2, 3, 4, 5])
        bucket.rename(away)
        try:
            measure(told, range(6, 9))
            asked = len(told.asked)
            until(lambda: len(told.asked) > asked + 1)
            with pytest.raises(openai.InternalServerError) as refused:
                client.fine_tuning.jobs.list_events(job.id)
            assert refused.value.status_code == 503
            told.steps.clear()
        finally:
            away.rename(bucket)
        until(lambda: steps_of(client, job.id) == list(range(1, 9)))
        job.goes()
        until(lambda: kept(s3, job)["results"])
    assert len(results_of(client, job.id)) == 8


async def test_one_replica_of_two_leads_and_the_other_when_that_is_gone() -> None:
    class Idle(Recorder):
        def __init__(self) -> None:
            pass

        async def run(self, term: object = None) -> None:
            await asyncio.Event().wait()

    kube, telemetries = MemoryKube(), [Telemetry(), Telemetry()]
    replicas = [
        asyncio.create_task(lead(Idle(), kube, telemetry, namespace="kubetune", name="gateway"))
        for telemetry in telemetries
    ]

    async def leads(expected: list[float]) -> None:
        await asyncio.to_thread(until, lambda: [_leading(one) for one in telemetries] == expected)

    await leads([1, 0])
    replicas[0].cancel()
    await leads([0, 1])
    replicas[1].cancel()
    await asyncio.gather(*replicas, return_exceptions=True)


def _leading(telemetry: Telemetry) -> float:
    return telemetry.registry.get_sample_value("kubetune_gateway_leading") or 0.0
