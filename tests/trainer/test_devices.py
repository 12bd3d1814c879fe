"""The look at a node's GPUs with the locked torch: here on a machine that has none."""

from __future__ import annotations

import pytest

from kubetune_trainer.contract.errors import GpuUnusable
from kubetune_trainer.gang.devices import look, require_usable

pytestmark = pytest.mark.trainer


def test_a_node_without_a_driver_is_refused_for_good() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    found = look(0)
    assert (found.visible, found.built_for) == (0, torch.version.cuda)
    with pytest.raises(GpuUnusable, match=r"No NVIDIA driver reaches this pod \(Found no NVIDIA driver"):
        require_usable(found, 1)
