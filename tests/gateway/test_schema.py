"""What the OpenAPI document allows or forbids is answered as it says, on a real port: never with a fault."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from kubetune_gateway.app import app
from tests.support import openai_gateway, s3_server
from tests.support.openai_gateway import Gateway

pytestmark = [s3_server.needed, pytest.mark.slow]

DOCUMENT = app(openai_gateway.means(None, None)).openapi()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with (
        s3_server.running(tmp_path_factory.mktemp("s3"), "clients") as s3,
        openai_gateway.running(s3) as found,
    ):
        yield found


@SCHEMA.parametrize()
@settings(max_examples=25, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_every_route_answers_as_the_document_says(case: Any, gateway: Gateway) -> None:
    case.call_and_validate(
        base_url=gateway.url.removesuffix("/v1"),
        headers={"Authorization": "Bearer token-of-team-a"},
        timeout=60,
    )


def test_the_document_tells_of_bodies_answers_and_errors() -> None:
    assert "422" not in str(DOCUMENT["paths"])
    assert "HTTPValidationError" not in DOCUMENT["components"]["schemas"]
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            assert {"200", "4XX", "5XX"} <= operation["responses"].keys(), path
            assert operation["responses"]["200"]["content"], path
            takes_a_body = method == "post" and not path.endswith(("/cancel", "/pause", "/resume"))
            assert ("requestBody" in operation) == takes_a_body, path
