"""A volume that is too small is told before training, with the size that would do."""

from __future__ import annotations

import pytest

from kubetune_trainer.contract.errors import VolumeUnusable
from kubetune_trainer.sizing.space import Space, judge

GB = 10**9
TRAINED = 7_000_000_000

FULL_7B = {
    "used": 15 * GB,  # the base model
    "disposable": 0,
    "result": 2 * TRAINED,
    "checkpoint": int(1.2 * 16 * TRAINED),
    "before": 16 * TRAINED,
    "has_one": False,
}


def told(free: int, **changed: int | bool) -> str | None:
    return judge(Space(**{**FULL_7B, "free": free, **changed}))  # type: ignore[arg-type]


def test_a_full_fine_tune_of_7b_on_the_default_claim_is_told_the_size_it_needs() -> None:
    # 1.1 x (15 + 14 + 134.4 + 112) GB
    assert told(5 * GB + 14 * GB) == (
        "The output volume has 19.0 GB free, but a checkpoint needs 134.4 GB beside the result: without one "
        "a crash would start training anew. To prevent that, enlarge the job's output claim to 283Gi, remove "
        "from it what is no longer needed, or delete it with all that it holds and ask for spec.storage.size "
        "283Gi."
    )


@pytest.mark.parametrize("has_one", [False, True])
def test_a_volume_of_the_size_that_is_named_is_large_enough(has_one: bool) -> None:
    before = 0 if has_one else FULL_7B["before"]
    short = told(20 * GB, has_one=has_one, before=before)
    assert short is not None
    size = int(short.rpartition("spec.storage.size ")[2].removesuffix("Gi."))
    assert told((size << 30) - FULL_7B["used"], has_one=has_one, before=before) is None


def test_room_for_one_checkpoint_only_is_told() -> None:
    warning = told(14 * GB + 140 * GB)
    assert warning is not None
    assert (
        "beside the result, and the one before it 112.0 GB: a crash would lose all that follows the"
        in warning
    )
    assert told(14 * GB + 250 * GB) is None


def test_what_a_save_can_delete_is_room() -> None:
    short = told(14 * GB + 100 * GB, has_one=True, before=0)
    assert short is not None
    assert "a crash would lose all that follows the one that is there" in short
    assert told(14 * GB + 100 * GB, has_one=True, before=0, disposable=112 * GB) is None


def test_a_volume_without_room_for_the_result_is_refused() -> None:
    with pytest.raises(
        VolumeUnusable, match=r"needs at least 14\.0 GB: enlarge .* spec\.storage\.size 283Gi"
    ):
        told(13 * GB)
