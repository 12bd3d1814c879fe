"""A setting that is wrong stops the operator at its start, with the variable and the place in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kubetune.cli.operator import explain
from kubetune.process.settings import load

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


def test_all_wrong_variables_are_named_at_once() -> None:
    text = complaint(KUBETUNE_WORKERS="0", KUBETUNE_IMAGE_PULL_SECRETS='[1, "a"]')
    assert [line.split(":")[0].strip() for line in text.splitlines()[1:]] == [
        "KUBETUNE_IMAGE_PULL_SECRETS[0]",
        "KUBETUNE_WORKERS",
    ]
