"""The gateway as a process: the settings and rights of the chart, a real API server, a real S3 endpoint."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml

from dev.chart import CHART
from dev.cluster.binaries import ensure_binaries
from dev.cluster.control_plane import ControlPlane
from dev.kubectl import Kubectl
from tests.support import chart, s3_server
from tests.support.gateway_command import GatewayProcess, gateway_process
from tests.support.operator_process import health
from tests.support.s3_server import KEY, REGION, SECRET, S3Server

pytestmark = [pytest.mark.apiserver, s3_server.needed]

TEAM = "team-a"
BUCKET = "clients"
ROWS = b'{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}\n' * 12
DEADLINE_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What the gateway runs in."""

    plane: ControlPlane
    kubectl: Kubectl
    s3: S3Server
    values: dict[str, Any]

    def environment(self, **gateway: Any) -> dict[str, str]:
        """Variables of the gateway's container, by the chart."""
        objects = chart.render({"gateway": {**self.values, **gateway}})
        data: dict[str, str] = chart.find(objects, "ConfigMap", "kubetune-gateway-settings")["data"]
        return data | {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": REGION}

    def kubeconfig(self, path: Path, **cluster: Any) -> Path:
        """That of the gateway's account, perhaps with another server."""
        config = yaml.safe_load(self.plane.kubeconfig.read_text())
        token = self.kubectl("create", "token", "kubetune-gateway", "-n", chart.NAMESPACE).strip()
        config["users"][0]["user"] = {"token": token}
        config["clusters"][0]["cluster"] |= cluster
        path.write_text(json.dumps(config))
        return path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    programs = ensure_binaries()
    with (
        ControlPlane.temporary() as plane,
        s3_server.running(tmp_path_factory.mktemp("s3"), BUCKET) as s3,
    ):
        kubectl = Kubectl(
            program=programs.program("kubectl"), helm=programs.program("helm"), kubeconfig=plane.kubeconfig
        )
        values = {
            "enabled": True,
            "models": {"gpt-4o-mini": "hf://Qwen/Qwen3-8B"},
            "storage": {"bucket": BUCKET, "endpoint": s3.url},
        }
        file = tmp_path_factory.mktemp("values") / "values.json"
        file.write_text(json.dumps({"gateway": values}))
        kubectl.run_helm(
            *("install", chart.RELEASE, CHART, "--namespace", chart.NAMESPACE, "--create-namespace"),
            *("--values", file),
        )
        kubectl("create", "namespace", TEAM)
        kubectl("create", "serviceaccount", "client", "-n", TEAM)
        kubectl(
            *("create", "rolebinding", "client", "-n", TEAM, "--clusterrole=edit"),
            f"--serviceaccount={TEAM}:client",
        )
        until(lambda: has_rights(kubectl))
        yield World(plane=plane, kubectl=kubectl, s3=s3, values=values)


def has_rights(kubectl: Kubectl) -> bool:
    """Whether the role `edit` has got what the chart adds to it."""
    role = kubectl.get("clusterrole", "edit")
    return any("finetunejobs/files" in rule.get("resources", ()) for rule in role["rules"] or ())


@pytest.fixture
def gateway(world: World, tmp_path: Path) -> Iterator[GatewayProcess]:
    kubeconfig = world.kubeconfig(tmp_path / "kubeconfig")
    with gateway_process(kubeconfig, world.environment(), log=tmp_path / "log") as running:
        until(running.ready)
        yield running


def token(world: World) -> str:
    return world.kubectl("create", "token", "client", "-n", TEAM).strip()


@contextmanager
def client_of(world: World, url: str) -> Iterator[openai.OpenAI]:
    with (
        httpx.Client(trust_env=False) as http,
        openai.OpenAI(base_url=url, api_key=token(world), http_client=http, max_retries=0) as client,
    ):
        yield client


def refused_of(world: World) -> list[str]:
    """What the gateway's account was not allowed to do."""
    account = f"system:serviceaccount:{chart.NAMESPACE}:kubetune-gateway"
    entries = list(map(json.loads, world.plane.audit_log.read_text().splitlines()))
    own = [entry for entry in entries if entry["user"]["username"] == account]
    assert {entry["verb"] for entry in own} >= {"list", "create"}
    return [entry["requestURI"] for entry in own if entry["responseStatus"]["code"] == 403]


def until(look: Callable[[], Any]) -> Any:
    end = time.monotonic() + DEADLINE_SECONDS
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


def test_a_client_fine_tunes_by_the_rights_that_the_chart_gives(
    world: World, gateway: GatewayProcess
) -> None:
    with client_of(world, gateway.url) as client:
        file = client.files.create(file=("rows.jsonl", ROWS), purpose="fine-tune")
        job = client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=file.id, suffix="intents")
        assert [each.id for each in client.fine_tuning.jobs.list()] == [job.id]
        [made] = world.kubectl.get("finetunejobs", "-n", TEAM)["items"]
        assert (
            made["spec"]["dataset"]["train"]["uri"] == f"s3://{BUCKET}/{TEAM}/files/{file.id}/content.jsonl"
        )
        assert made["spec"]["training"]["gpusPerNode"] == 1
        world.kubectl("delete", "finetunejobs", "--all", "-n", TEAM)
        until(lambda: [each.status for each in client.fine_tuning.jobs.list()] == ["cancelled"])
        assert client.fine_tuning.jobs.retrieve(job.id).training_file == file.id
    until(lambda: "kubetune_gateway_leading 1.0" in health(f"{gateway.health_url}/metrics")[1])
    assert refused_of(world) == []
    logged = [line for line in map(json.loads, gateway.log.read_text().splitlines()) if "user" in line]
    assert {(line["user"], line["namespace"]) for line in logged} == {
        (f"system:serviceaccount:{TEAM}:client", TEAM)
    }


