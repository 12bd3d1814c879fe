"""Fields of jobs that a platform has told as labels of kubetune_job_info."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kubetune.cli.operator import explain
from kubetune.process.metrics.fields import MOST_CHARACTERS, metric_fields
from kubetune.process.metrics.job import Job
from kubetune.process.metrics.own import Metrics
from kubetune.process.settings import load

GOOD = {"KUBETUNE_TRAINER_IMAGE": "trainer:1", "KUBETUNE_SERVING_IMAGE": "vllm:1"}


def info(fields: tuple[str, ...], *, labels: Any = None, use_case: Any = None) -> dict[str, str]:
    """Labels of kubetune_job_info."""
    raw = {
        "metadata": {"namespace": "team-a", "name": "intents-1", "labels": labels},
        "spec": {"model": {"uri": "hf://org/model"}, "useCase": use_case},
    }
    metrics = Metrics(load(GOOD | {"KUBETUNE_METRIC_FIELDS": json.dumps(fields)}).fields_in_metrics)
    [sample] = [
        sample
        for family in metrics.jobs(lambda: [Job.of(raw)]).collect()
        for sample in family.samples
        if family.name == "kubetune_job_info"
    ]
    return sample.labels


JOB = {"namespace": "team-a", "finetunejob": "intents-1", "model": "hf://org/model"}


def test_none_is_told_unless_the_platform_lists_it() -> None:
    assert info((), labels={"team": "nlp"}, use_case="Sort letters.") == JOB


def test_a_field_becomes_a_label() -> None:
    fields = ("useCase", "labels.team", "labels.example.com/cost-center", "labels.none")
    labels = {"team": "nlp", "example.com/cost-center": "4711", "other": "x"}
    assert info(fields, labels=labels, use_case="Sort letters.") == JOB | {
        "use_case": "Sort letters.",
        "label_team": "nlp",
        "label_example_com_cost_center": "4711",
        "label_none": "",
    }


def test_what_people_write_is_cleaned_and_cut() -> None:
    told = info(("useCase",), use_case="Sort\nletters\u202e.\x1b[31m" + "x" * 500)["use_case"]
    assert told == ("Sort letters\ufffd." + "x" * 500)[:MOST_CHARACTERS]


@pytest.mark.parametrize("odd", [None, 7, [], {"team": 7}])
def test_what_is_of_another_type_is_empty(odd: Any) -> None:
    assert info(("useCase", "labels.team"), labels=odd, use_case=odd) == JOB | {
        "use_case": "",
        "label_team": "",
    }


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (["model"], '"model" is no field that can be told: write useCase, or labels.KEY'),
        (["labels."], '"labels." is no field that can be told: write useCase, or labels.KEY'),
        (["labels.a b"], '"labels.a b" is no field that can be told: write useCase, or labels.KEY'),
        (["annotations.a"], '"annotations.a" is no field that can be told: write useCase, or labels.KEY'),
        (["labels.a/b/c"], '"labels.a/b/c" is no field that can be told: write useCase, or labels.KEY'),
        (["useCase", "useCase"], '"useCase" is there twice: leave one out'),
        (
            ["labels.a-b", "labels.a.b"],
            '"labels.a-b" and "labels.a.b" become one label, label_a_b: leave one out',
        ),
        ([f"labels.a{n}" for n in range(17)], "has 17 fields, and 16 are the most: leave some out"),
    ],
)
def test_what_cannot_be_followed_stops_the_operator(fields: list[str], says: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the text is what matters
        load(GOOD | {"KUBETUNE_METRIC_FIELDS": json.dumps(fields)})
    assert explain(error.value) == f"The settings are wrong:\n  KUBETUNE_METRIC_FIELDS: {says}"


def test_the_most_fields_are_taken() -> None:
    fields = tuple(f"labels.a{n}" for n in range(16))
    assert [field.label for field in metric_fields(fields)] == [f"label_a{n}" for n in range(16)]
