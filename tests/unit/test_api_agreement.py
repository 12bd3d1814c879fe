"""Schema with CEL, and pydantic, accept the same specs. Where they may differ is listed here.

- 3.0 for an integer: the schema takes it (JSON has one kind of number), pydantic does not. The API server
  stores it as 3, so the operator never sees it.
- The rules about changes (``oldSelf``) have no counterpart: the operator sees one object at a time.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from kubetune.api.v1alpha1 import FineTuneJob, validate_spec
from kubetune.vocabulary.errors import SpecError
from tests.crd.cases import changed
from tests.crd.generated import Change, jobs
from tests.crd.offline import admit, stored


@pytest.mark.slow
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes=jobs())
def test_what_the_schema_accepts_pydantic_accepts(changes: list[Change]) -> None:
    job = changed({})
    for change in changes:
        change(job)
    errors = admit(job)
    parsed = parse(job)
    assert isinstance(parsed, SpecError) == bool(errors), (parsed, errors)
    if isinstance(parsed, SpecError):
        assert parsed.field.startswith("spec")
    else:
        assert parse(stored(job)) == parsed, "defaults of the schema and of the models are the same"
        assert parse(parsed.manifest()) == parsed


def parse(job: dict[str, Any]) -> FineTuneJob | SpecError:
    try:
        return validate_spec(job)
    except SpecError as error:
        return error
