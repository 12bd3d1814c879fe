"""The merge patch of a status."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetune.controller.status_writer import merge_patch
from tests.support.memory_kube import _merge

_json = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=2), children, max_size=4)
    ),
    max_leaves=12,
)
_objects = st.dictionaries(st.text(max_size=2), _json, max_size=5)


@pytest.mark.slow
@given(_objects, _objects)
def test_a_merge_patch_turns_one_into_the_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert _merge(old, merge_patch(old, new)) == new


@given(_objects)
def test_nothing_is_patched_when_nothing_changed(old: dict[str, Any]) -> None:
    assert merge_patch(old, old) == {}
