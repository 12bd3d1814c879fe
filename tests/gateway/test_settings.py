"""Settings of the gateway: each wrong one is refused at its start, by the name of its variable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kubetune_gateway.limits.kinds import Limits
from kubetune_gateway.process.recording import endpoints_of
from kubetune_gateway.process.settings import PREFIX, explain, load

STORAGE = '{"bucket": "clients"}'


def said(**variables: str) -> str:
    given = {PREFIX + name: text for name, text in ({"STORAGE": STORAGE} | variables).items()}
    try:
        load(given)
    except ValueError as error:
        return explain(error)
    return ""


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"STORAGE": ""}, "KUBETUNE_GATEWAY_STORAGE: Field required"),
        ({"STORAGE": "clients"}, "KUBETUNE_GATEWAY_STORAGE is no JSON"),
        ({"STORAGE": '{"bucket": "s3://clients"}'}, "KUBETUNE_GATEWAY_STORAGE, bucket: String should match"),
        ({"STORAGE": '{"bucket": "clients", "key": "x"}'}, "KUBETUNE_GATEWAY_STORAGE, key: Extra inputs"),
        ({"MODELS": '{"a": {"url": "http://a/v1"}}'}, "KUBETUNE_GATEWAY_MODELS, a, uri: Field required"),
        (
            {"MODELS": '{"a": "Qwen/Qwen3-8B"}'},
            "KUBETUNE_GATEWAY_MODELS (a) and KUBETUNE_GATEWAY_SPEC make no",
        ),
        ({"SPEC": '{"training": {"gpusPerNode": 1, "gpus": 1}}'}, "training.gpus: is not a field of the API"),
        ({"LIMITS": '{"bursts": 1}'}, "KUBETUNE_GATEWAY_LIMITS: Value error, there is no limit bursts"),
        ({"LIMITS": '{"burst": "many"}'}, "KUBETUNE_GATEWAY_LIMITS, burst: Input should be a valid integer"),
        ({"WEBHOOKS": '[{"namespace": "a"}]'}, "KUBETUNE_GATEWAY_WEBHOOKS, 0, url: Field required"),
        (
            {"DRAIN_SECONDS": "-1"},
            "KUBETUNE_GATEWAY_DRAIN_SECONDS: Input should be greater than or equal to 0",
        ),
    ],
)
def test_a_wrong_setting_is_named(variables: dict[str, str], message: str) -> None:
    assert message in said(**variables)


def test_the_name_of_a_bucket_is_enough() -> None:
    assert said() == ""
    settings = load({f"{PREFIX}STORAGE": STORAGE, f"{PREFIX}LIMITS": '{"fileBytes": 5000000000}'})
    assert settings.limits == Limits(file_bytes=5_000_000_000)
    assert settings.platform.spec == {"training": {"gpusPerNode": 1}, "serving": {}}


def test_what_kubernetes_tells_of_a_service_is_no_setting() -> None:
    """A pod without enableServiceLinks: false beside a Service kubetune-gateway has these."""
    address = "tcp://10.96.1.207:80"
    assert said(PORT=address, PORT_80_TCP=address, SERVICE_HOST="10.96.1.207", SERVICE_PORT="80") == ""


def test_a_webhook_that_could_not_be_sent_is_named(tmp_path: Path) -> None:
    secret = tmp_path / "0"

    def told() -> str:
        webhook = {"namespace": "team-a", "url": "https://hooks.example.com", "secretFile": str(secret)}
        settings = load({f"{PREFIX}STORAGE": STORAGE, f"{PREFIX}WEBHOOKS": json.dumps([webhook])})
        try:
            [endpoint] = endpoints_of(settings)
        except ValueError as error:
            return explain(error)
        assert endpoint.secrets == ("whsec_c2VjcmV0", "whsec_b3RoZXI=")
        return ""

    assert "KUBETUNE_GATEWAY_WEBHOOKS, 0: [Errno 2] No such file" in told()
    secret.write_text("whsec_?")
    assert "KUBETUNE_GATEWAY_WEBHOOKS, 0: A secret of https://hooks.example.com is not base64" in told()
    secret.write_text("whsec_c2VjcmV0\nwhsec_b3RoZXI=\n")
    assert told() == ""
