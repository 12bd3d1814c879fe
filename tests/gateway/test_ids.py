"""Ids are derived: the same object has the same id, and an id leads back to it."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetune_gateway.ids import event_id, file_id, job_id, model_id, slug, uid_of

UID = "71b186a7-8c2c-4540-92f4-f2ab565299ef"


@given(st.uuids())
def test_a_jobs_id_leads_back_to_its_uid(uid: uuid.UUID) -> None:
    assert uid_of(job_id(str(uid))) == str(uid)


@pytest.mark.parametrize(
    "other",
    [
        "",
        "ftjob-",
        "ftjob-abc",
        "ftjob-" + "1" * 26,
        "file-" + "a" * 26,
        job_id(UID).upper(),
        job_id(UID)[:-1],
    ],
)
def test_what_is_no_id_of_a_job_leads_nowhere(other: str) -> None:
    assert uid_of(other) is None


def test_two_spellings_are_not_one_id() -> None:
    spellings = {job_id(UID)[:-1] + last for last in "abcdefghijklmnopqrstuvwxyz234567"}
    assert [one for one in spellings if uid_of(one) == UID] == [job_id(UID)]


@pytest.mark.parametrize(
    ("model", "short"),
    [
        ("hf://Qwen/Qwen2.5-0.5B", "qwen2.5-0.5b"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini-2024-07-18"),
        ("pvc://models/My Model/", "my-model"),
    ],
)
def test_a_models_name_has_no_slash(model: str, short: str) -> None:
    assert slug(model) == short


def test_a_models_id_has_the_form_that_programs_look_for() -> None:
    found = model_id("gpt-4o-mini", namespace="team-a", suffix="recipe-ner", uid=UID)
    assert re.fullmatch(r"ft:.+:.+:recipe-ner:\w{8}", found)
    assert model_id("gpt-4o-mini", namespace="team-a", suffix=None, uid=UID).startswith(
        "ft:gpt-4o-mini:team-a::"
    )


def test_events_and_files_have_ids_of_their_own() -> None:
    assert event_id(UID, "created") == event_id(UID, "created") != event_id(UID, "step 1")
    assert re.fullmatch(r"file-[a-z2-7]{26}", file_id(bytes(16)))
