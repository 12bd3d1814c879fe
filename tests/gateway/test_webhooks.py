"""Webhooks: as OpenAI's client checks them, delivered at least once however often a receiver fails."""

from __future__ import annotations

import base64
import json
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetune_gateway.telemetry import Telemetry
from kubetune_gateway.webhooks.deliveries import OWED_FOR, Pauses
from kubetune_gateway.webhooks.endpoint import ALL, FAILED, SUCCEEDED, Endpoint, checked
from kubetune_gateway.webhooks.message import body, headers
from tests.support import http_server, s3_server
from tests.support.openai_gateway import PLACES, MemoryJobs
from tests.support.recording import Life, kept, recording, until
from tests.support.s3_server import S3Server

SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()
OTHER = "whsec_" + base64.b64encode(b"o" * 24).decode()
ENDED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
"""Of the golden jobs."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server.running(tmp_path_factory.mktemp("s3"), PLACES.bucket) as found:
        yield found


@pytest.fixture
def s3(server: S3Server) -> S3Server:
    """With nothing that another test has left to be told."""
    for folder in (server.folder / PLACES.bucket).iterdir():
        shutil.rmtree(folder)
    return server


@dataclass(frozen=True, slots=True)
class Got:
    path: str
    headers: Mapping[str, str]
    body: bytes


CLIENT = openai.OpenAI(api_key="none")


def unwrap(got: Got, secret: str = SECRET) -> Any:
    """What OpenAI's client makes of it. Raises where the signature is wrong."""
    return CLIENT.webhooks.unwrap(got.body, got.headers, secret=secret)


@dataclass(slots=True)
class Receiver:
    url: str = ""
    got: list[Got] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    """Statuses of the next answers; then 200."""


@contextmanager
def receiving(*answers: int) -> Iterator[Receiver]:
    receiver = Receiver(answers=list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            sent = {name.lower(): value for name, value in self.headers.items()}
            receiver.got.append(Got(self.path, sent, content))
            status = receiver.answers.pop(0) if receiver.answers else 200
            if not status:  # it goes away without an answer
                self.close_connection = True
                return
            self.send_response(status)
            if status == 302:
                self.send_header("Location", f"{receiver.url}/elsewhere")
            self.send_header("Content-Length", str(2**40))  # nobody may wait for that
            self.end_headers()
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http_server.serving(Handler) as url:
        receiver.url = url
        yield receiver


def to(receiver: Receiver, **fields: Any) -> Endpoint:
    return Endpoint(**{"namespace": "team-a", "url": f"{receiver.url}/hook", "secrets": (SECRET,)} | fields)


def soon() -> datetime:
    return ENDED + timedelta(minutes=1)


def outcomes(telemetry: Telemetry) -> dict[str, float]:
    [metric] = telemetry.webhooks.collect()
    counts = {one.labels["outcome"]: one.value for one in metric.samples if one.name.endswith("_total")}
    return {outcome: count for outcome, count in counts.items() if count}


@given(st.text(max_size=40), st.integers(0, 2**31))
def test_the_client_takes_what_is_signed_by_either_secret(job: str, created_at: int) -> None:
    payload = body("evt_1", SUCCEEDED, job=job, created_at=created_at)
    now = int(datetime.now(UTC).timestamp())
    for secrets in ((SECRET,), (OTHER, SECRET), ("letters", SECRET)):
        event = unwrap(Got("/", headers("evt_1", payload, secrets, now=now), payload))
        assert (event.id, event.type, event.object) == ("evt_1", SUCCEEDED, "event")
        assert (event.data.id, event.created_at) == (job, created_at)
    letters = headers("evt_1", payload, ("letters",), now=now)
    assert unwrap(Got("/", letters, payload), secret="letters").id == "evt_1"
    for wrong in (
        Got("/", headers("evt_1", payload, (OTHER,), now=now), payload),
        Got("/", headers("evt_1", payload, (SECRET,), now=now - 1000), payload),
        Got("/", headers("evt_1", payload, (SECRET,), now=now), payload + b" "),
    ):
        with pytest.raises(openai.InvalidWebhookSignatureError):
            unwrap(wrong)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"url": "http://hooks.example"}, "use https"),
        ({"url": "hooks.example"}, "no URL"),
        ({"url": "ftp://hooks.example"}, "no URL"),
        ({"url": "https:///hook"}, "no URL"),
        ({"secrets": ()}, "no secret"),
        ({"secrets": ("whsec_%",)}, "base64"),
        ({"secrets": ("",)}, "empty"),
    ],
)
def test_where_no_webhook_can_go_is_said_at_once(fields: dict[str, Any], said: str) -> None:
    good = Endpoint(namespace="team-a", url="https://hooks.example/a", secrets=(SECRET,))
    assert checked(good) is good
    assert SECRET not in repr(good)
    with pytest.raises(ValueError, match=said):
        checked(to(Receiver(), **{"url": "https://hooks.example/a"} | fields))


def test_http_is_for_those_who_allow_it() -> None:
    plain = Endpoint(namespace="team-a", url="http://hooks.example", secrets=(SECRET,))
    assert checked(plain, allow_http=True) is plain


def test_pauses_grow_from_seconds_to_an_hour_within_a_day() -> None:
    age, pauses = 0.0, []
    while age < OWED_FOR:
        pauses.append(Pauses().after(age))
        age += pauses[-1]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1], len(pauses) < 40) == (5, 3600, True)


