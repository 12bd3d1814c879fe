"""The CRD on a real API server: every rule, every update, what is stored, and what kubectl shows."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from kubetune.api.v1alpha1 import validate_spec
from kubetune.vocabulary.errors import SpecError
from tests.crd.cases import CASES, Case, changed
from tests.crd.conftest import CRD, JOBS, REPOSITORY, ApiServer
from tests.crd.generated import Change, jobs
from tests.crd.offline import admit, stored
from tests.crd.statuses import FULL_STATUS

pytestmark = pytest.mark.apiserver

EXAMPLES = sorted((REPOSITORY / "examples").rglob("*.yaml"))
NAMESPACES = ("demo", "kubetune-demo")  # of the examples that name one


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_rules(api_server: ApiServer, case: Case) -> None:
    refusal = api_server.refusal(case.new, case.old)
    if case.refused is None:
        assert refusal is None
    else:
        assert refusal is not None
        assert case.refused in refusal


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(changes=jobs())
def test_the_server_and_pydantic_agree(api_server: ApiServer, changes: list[Change]) -> None:
    job = changed({})
    for change in changes:
        change(job)
    refusal = api_server.refusal(job)
    assert (refusal is None) == (not admit(job)), refusal
    assert refused_by_pydantic(job) == (refusal is not None), refusal


def test_defaults_are_stored(api_server: ApiServer) -> None:
    created = api_server.create(changed({"storage": {}, "serving": {}}))
    api_server.delete(created)
    assert created["spec"] == stored(changed({"storage": {}, "serving": {}}))["spec"]
    assert "learningRate" not in created["spec"]["training"]
    assert created["spec"]["storage"] == {"whenDeleted": "Retain"}
    assert created["spec"]["serving"] == {}


def test_a_client_that_does_not_ask_for_strictness_gets_a_warning(api_server: ApiServer) -> None:
    job = changed({"training.batchSizee": 8})
    response = api_server.http.post(JOBS, json=job, params={"dryRun": "All"})
    assert response.is_success
    assert "batchSizee" in response.headers["warning"]


def test_nothing_is_stored_that_is_nested_too_deep_for_python(api_server: ApiServer) -> None:
    """One such object would end every watch in a RecursionError, in all namespaces."""
    nest = '{"a":' * 2000 + "1" + "}" * 2000
    text = json.dumps(changed({"training.podTemplate": {"affinity": "NEST"}})).replace('"NEST"', nest)
    response = api_server.http.post(JOBS, content=text, headers={"content-type": "application/json"})
    assert response.is_success, response.text
    created = response.json()
    api_server.delete(created)
    assert created["spec"]["training"]["podTemplate"] == {"affinity": {}}


def test_every_field_of_the_status_survives(api_server: ApiServer) -> None:
    created = api_server.create(changed({}))
    status = FULL_STATUS.manifest()
    written = api_server.write_status(created, status)
    api_server.delete(created)
    assert written["status"] == status
    assert written["metadata"]["generation"] == 1


def test_columns(api_server: ApiServer) -> None:
    created = api_server.create(changed({}))
    api_server.write_status(created, FULL_STATUS.manifest())
    narrow = api_server.kubectl("get", "ftj")
    wide = api_server.kubectl("get", "kubetune", "-o", "wide")
    api_server.delete(created)
    columns = ["NAME", "READY", "STAGE", "REASON", "PROGRESS", "LOSS", "ATTEMPT", "CHECKPOINT", "AGE"]
    assert narrow.split("\n")[0].split() == columns
    assert wide.split("\n")[0].split() == [*columns, "VALIDATION", "VERDICT", "MODEL", "URL"]
    progress = FULL_STATUS.progress
    assert progress is not None
    assert wide.split("\n")[1].split()[1:7] == [
        *["False", "train", "Training", progress.summary, progress.loss, "2"]
    ]
    assert wide.split("\n")[1].split()[-2:] == ["hf://org/base", "http://intents.default.svc/v1"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.usefixtures("namespaces")
def test_examples(api_server: ApiServer, path: Path) -> None:
    named = [document for document in yaml.safe_load_all(path.read_text()) if document]
    assert len(strictly(api_server, path).splitlines()) == len(named)


def test_the_examples_of_the_readme(api_server: ApiServer, tmp_path: Path) -> None:
    first, larger = re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "README.md").read_text(), flags=re.DOTALL)
    minimal = (REPOSITORY / "examples" / "minimal.yaml").read_text()
    assert yaml.safe_load(first) == yaml.safe_load(minimal)
    assert max(len(example.splitlines()) for example in (first, larger)) <= 20
    path = tmp_path / "job.yaml"
    path.write_text(larger)
    assert strictly(api_server, path) == "finetunejob.kubetune.dev/banking-intents-1\n"


@pytest.fixture(scope="module")
def namespaces(api_server: ApiServer) -> None:
    for name in NAMESPACES:
        api_server.kubectl("create", "namespace", name)


def strictly(api_server: ApiServer, path: Path) -> str:
    """Validate a file's objects as a server does that is asked to be strict; returns their names."""
    return api_server.kubectl(
        "apply", "--dry-run=server", "--validate=strict", "--server-side", "-o", "name", "-f", str(path)
    )


def test_plain_kubectl_apply_takes_the_crd(api_server: ApiServer) -> None:
    """Client-side apply keeps what it applied in an annotation, which has a limit."""
    api_server.kubectl("apply", "--server-side=false", "-f", str(CRD))
    live = json.loads(api_server.kubectl("get", "-o", "json", "-f", str(CRD)))
    kept = live["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
    assert json.loads(kept)["spec"] == yaml.safe_load(CRD.read_text())["spec"]


def test_every_field_is_explained(api_server: ApiServer) -> None:
    deadline = time.monotonic() + 60  # the schema is published a moment after the API is served
    while not (response := api_server.http.get("/openapi/v3/apis/kubetune.dev/v1alpha1")).is_success:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    job = response.json()["components"]["schemas"]["dev.kubetune.v1alpha1.FineTuneJob"]
    assert [path for path, field in fields(job, "") if not field.get("description")] == []
    text = api_server.kubectl("explain", "finetunejob.spec.training.gpusPerNode")
    assert "0 trains on CPU" in text
    assert "podTemplate" in api_server.kubectl("explain", "ftj.spec", "--recursive")
    text = api_server.kubectl("explain", "ftj.spec.training.podTemplate.tolerations.operator")
    assert "Equal compares the value, Exists only the key." in text


def refused_by_pydantic(job: dict[str, Any]) -> bool:
    try:
        validate_spec(job)
    except SpecError:
        return True
    return False


def fields(schema: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, field in schema.get("properties", {}).items():
        if name != "metadata":
            yield f"{path}.{name}", field
            yield from fields(field.get("items", field), f"{path}.{name}")
