"""Only whole checkpoints count, and an old one goes only after a newer one verifies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from kubetune_trainer.contract.errors import InvalidInput, Transient
from kubetune_trainer.store import resume, unfinished
from kubetune_trainer.store.checkpoints import Checkpoints, Layout, own_files
from kubetune_trainer.store.manifest import (
    MANIFEST_NAME,
    list_files,
    read_manifest,
    sync_file,
    verify_manifest,
    write_manifest,
)

if TYPE_CHECKING:
    from kubetune_trainer.gang.peers import Peers

LAYOUT = Layout(world_size=2, global_batch=8, zero_stage=2, sampler="length-buckets/1")


def checkpoints(directory: Path, *, keep: int = 2, **layout: object) -> Checkpoints:
    changed = {field: getattr(LAYOUT, field) for field in LAYOUT.__slots__} | layout
    return Checkpoints(directory, Layout(**changed), keep=keep)


def write(store: Checkpoints, step: int) -> None:
    """Write one as two ranks do."""
    directory = store.begin(step, expected_bytes=100)
    assert directory is not None
    state = directory / f"global_step{step}"
    state.mkdir()
    for rank in range(2):
        (state / f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt").write_bytes(
            bytes([rank, step % 256]) * 100
        )
        (directory / f"rng_state_{rank}.pth").write_bytes(bytes([rank]) * 10)
    (state / "mp_rank_00_model_states.pt").write_bytes(b"weights")
    (directory / "trainer_state.json").write_text("{}")
    files = [file for rank in range(2) for file in own_files(directory, rank)]
    assert len(files) == 6
    store.commit(directory, files, step=step, tokens=step * 1000, dtype="bfloat16")
    if store.surplus and resume.damage(unfinished.final(directory), files) is None:
        store.retire()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A run with checkpoints at steps 10 and 20."""
    directory = tmp_path / "checkpoints"
    write(checkpoints(directory), 10)
    write(checkpoints(directory), 20)
    return directory


def newest(directory: Path, **layout: object) -> resume.Found | None:
    survey = checkpoints(directory, **layout).survey()
    return survey.newest(lambda candidate: resume.damage(candidate.found.path, candidate.files))


def newest_step(directory: Path, **layout: object) -> int | None:
    found = newest(directory, **layout)
    return found.step if found else None


def test_the_newest_is_continued(store: Path) -> None:
    found = newest(store)
    assert found is not None
    assert (found.step, found.tokens, found.dtype, found.path) == (
        20,
        20_000,
        "bfloat16",
        store / "step-000020",
    )


def test_a_run_without_any_starts_anew(tmp_path: Path) -> None:
    assert newest_step(tmp_path / "checkpoints") is None


def flip_a_byte(checkpoint: Path) -> None:
    path = checkpoint / "global_step20" / "bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt"
    content = bytearray(path.read_bytes())
    content[50] ^= 1
    path.write_bytes(content)


def cut_the_manifest(checkpoint: Path) -> None:
    path = checkpoint / MANIFEST_NAME
    path.write_bytes(path.read_bytes()[:-20])


def empty_the_manifest(checkpoint: Path) -> None:
    (checkpoint / MANIFEST_NAME).write_bytes(b"")


def write_something_else(checkpoint: Path) -> None:
    (checkpoint / MANIFEST_NAME).write_text("[1]")


def remove_a_file(checkpoint: Path) -> None:
    (checkpoint / "rng_state_1.pth").unlink()


def cut_a_file(checkpoint: Path) -> None:
    (checkpoint / "rng_state_1.pth").write_bytes(b"")


def add_a_file(checkpoint: Path) -> None:
    (checkpoint / "rng_state_2.pth").write_bytes(b"")


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_byte,
        cut_the_manifest,
        empty_the_manifest,
        write_something_else,
        remove_a_file,
        cut_a_file,
        add_a_file,
        shutil.rmtree,
    ],
)
def test_the_one_before_a_damaged_one_is_continued(store: Path, damage: Callable[[Path], None]) -> None:
    damage(store / "step-000020")
    assert newest_step(store) == 10


