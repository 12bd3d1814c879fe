"""What a person reads about a spec that the API server let through: field path, what is wrong, what to do."""

from __future__ import annotations

from typing import Any

import pytest

from kubetune.api.v1alpha1 import validate_spec
from kubetune.vocabulary.errors import SpecError
from tests.crd.cases import ABSENT, changed

MESSAGES: tuple[tuple[str, dict[str, Any], str], ...] = (
    (
        "a broken rule",
        {"training.gpusPerNode": 3},
        "spec.training.batchSize: must be divisible by nodes x gpusPerNode (1 process per node on CPU); "
        "choose a multiple",
    ),
    (
        "a rule in a list",
        {"training.podTemplate": {"env": [{"name": "A"}, {"name": "RANK"}]}},
        "spec.training.podTemplate.env[1].name: is reserved for KubeTune; choose another name",
    ),
    (
        "a missing field",
        {"model": ABSENT},
        "spec.model: is required; set it; see kubectl explain finetunejob.spec.model",
    ),
    (
        "an unknown field",
        {"training.batchSizee": 8},
        "spec.training.batchSizee: is not a field of the API; remove it or correct its name; "
        "see kubectl explain finetunejob.spec.training",
    ),
    (
        "a wrong type",
        {"training.epochs": "3"},
        'spec.training.epochs: should be a valid integer, not "3"; correct it; '
        "see kubectl explain finetunejob.spec.training.epochs",
    ),
    (
        "a number that is too large",
        {"training.epochs": 1001},
        "spec.training.epochs: should be less than or equal to 1000, not 1001; correct it; "
        "see kubectl explain finetunejob.spec.training.epochs",
    ),
    (
        "a float for a decimal",
        {"training.learningRate": 2e-4},
        'spec.training.learningRate: must be a decimal in quotes, such as "2e-4", not 0.0002; correct it; '
        "see kubectl explain finetunejob.spec.training.learningRate",
    ),
    (
        "two problems",
        {"training.epochs": 0, "training.seed": -1},
        "spec.training.epochs: should be greater than or equal to 1, not 0; correct it; "
        "see kubectl explain finetunejob.spec.training.epochs (and 1 more)",
    ),
    (
        "a name",
        {"metadata.name": "a-train"},
        "metadata.name: ends in -train and clashes with children of other jobs; choose another",
    ),
    (
        "a long value is cut",
        {"model.credentials": {"secretName": "X" * 90}},
        "spec.model.credentials.secretName: should match pattern '^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$', not \""
        + "X" * 76
        + "...; correct it; see kubectl explain finetunejob.spec.model.credentials.secretName",
    ),
)


@pytest.mark.parametrize(
    ("changes", "message"), [case[1:] for case in MESSAGES], ids=[case[0] for case in MESSAGES]
)
def test_message(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as error:
        validate_spec(changed(changes))
    assert str(error.value) == message


def test_metadata_is_read_leniently() -> None:
    job = changed(
        {"metadata.managedFields": [{"manager": "kubectl"}], "metadata.uid": "u", "metadata.generation": 3}
    )
    metadata = validate_spec(job).metadata
    assert (metadata.name, metadata.namespace, metadata.uid, metadata.generation) == (
        "intents",
        "default",
        "u",
        3,
    )


def test_a_status_that_cannot_be_read_is_left_out() -> None:
    assert validate_spec(changed({}) | {"status": {"observedGeneration": "x"}}).status is None


def test_a_status_of_a_newer_version_is_read() -> None:
    status = validate_spec(changed({}) | {"status": {"observedGeneration": 2, "usage": {}}}).status
    assert status is not None
    assert status.observed_generation == 2
