"""Checkpoints are hashed while they are written, and the digests are those of the files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kubetune_trainer.loop.checkpoint_files import HashedFiles
from kubetune_trainer.store import resume
from kubetune_trainer.store.checkpoints import own_files
from kubetune_trainer.store.hashing import hashing

pytestmark = pytest.mark.trainer

MIB = 1 << 20


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@given(sizes=st.lists(st.sampled_from([0, 1, 4096, MIB - 1, MIB, 3 * MIB + 5]), max_size=6))
def test_writes_of_any_size_are_hashed_in_order(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    path = tmp_path_factory.mktemp("hashed") / "file"
    content = b""
    with hashing(path) as file:
        for number, size in enumerate(sizes):
            data = bytes([number]) * size
            assert file.write(data) == size
            content += data
    assert path.read_bytes() == content
    assert file.sha256 == hashlib.sha256(content).hexdigest()


def test_what_is_written_later_into_the_same_memory_is_not_hashed(tmp_path: Path) -> None:
    buffer = bytearray(2 * MIB)
    with hashing(tmp_path / "file") as file:
        file.write(memoryview(buffer))
        buffer[:] = b"\xff" * len(buffer)
    assert file.sha256 == digest(tmp_path / "file") == hashlib.sha256(bytes(2 * MIB)).hexdigest()


def test_an_error_of_the_volume_is_raised(tmp_path: Path) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"), hashing(tmp_path / "full") as file:
        file.write(bytes(2 * MIB))


def test_the_files_of_the_engine_load_and_have_their_digests(tmp_path: Path) -> None:
    state = {
        "module": torch.arange(MIB, dtype=torch.float32),
        "step": 7,
        "half": torch.ones(3).to(torch.bfloat16),
    }
    path = tmp_path / "mp_rank_00_model_states.pt"
    engine = HashedFiles()
    engine.save(state, str(path))
    assert engine.written == {path: digest(path)}
    loaded = engine.load(str(path))
    assert loaded["step"] == 7
    assert all(torch.equal(loaded[name], state[name]) for name in ("module", "half"))  # type: ignore[arg-type]


def test_files_that_were_hashed_are_not_read_until_they_are_verified(tmp_path: Path) -> None:
    (tmp_path / "rng_state_0.pth").write_bytes(b"random")
    (tmp_path / "weights.pt").write_bytes(b"weights")
    meant = hashlib.sha256(b"what was meant").hexdigest()
    own = own_files(tmp_path, 0, {tmp_path / "weights.pt": meant})
    assert [file.sha256 for file in own] == [digest(tmp_path / "rng_state_0.pth"), meant]
    assert "weights.pt is not what was written" in str(resume.damage(tmp_path, own))
