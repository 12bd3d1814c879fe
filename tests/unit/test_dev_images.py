"""The archives of the cluster's own images."""

import hashlib
import json
import tarfile
from pathlib import Path

from dev.cluster.image_archive import write_archive


def test_an_archive_has_the_program_as_its_only_file_and_entry_point(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(b"ELF")

    write_archive(tmp_path / "image.tar", image="example.com/pause:1", program=program)

    with tarfile.open(tmp_path / "image.tar") as archive:
        archive.extractall(tmp_path / "image", filter="data")
    [manifest] = json.loads((tmp_path / "image" / "manifest.json").read_text())
    config = json.loads((tmp_path / "image" / manifest["Config"]).read_text())
    layer = tmp_path / "image" / manifest["Layers"][0]
    assert manifest["RepoTags"] == ["example.com/pause:1"]
    assert config["config"] == {"Entrypoint": ["/pause"]}
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer.read_bytes()).hexdigest()}"]
    with tarfile.open(layer) as files:
        assert [(member.name, member.mode) for member in files] == [("pause", 0o755)]


def test_the_same_program_makes_the_same_layer(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(b"ELF")

    for name in ("a", "b"):
        write_archive(tmp_path / name, image="example.com/pause:1", program=program)

    assert (tmp_path / "a").stat().st_size == (tmp_path / "b").stat().st_size
    assert not list(tmp_path.glob("*.layer"))
