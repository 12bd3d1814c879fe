"""Every rule of the API, without an API server: the CRD's schema and CEL, and the pydantic models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kubetune.api.crdgen import openapi_schema
from kubetune.api.v1alpha1 import validate_spec
from kubetune.vocabulary.errors import SpecError
from tests.crd.cases import CASES, Case
from tests.crd.offline import admit

_VERDICTS: dict[str, set[bool]] = {}
_ERRORS: dict[str, list[str]] = {}


def errors_of(case: Case) -> list[str]:
    if case.name not in _ERRORS:
        _ERRORS[case.name] = admit(case.new, case.old, _VERDICTS)
    return _ERRORS[case.name]


def by_name(case: Case) -> str:
    return case.name


def test_every_case_has_its_own_name() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("case", CASES, ids=by_name)
def test_schema_and_cel(case: Case) -> None:
    errors = errors_of(case)
    if case.refused is None:
        assert errors == []
    else:
        assert case.refused in "\n".join(errors)


@pytest.mark.parametrize("case", [case for case in CASES if case.before is None], ids=by_name)
def test_pydantic_says_the_same(case: Case) -> None:
    if case.refused is None:
        validate_spec(case.new)
    else:
        with pytest.raises(SpecError) as error:
            validate_spec(case.new)
        assert case.refused in str(error.value)


def test_every_rule_is_kept_and_broken_by_a_case() -> None:
    for case in CASES:
        errors_of(case)
    one_sided = {message for message in messages(openapi_schema()) if _VERDICTS.get(message) != {True, False}}
    assert one_sided == set()


def messages(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from (rule["message"] for rule in schema.get("x-kubernetes-validations", ()))
        for value in schema.values():
            yield from messages(value)