@pytest.mark.slow
@s3_server.needed
@pytest.mark.parametrize(
    ("name", "type_"), [("serving", SUCCEEDED), ("data-invalid", FAILED), ("gate-failed", FAILED)]
)
def test_the_end_of_a_job_is_told_until_it_is_taken_and_then_never_again(
    s3: S3Server, name: str, type_: str
) -> None:
    jobs, telemetry = MemoryJobs(), Telemetry()
    with receiving(500, 0, 302, 410) as receiver:
        with recording(s3, jobs, endpoints=[to(receiver)], telemetry=telemetry, now=soon):
            job = Life(jobs, name)
            until(lambda: marked(s3, job))
        assert outcomes(telemetry) == {"failed": 4, "delivered": 1}
        assert [got.path for got in receiver.got] == ["/hook"] * 5
        assert len({(got.headers["webhook-id"], got.body) for got in receiver.got}) == 1
        sent = {"type": type_, "created_at": int(ENDED.timestamp()), "data": {"id": job.id}}
        assert sent.items() <= json.loads(receiver.got[0].body).items()
        with recording(s3, jobs, endpoints=[to(receiver)], now=soon):
            job.goes()
            until(lambda: kept(s3, job)["deleted_at"])
            other = Life(jobs, name)
            until(lambda: marked(s3, other))
        with recording(s3, jobs, endpoints=[to(receiver)], now=soon):
            last = Life(jobs, name)
            until(lambda: marked(s3, last))
        told = [json.loads(got.body)["data"]["id"] for got in receiver.got[5:]]
        assert told == [other.id, last.id]


@s3_server.needed
def test_what_is_sent_now_passes_the_clients_check(s3: S3Server) -> None:
    jobs = MemoryJobs()
    with receiving() as receiver, recording(s3, jobs, endpoints=[to(receiver)]):
        job = Life(jobs, "training")
        kept(s3, job)
        job.goes()
        until(lambda: receiver.got)
        event = unwrap(receiver.got[0])
        assert (event.type, event.data.id) == ("fine_tuning.job.cancelled", job.id)
        assert event.id == receiver.got[0].headers["webhook-id"]


@s3_server.needed
def test_who_is_told_is_who_asked(s3: S3Server) -> None:
    jobs = MemoryJobs()
    with receiving() as receiver:
        endpoints = [
            to(receiver, url=f"{receiver.url}/of-another", namespace="team-b"),
            to(receiver, url=f"{receiver.url}/failures", events=frozenset({FAILED})),
            to(receiver, url=f"{receiver.url}/all", events=ALL),
        ]
        with recording(s3, jobs, endpoints=endpoints, now=soon):
            Life(jobs, "serving")
            Life(jobs, "data-invalid")
            until(lambda: len(receiver.got) == 3)
        assert sorted(got.path for got in receiver.got) == ["/all", "/all", "/failures"]


@s3_server.needed
def test_what_is_owed_survives_the_one_who_owes_it_also_when_the_job_is_gone(s3: S3Server) -> None:
    jobs = MemoryJobs()
    with receiving(*[500] * 1000) as receiver:
        with recording(s3, jobs, endpoints=[to(receiver)], now=soon):
            job = Life(jobs, "serving")
            until(lambda: receiver.got)
            job.goes()
            until(lambda: kept(s3, job)["deleted_at"])
        receiver.answers.clear()
        with recording(s3, jobs, endpoints=[to(receiver)], now=soon):
            until(lambda: marked(s3, job))
        assert len({got.headers["webhook-id"] for got in receiver.got}) == 1


@pytest.mark.slow
@s3_server.needed
def test_after_a_day_it_is_given_up(s3: S3Server) -> None:
    jobs, telemetry = MemoryJobs(), Telemetry()
    clock = [ENDED + timedelta(hours=23)]
    with receiving(*[500] * 1000) as receiver:
        with recording(s3, jobs, endpoints=[to(receiver)], telemetry=telemetry, now=lambda: clock[0]):
            Life(jobs, "serving")
            until(lambda: len(receiver.got) > 1)
            clock[0] = ENDED + timedelta(hours=25)
            until(lambda: outcomes(telemetry).get("given_up"))
        told = len(receiver.got)
        receiver.answers.clear()
        with recording(s3, jobs, endpoints=[to(receiver)], now=lambda: clock[0]):
            running = Life(jobs, "training")
            kept(s3, running)
            running.goes()
            until(lambda: marked(s3, running))
        assert [json.loads(got.body)["data"]["id"] for got in receiver.got[told:]] == [running.id]


@s3_server.needed
def test_a_receiver_that_hangs_holds_up_no_other(s3: S3Server) -> None:
    jobs = MemoryJobs()
    with receiving() as receiver, hanging() as url:
        slow = Endpoint(namespace="team-a", url=url, secrets=(SECRET,))
        with recording(s3, jobs, endpoints=[slow, to(receiver)], now=soon):
            for _ in range(8):
                Life(jobs, "serving")
            until(lambda: len(receiver.got) == 8)


@contextmanager
def hanging() -> Iterator[str]:
    """A receiver that takes what comes, and says nothing."""
    end = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            end.wait(60)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http_server.serving(Handler) as url:
        try:
            yield url
        finally:
            end.set()


def marked(s3: S3Server, job: Life) -> list[str]:
    """What was taken of a job's webhooks."""
    folder = s3.folder / PLACES.bucket / PLACES.job_webhooks("team-a", job.uid)
    return [path.name for path in folder.iterdir()] if folder.exists() else []
