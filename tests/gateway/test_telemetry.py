"""What is counted of requests: by template and code, with clients and stores that go away in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from kubetune_gateway.telemetry import Telemetry
from tests.support import openai_gateway, s3_server
from tests.support.openai_gateway import Gateway

pytestmark = [s3_server.needed, pytest.mark.slow]

ROWS = b'{"messages": []}\n' * 12
LARGE = ROWS * 200_000
"""Far more than all buffers on the way hold."""
HEADERS = {"Authorization": "Bearer token-of-team-a"}
DEADLINE_SECONDS = 30
FIRST = {("GET", "unknown", "200"): 1}
"""What has been asked to know that it is there: how it describes itself."""


@pytest.fixture
def s3_runs(tmp_path: Any) -> Iterator[ExitStack]:
    """What ends the S3 endpoint when it is closed."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def gateway(tmp_path: Any, s3_runs: ExitStack) -> Iterator[Gateway]:
    s3 = s3_runs.enter_context(s3_server.running(tmp_path, "clients"))
    with openai_gateway.running(s3) as found:
        until(lambda: counted(found) == FIRST)
        yield found


@pytest.fixture
def client(gateway: Gateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, headers=HEADERS, trust_env=False, timeout=60) as made:
        yield made


def counted(gateway: Gateway) -> dict[tuple[str, str, str], float]:
    """Requests by method, route and code."""
    return {
        (labels["method"], labels["route"], labels["code"]): value
        for labels, value in samples(gateway, "kubetune_gateway_requests_total")
    }


def samples(gateway: Gateway, name: str) -> list[tuple[dict[str, str], float]]:
    return [
        (dict(sample.labels), sample.value)
        for family in gateway.telemetry.registry.collect()
        for sample in family.samples
        if sample.name == name
    ]


def until(reached: Callable[[], Any]) -> None:
    """Return when it is true: what is counted is counted after a client has its answer."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.02)


def stored(client: httpx.Client, data: bytes) -> str:
    answer = client.post("/files", files={"file": ("rows.jsonl", data)}, data={"purpose": "fine-tune"})
    return str(answer.raise_for_status().json()["id"])


def test_requests_are_counted_by_template_and_not_by_what_clients_write(
    gateway: Gateway, client: httpx.Client
) -> None:
    file = stored(client, ROWS)
    for path in (f"/files/{file}", f"/files/{file}", "/files/file-none", "/nothing/of/this", "/files/a/b/c"):
        client.get(path)
    client.get("/files", headers={"Authorization": "Bearer of-nobody"})
    client.put("/files")
    client.request("PROPFIND", "/nothing/of/this")
    expected = FIRST | {
        ("POST", "/files", "200"): 1,
        ("GET", "/files/{id_}", "200"): 2,
        ("GET", "/files/{id_}", "404"): 1,
        ("GET", "unknown", "404"): 2,
        ("GET", "/files", "401"): 1,
        ("PUT", "/files", "405"): 1,
        ("unknown", "unknown", "404"): 1,
    }
    until(lambda: sum(counted(gateway).values()) == sum(expected.values()))
    assert counted(gateway) == expected
    timed = {
        (labels["method"], labels["route"]): value
        for labels, value in samples(gateway, "kubetune_gateway_request_duration_seconds_count")
    }
    assert timed["GET", "/files/{id_}"] == 3
    assert samples(gateway, "kubetune_gateway_in_flight_requests") == [({}, 0)]


def test_a_client_that_goes_away_in_the_middle_is_499_and_is_under_way_until_then(
    gateway: Gateway, client: httpx.Client
) -> None:
    file = stored(client, LARGE)
    with client.stream("GET", f"/files/{file}/content") as answer:
        next(answer.iter_raw())
        assert samples(gateway, "kubetune_gateway_in_flight_requests") == [({}, 1)]
    client.close()
    until(lambda: counted(gateway).get(("GET", "/files/{id_}/content", "499")))
    until(lambda: samples(gateway, "kubetune_gateway_in_flight_requests") == [({}, 0)])
    assert ("GET", "/files/{id_}/content", "200") not in counted(gateway)


def test_a_store_that_goes_away_in_the_middle_is_a_failure_of_it(
    gateway: Gateway, client: httpx.Client, s3_runs: ExitStack
) -> None:
    file = stored(client, LARGE)
    with client.stream("GET", f"/files/{file}/content") as answer:
        pieces = answer.iter_raw()
        next(pieces)
        s3_runs.close()
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)
    until(lambda: counted(gateway).get(("GET", "/files/{id_}/content", "500")))
    assert client.get(f"/files/{file}").status_code == 503
    until(lambda: counted(gateway).get(("GET", "/files/{id_}", "503")))
    assert samples(gateway, "kubetune_gateway_dependency_failures_total") == [
        ({"dependency": "api_server"}, 0),
        ({"dependency": "s3"}, 2),
        ({"dependency": "server"}, 0),
    ]


def test_a_loop_that_is_blocked_is_told_of() -> None:
    telemetry = Telemetry()

    async def blocked() -> None:
        asyncio.get_running_loop().call_later(0.01, time.sleep, 0.1)
        # Time enough for one look, and for no second one.
        await asyncio.wait_for(telemetry.watch_loop(every=0.05), 0.12)

    with pytest.raises(TimeoutError):
        asyncio.run(blocked())
    [lag] = [sample.value for family in telemetry.loop_lag.collect() for sample in family.samples]
    assert lag >= 0.04
