"""The locks of other clients have what the table wants."""

from __future__ import annotations

import re

import pytest

from dev.clients import CLIENTS, lock_file
from dev.paths import REPOSITORY


@pytest.mark.parametrize("name", CLIENTS)
def test_a_lock_pins_what_its_client_wants(name: str) -> None:
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)", lock_file(name).read_text(), flags=re.MULTILINE))
    for wanted in CLIENTS[name].wants.splitlines():
        package, exactly, version = wanted.partition("==")
        found = pins[re.split(r"[<>]", package)[0]]
        assert not exactly or found == version


def test_torch_is_the_one_that_is_on_this_disk_already() -> None:
    [ours] = re.findall(
        r"^torch==\S+", (REPOSITORY / "requirements/torch.txt").read_text(), flags=re.MULTILINE
    )
    text = lock_file("llama-index").read_text()
    assert f"\n{ours} " in text
    assert "\nsentence-transformers==" not in text
