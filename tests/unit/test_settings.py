"""A setting that is wrong stops the operator at its start, with the variable and the place in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kubetune.children.prepare import build_prepare
from kubetune.cli.operator import explain
from kubetune.process.settings import load
from kubetune.spec.resolve import resolve
from tests.support.golden import load as load_case

GOOD = {"KUBETUNE_TRAINER_IMAGE": "trainer:1", "KUBETUNE_SERVING_IMAGE": "vllm:1"}


def complaint(**variables: str) -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - two kinds; the text is what matters
        load(GOOD | variables)
    return explain(error.value)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        (
            {"tolerations": [{"key": "a"}, {"key": "a b"}]},
            "KUBETUNE_POD_TEMPLATE, tolerations[1].key: String should match pattern",
        ),
        ({"hostNetwork": True}, "KUBETUNE_POD_TEMPLATE, hostNetwork: Extra inputs are not permitted"),
        ({"env": [{"name": "RANK"}]}, "KUBETUNE_POD_TEMPLATE, env[0].name: is reserved for KubeTune"),
        (
            {"volumeMounts": [{"name": "a", "mountPath": "/a"}]},
            'KUBETUNE_POD_TEMPLATE, volumeMounts: "a" is no volume of volumes; add the volume',
        ),
    ],
)
def test_a_wrong_pod_template_is_named_with_its_field(template: Any, says: str) -> None:
    text = complaint(KUBETUNE_POD_TEMPLATE=json.dumps(template))
    assert text.startswith("The settings are wrong:\n  " + says)


def test_what_is_no_json_is_named() -> None:
    text = complaint(KUBETUNE_POD_TEMPLATE="tolerations: []")
    assert text.startswith("The settings cannot be read: KUBETUNE_POD_TEMPLATE is no JSON: Expecting value")


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "HTTPS_PROXY", "HF_ENDPOINT"])
@pytest.mark.parametrize(
    "url", ["http://user:pass-word@host:3128", "user:pass-word@host", "http://token@host/"]
)
def test_a_password_that_every_namespace_could_read_is_refused_and_not_repeated(
    variable: str, url: str
) -> None:
    text = complaint(**{f"KUBETUNE_{variable}": url})
    wrong = f"KUBETUNE_{variable}: has a user or password, which every namespace with jobs could read"
    assert text.startswith(f"The settings are wrong:\n  {wrong}")
    assert ("settings.proxySecretName" in text) == (variable != "HF_ENDPOINT")
    assert "pass-word" not in text
    assert "token" not in text


def test_prepare_takes_the_urls_of_proxies_from_a_secret_and_no_object_has_them() -> None:
    job = load_case("minimal-first-visit").job
    settings = load(GOOD | {"KUBETUNE_PROXY_SECRET_NAME": "proxy", "KUBETUNE_NO_PROXY": ".svc"}).for_job
    manifest = build_prepare(job, resolve(job, settings), settings, number=1)
    [container] = manifest["spec"]["template"]["spec"]["containers"]
    http = {"secretKeyRef": {"name": "proxy", "key": "http_proxy", "optional": True}}
    https = {"secretKeyRef": {"name": "proxy", "key": "https_proxy"}}
    assert {
        v["name"]: v.get("valueFrom", v.get("value"))
        for v in container["env"]
        if "proxy" in v["name"].lower()
    } == {
        "HTTP_PROXY": http,
        "http_proxy": http,
        "HTTPS_PROXY": https,
        "https_proxy": https,
        "NO_PROXY": ".svc",
        "no_proxy": ".svc",
    }


def test_a_secret_of_proxies_and_their_urls_are_not_given_both() -> None:
    text = complaint(KUBETUNE_PROXY_SECRET_NAME="proxy", KUBETUNE_HTTPS_PROXY="http://proxy:3128")
    assert text.startswith(
        "The settings are wrong:\n  KUBETUNE_PROXY_SECRET_NAME: brings the proxies' URLs: remove"
    )


def test_all_wrong_variables_are_named_at_once() -> None:
    text = complaint(KUBETUNE_WORKERS="0", KUBETUNE_IMAGE_PULL_SECRETS='[1, "a"]')
    assert [line.split(":")[0].strip() for line in text.splitlines()[1:]] == [
        "KUBETUNE_IMAGE_PULL_SECRETS[0]",
        "KUBETUNE_WORKERS",
    ]