def from_another_run(checkpoint: Path) -> None:
    other = checkpoint.parent.parent / "other" / "checkpoints"
    store = checkpoints(other)
    directory = store.begin(20, expected_bytes=100)
    assert directory is not None
    (directory / "rng_state_0.pth").write_bytes(b"planted")
    store.commit(directory, own_files(directory, 0), step=20, tokens=20_000, dtype="bfloat16")
    shutil.rmtree(checkpoint)
    shutil.copytree(other / checkpoint.name, checkpoint)


def edited_with_its_manifest(checkpoint: Path) -> None:
    (checkpoint / "rng_state_1.pth").write_bytes(b"planted")
    files = [sync_file(checkpoint, name) for name in list_files(checkpoint)]
    write_manifest(checkpoint, files, read_manifest(checkpoint).details)


@pytest.mark.parametrize("plant", [from_another_run, edited_with_its_manifest])
def test_one_that_the_run_did_not_write_is_not_continued(store: Path, plant: Callable[[Path], None]) -> None:
    plant(store / "step-000020")
    verify_manifest(store / "step-000020")
    assert newest_step(store) == 10
    shutil.rmtree(store / "step-000010")
    with pytest.raises(InvalidInput, match="step-000020 was not written by this run, or was edited since"):
        newest_step(store)


def test_the_ledger_names_what_is_kept(store: Path) -> None:
    write(checkpoints(store), 30)
    ledger = json.loads((store.parent / "written.json").read_text())
    assert ledger == {name: verify_manifest(store / name).digest for name in ("step-000020", "step-000030")}


def test_checkpoints_of_a_version_without_a_ledger_are_continued(store: Path) -> None:
    (store.parent / "written.json").unlink()
    assert newest_step(store) == 20


@pytest.mark.parametrize("damage", [cut_the_manifest, remove_a_file, cut_a_file])
def test_a_run_is_not_begun_anew_when_none_verifies(store: Path, damage: Callable[[Path], None]) -> None:
    for path in store.iterdir():
        damage(path)
    with pytest.raises(InvalidInput, match=r"step-000020.* and step-000010.*Delete .* or change .*seed"):
        newest_step(store)


def cannot_be_read(path: Path) -> None:
    """A file whose every read fails with EIO, as on a volume with a fault."""
    path.unlink()
    path.symlink_to("/proc/self/mem")


def test_a_read_error_is_no_damage(store: Path) -> None:
    cannot_be_read(store / "step-000020" / MANIFEST_NAME)
    with pytest.raises(OSError, match="Input/output error"):
        newest_step(store)
    with pytest.raises(OSError, match="Input/output error"):
        checkpoints(store).require_fitting()