def test_nobody_is_refused_in_openais_envelope_and_no_token_is_logged(
    gateway: GatewayProcess,
) -> None:
    answer = httpx.get(
        f"{gateway.url}/files?secret=in-query",
        headers={"Authorization": "Bearer secret-token"},
        trust_env=False,
    )
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    line = until(
        lambda: next((line for line in gateway.log.read_text().splitlines() if "/v1/files" in line), "")
    )
    told = json.loads(line)
    assert (told["method"], told["path"], told["status"]) == ("GET", "/v1/files", 401)
    assert "secret" not in gateway.log.read_text()


def test_metrics_of_the_gateway_and_of_the_process_are_told(gateway: GatewayProcess) -> None:
    status, text = health(f"{gateway.health_url}/metrics")
    assert status == 200
    for name in (
        "kubetune_gateway_in_flight_requests",
        "kubetune_gateway_process_resident_memory_bytes",
        "python_gc_objects",
    ):
        assert f"# HELP {name}" in text
    # Nothing is done at once: where that is 0 for ever, nobody measures it.
    never = "kubetune_gateway_event_loop_lag_seconds 0.0\n"
    until(lambda: never not in health(f"{gateway.health_url}/metrics")[1])
    assert health(f"{gateway.url.removesuffix('/v1')}/metrics")[0] == 404


def test_while_s3_is_away_it_stays_ready_and_says_to_come_again(world: World, tmp_path: Path) -> None:
    nobody = {**world.values["storage"], "endpoint": "http://127.0.0.1:9"}
    kubeconfig = world.kubeconfig(tmp_path / "kubeconfig")
    environment = world.environment(storage=nobody)
    with gateway_process(kubeconfig, environment, log=tmp_path / "log") as gateway:
        until(gateway.ready)
        with client_of(world, gateway.url) as client:
            with pytest.raises(openai.InternalServerError) as away:
                client.files.list()
            assert away.value.status_code == 503
            assert int(away.value.response.headers["Retry-After"]) > 0
            assert [model.id for model in client.models.list()] == ["gpt-4o-mini"]
        assert gateway.ready()


def test_while_the_api_server_is_away_it_lives_and_is_not_ready(world: World, tmp_path: Path) -> None:
    kubeconfig = world.kubeconfig(tmp_path / "kubeconfig", server="https://127.0.0.1:9")
    with gateway_process(kubeconfig, world.environment(), log=tmp_path / "log") as gateway:
        until(lambda: health(f"{gateway.health_url}/healthz") == (200, "ok"))
        assert not gateway.ready()
        answer = httpx.get(f"{gateway.url}/files", headers={"api-key": "some.token"}, trust_env=False)
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
        assert gateway.process.poll() is None


def test_told_to_end_it_takes_no_more_and_finishes_what_it_has_begun(
    world: World, gateway: GatewayProcess
) -> None:
    key = token(world)
    sent, may_go_on = threading.Event(), threading.Event()

    def body() -> Iterator[bytes]:
        yield (
            b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="rows.jsonl"\r\n\r\n'
        )
        sent.set()
        assert may_go_on.wait(DEADLINE_SECONDS)
        yield ROWS + b"\r\n--x--\r\n"

    answers: list[httpx.Response] = []

    def upload() -> None:
        answers.append(
            httpx.post(
                f"{gateway.url}/files",
                content=body(),
                headers={
                    "Authorization": f"Bearer {key}",
                    "Content-Type": "multipart/form-data; boundary=x",
                },
                timeout=DEADLINE_SECONDS,
                trust_env=False,
            )
        )

    thread = threading.Thread(target=upload)
    thread.start()
    assert sent.wait(DEADLINE_SECONDS)
    gateway.process.send_signal(signal.SIGTERM)
    until(lambda: health(f"{gateway.health_url}/readyz") == (503, "it ends"))
    until(lambda: is_refused(gateway.url))
    may_go_on.set()
    thread.join()
    assert answers[0].status_code == 200, answers[0].text
    assert gateway.process.wait(DEADLINE_SECONDS) == 0


def is_refused(url: str) -> bool:
    try:
        httpx.get(f"{url}/files", trust_env=False)
    except httpx.ConnectError:
        return True
    return False


def test_wrong_settings_are_named_all_at_once(tmp_path: Path, world: World) -> None:
    environment = world.environment() | {
        "KUBETUNE_GATEWAY_SPEC": '{"training": {"gpuPerNode": 1}}',
        "KUBETUNE_GATEWAY_LOG_LEVEL": "LOUD",
        "KUBETUNE_GATEWAY_DRAIN_SECONDS": "-1",
        "KUBETUNE_GATEWAY_LIMITS": '{"burst": 0}',
    }
    with gateway_process(world.plane.kubeconfig, environment, log=tmp_path / "log") as gateway:
        assert gateway.process.wait(DEADLINE_SECONDS) == 2
    said = (tmp_path / "log").read_text()
    assert "KUBETUNE_GATEWAY_DRAIN_SECONDS: Input should be greater than or equal to 0" in said
    assert "KUBETUNE_GATEWAY_LIMITS: Value error, burst has to be more than 0" in said
    assert "KUBETUNE_GATEWAY_LOG_LEVEL: Input should be 'DEBUG', 'INFO' or 'WARNING'" in said
