"""The files of a release that need no image: its guide, its checksums, its archives' indexes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dev.errors import DevError
from dev.release.archive import for_docker, index
from dev.release.published import Published
from dev.release.run import Options, install_guide, make_room, release, write_sums
from dev.release.sbom import Outside, Source

DIGEST = f"sha256:{'ab' * 32}"
OPERATOR = Published(
    name="operator",
    source="127.0.0.1:5000/kubetune/operator:t1",
    repository="kubetune/operator",
    registry="",
    tag="t1",
    digest=DIGEST,
)
TRAINER = Published(
    name="trainer",
    source="127.0.0.1:5000/kubetune/trainer:t2",
    repository="kubetune/trainer",
    registry="",
    tag="t2",
    digest=DIGEST,
)


def test_an_archive_has_its_image_under_the_name_that_pods_have_and_one_name_for_skopeo() -> None:
    manifest = {"mediaType": "a/b", "digest": DIGEST, "size": 7, "annotations": {"x": "copied"}}
    bare = {"mediaType": "a/b", "digest": DIGEST, "size": 7}
    tagged = "docker.io/kubetune/operator:t1"
    assert index(OPERATOR, manifest) == {
        "schemaVersion": 2,
        "manifests": [
            {
                **bare,
                "annotations": {
                    "io.containerd.image.name": tagged,
                    "org.opencontainers.image.ref.name": tagged,
                },
            },
            {**bare, "annotations": {"io.containerd.image.name": f"docker.io/kubetune/operator@{DIGEST}"}},
        ],
    }


def test_docker_finds_the_same_files_in_an_archive() -> None:
    manifest = {"config": {"digest": "sha256:c"}, "layers": [{"digest": "sha256:1"}, {"digest": "sha256:2"}]}
    assert for_docker(OPERATOR, manifest) == [
        {
            "Config": "blobs/sha256/c",
            "RepoTags": ["docker.io/kubetune/operator:t1"],
            "Layers": ["blobs/sha256/1", "blobs/sha256/2"],
        }
    ]


def test_the_guide_has_the_commands_for_the_archives_that_are_there() -> None:
    source = Source(version="1.2.3", commit="c0ffee", epoch=0)
    vllm = Outside(repository="docker.io/vllm/vllm-openai", tag="v0.32.0", digest="")
    lines = install_guide([OPERATOR, TRAINER], vllm, source, ["operator"]).splitlines()
    assert [line for line in lines if "ctr " in line or "oci-archive:" in line or "docker://" in line] == [
        "  oci-archive:images/operator.tar:docker.io/kubetune/operator:t1 \\",
        "  docker://$registry/kubetune/operator:t1",
        "ctr --namespace k8s.io images import images/operator.tar",
    ]
    assert "This release was written without archives of trainer." in lines
    assert not [line for line in lines if "$version" in line or "$commit" in line or "$namespace" in line]


def test_the_checksums_are_those_that_sha256sum_checks(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.tar").write_bytes(b"layers")
    (tmp_path / "values.yaml").write_text("a: b\n")
    write_sums(tmp_path)
    assert check(tmp_path) == (0, "images/a.tar: OK\nvalues.yaml: OK\n")
    (tmp_path / "values.yaml").write_text("a: c\n")
    assert check(tmp_path)[0] == 1


def test_an_earlier_release_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    folder = tmp_path / "dist"
    make_room(folder)
    (folder / "old.tgz").touch()
    make_room(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["SHA256SUMS", "images", "sbom"]

    others = tmp_path / "thesis"
    others.mkdir()
    (others / "chapter.tex").touch()
    (others / "SHA256SUMS").touch()
    with pytest.raises(DevError) as refused:
        make_room(others)
    assert str(refused.value) == (
        f"{others} has files and is no release: move them away, or name another folder with --out"
    )
    assert sorted(path.name for path in others.iterdir()) == ["SHA256SUMS", "chapter.tex"]


def test_an_archive_of_an_image_that_is_none_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    out = tmp_path / "dist"
    with pytest.raises(DevError) as refused:
        release(Options(out=out, pushed_to="127.0.0.1:1", registry="", archives=["operator", "vllm"]))
    assert (
        str(refused.value) == "No image is called vllm: there are operator, trainer, serving-cpu and gateway"
    )
    assert not out.exists()


def check(folder: Path) -> tuple[int, str]:
    ran = subprocess.run(
        ["sha256sum", "--check", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=False
    )
    return ran.returncode, ran.stdout