def test_old_ones_stay_while_the_newest_cannot_be_read(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cannot_be_read(store / "step-000020" / MANIFEST_NAME)
    usage = shutil.disk_usage(store)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
    assert checkpoints(store).begin(30, expected_bytes=100) is None
    assert (store / "step-000010").exists()


def test_an_older_one_that_cannot_be_read_is_not_needed(store: Path) -> None:
    cannot_be_read(store / "step-000010" / MANIFEST_NAME)
    assert newest_step(store) == 20


class Ranks:
    """Two ranks, of which this is one; the other says what a test wants."""

    world_size = 2

    def __init__(self, rank: int, **other: str | None) -> None:
        self.rank = rank
        self._other = other or {"damage": None}

    def gather(self, value: object) -> list[object]:
        return [value, self._other] if self.rank == 0 else [self._other, value]


def test_each_rank_verifies_its_share_and_all_decide_the_same(store: Path) -> None:
    flip_a_byte(store / "step-000020")
    survey = checkpoints(store).survey()
    shares = [{file.name for file in survey.candidates[0].share(rank, 2)} for rank in range(2)]
    assert shares[0] | shares[1] == {file.name for file in survey.candidates[0].files}
    assert not shares[0] & shares[1]

    verdicts = [resume.verify_together(cast("Peers", Ranks(rank)))(survey.candidates[0]) for rank in range(2)]
    (damage,) = [verdict for verdict in verdicts if verdict is not None]
    for rank in range(2):
        peers = cast("Peers", Ranks(rank, damage=damage))
        assert resume.verify_together(peers)(survey.candidates[0]) is not None


def test_a_read_error_on_one_rank_is_told_on_all(store: Path) -> None:
    peers = cast("Peers", Ranks(0, unreadable="The output volume did not let a file be read."))
    with pytest.raises(Transient, match="did not let"):
        checkpoints(store).survey().newest(resume.verify_together(peers))


def test_other_files_beside_the_checkpoints_stay_and_do_no_harm(store: Path) -> None:
    (store / ".DS_Store").write_text("")
    (store / ".snapshot").mkdir()
    (store / "step-000030").write_text("")
    write(checkpoints(store), 40)
    assert newest_step(store) == 40
    assert (store / ".DS_Store").exists()
    assert (store / ".snapshot").exists()


def test_a_damaged_one_is_replaced_when_its_step_comes_again(store: Path) -> None:
    flip_a_byte(store / "step-000020")
    write(checkpoints(store), 20)
    assert newest_step(store) == 20
    assert sorted(path.name for path in store.iterdir()) == ["step-000010", "step-000020"]


def test_one_that_was_never_finished_is_not_seen(store: Path) -> None:
    checkpoints(store).begin(30, expected_bytes=100)
    assert newest_step(store) == 20
    write(checkpoints(store), 30)
    assert sorted(path.name for path in store.iterdir()) == ["step-000020", "step-000030"]


def test_old_ones_stay_while_the_newest_does_not_verify(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def damaging(self: Path, target: Path) -> Path:
        moved = rename(self, target)
        if moved.name == "step-000030":
            (moved / "trainer_state.json").write_text("{ }")
        return moved

    monkeypatch.setattr(Path, "rename", damaging)
    write(checkpoints(store, keep=1), 30)
    assert newest_step(store) == 20


def test_as_many_as_asked_are_kept(store: Path) -> None:
    write(checkpoints(store, keep=1), 30)
    assert [path.name for path in store.iterdir()] == ["step-000030"]


def test_steps_are_ordered_as_numbers(store: Path) -> None:
    write(checkpoints(store), 1_000_000)
    assert newest_step(store) == 1_000_000


@pytest.mark.parametrize(
    ("layout", "sentence"),
    [
        ({"world_size": 4}, "written with world size 2, this job has 4: set spec.training.nodes"),
        (
            {"global_batch": 16},
            "written with global batch 8, this job has 16: set spec.training.batchSize",
        ),
        (
            {"zero_stage": 3},
            "written with zero stage 2, this job has 3: set spec.training.deepspeed.zeroStage",
        ),
        ({"sampler": "other/1"}, "written with sampler length-buckets/1, this job has other/1: use the"),
    ],
)
def test_one_of_another_layout_is_refused_with_a_sentence(
    store: Path, layout: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        newest_step(store, **layout)
    with pytest.raises(InvalidInput, match=sentence):
        checkpoints(store, **layout).require_fitting()


def test_one_that_fits_is_enough(store: Path) -> None:
    write(checkpoints(store, world_size=4), 30)
    checkpoints(store).require_fitting()


def test_an_older_one_that_fits_is_continued(store: Path) -> None:
    write(checkpoints(store, world_size=4), 30)
    assert newest_step(store) == 20


def test_nothing_is_written_to_a_full_volume(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(store)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=500))
    assert checkpoints(store).begin(30, expected_bytes=100) is None
    assert newest_step(store) == 20
    assert not (store / "step-000010").exists()  # given up to make room, after step 20 verified


def test_a_manifest_says_what_the_checkpoint_is(store: Path) -> None:
    document = json.loads((store / "step-000020" / MANIFEST_NAME).read_text())
    files = document.pop("files")
    assert document == {
        "step": 20,
        "tokens": 20_000,
        "dtype": "bfloat16",
        "world_size": 2,
        "global_batch": 8,
        "zero_stage": 2,
        "sampler": "length-buckets/1",
    }
    assert files[0]["name"] == "global_step20/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"
    assert verify_manifest(store / "step-000020").size_bytes == sum(file["size"] for file in files)
