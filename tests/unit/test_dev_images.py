"""What the images are made of, and how they are named."""

import json
import re
from datetime import date
from pathlib import Path

import pytest

from dev import paths
from dev.errors import DevError
from dev.images.base import DATE_FILE, base_image, base_key, debian_date, ensure_base, mirror_lines, overdue
from dev.images.build import ImageError, ImageRefs, ensure_images
from dev.images.inputs import IMAGES, OPERATOR, SERVING_CPU, TRAINER, Image, take

_BASE = "localhost/base:1"


def _stages(dockerfile: str) -> dict[str, tuple[str, list[str]]]:
    """Read a Dockerfile as stage -> (parent stage, its lines)."""
    stages: dict[str, tuple[str, list[str]]] = {}
    lines: list[str] = []
    for line in (paths.REPOSITORY / dockerfile).read_text().splitlines():
        if found := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            lines = []
            stages[found[2]] = (found[1], lines)
        else:
            lines.append(line)
    return stages


def _needed(stages: dict[str, tuple[str, list[str]]], target: str) -> set[str]:
    parent, lines = stages[target]
    others = {parent, *re.findall(r"(?:--from|from)=(\w[\w-]*)", "\n".join(lines))}
    return {target}.union(*(_needed(stages, other) for other in others if other in stages))


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_an_image_is_made_of_exactly_what_its_dockerfile_copies(image: Image) -> None:
    stages = _stages(image.dockerfile)
    copied = set()
    for stage in _needed(stages, image.name):
        for line in stages[stage][1]:
            if found := re.match(r"COPY (?!--from)(\S+) ", line):
                copied.add(found[1])
    assert copied == set(image.sources)


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_docker_sends_what_the_dockerfile_copies(image: Image) -> None:
    sent = [
        line[1:]
        for line in (paths.REPOSITORY / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    for source in image.sources:
        parts = (Path(source), *Path(source).parents)
        assert any(part.match(pattern) for part in parts for pattern in sent), source


@pytest.mark.parametrize("dockerfile", sorted({image.dockerfile for image in IMAGES}))
def test_no_image_decides_for_the_cpu(dockerfile: str) -> None:
    environment = [line for line in (paths.REPOSITORY / dockerfile).read_text().splitlines() if "ENV" in line]
    assert not [line for line in environment if "DS_ACCELERATOR" in line and not line.startswith("#")]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "repository"
    for image in IMAGES:
        for relative in (image.dockerfile, *image.sources):
            path = root / relative
            if path.suffix or path.name == "Dockerfile":
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(relative)
            else:
                (path / "deep").mkdir(parents=True, exist_ok=True)
                (path / "deep" / "module.py").write_text(relative)
    monkeypatch.setattr(paths, "REPOSITORY", root)
    return root


def _tags(folder: Path) -> dict[str, str]:
    return {
        image.name: take(image, context=folder / str(len(list(folder.iterdir()))) / image.name, base=_BASE)
        for image in IMAGES
    }


def test_a_tag_is_a_letter_with_12_hexadecimal_digits_and_stays_while_nothing_changes(
    repository: Path, tmp_path: Path
) -> None:
    contexts = tmp_path / "contexts"
    contexts.mkdir()
    tags = _tags(contexts)
    assert all(re.fullmatch(r"t[0-9a-f]{12}", tag) for tag in tags.values())
    assert _tags(contexts) == tags


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        ("operator/kubetune/deep/module.py", {"operator", "gateway"}),
        ("operator/kubetune/deep/new.py", {"operator", "gateway"}),
        ("trainer_image/kubetune_trainer/deep/module.py", {"operator", "trainer"}),
        ("trainer_image/kubetune_trainer/contract/module.py", {"operator", "trainer", "gateway"}),
        ("gateway/kubetune_gateway/deep/module.py", {"gateway"}),
        ("requirements/torch.txt", {"trainer", "serving-cpu"}),
        ("requirements/serving-cpu.txt", {"serving-cpu"}),
        ("trainer_image/Dockerfile", {"trainer", "serving-cpu"}),
        ("operator/kubetune/__pycache__/module.pyc", set()),
        ("README.md", set()),
    ],
)
def test_a_change_gives_new_tags_to_the_images_that_it_is_in(
    repository: Path, tmp_path: Path, path: str, changed: set[str]
) -> None:
    contexts = tmp_path / "contexts"
    contexts.mkdir()
    before = _tags(contexts)
    (repository / path).parent.mkdir(parents=True, exist_ok=True)
    (repository / path).write_text("changed")
    after = _tags(contexts)
    assert {name for name in before if before[name] != after[name]} == changed


def test_another_base_gives_another_tag(repository: Path, tmp_path: Path) -> None:
    tags = {take(OPERATOR, context=tmp_path / base, base=base) for base in ("one", "two")}
    assert len(tags) == 2


def test_the_build_reads_a_copy_without_bytecode(repository: Path, tmp_path: Path) -> None:
    cached = repository / "operator/kubetune/__pycache__"
    cached.mkdir()
    (cached / "module.pyc").write_text("")
    context = tmp_path / "context"
    take(OPERATOR, context=context, base=_BASE)
    assert (context / "operator/kubetune/deep/module.py").read_text() == "operator/kubetune"
    assert not list(context.rglob("__pycache__"))


def test_references_have_the_names_of_the_charts_values() -> None:
    refs = ImageRefs(operator="a", trainer="b", serving_cpu="c", gateway="d")
    assert json.loads(refs.to_json()) == {"operator": "a", "trainer": "b", "servingCpu": "c", "gateway": "d"}


def test_an_unknown_image_is_named() -> None:
    with pytest.raises(ImageError, match="No image is called serving"):
        ensure_images(["serving"], registry="127.0.0.1:5000")


def test_the_programs_for_images_are_installed_before_a_registry_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    for name, output in (("dpkg-query", "buildah installed\nmmdebstrap installed\n"), ("buildah", "")):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho {name} >> {log}\nprintf '{output}'\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    refs = ensure_images(registry="registry.example.com/ml")
    assert refs.trainer.startswith("registry.example.com/ml/kubetune/trainer:t")
    assert log.read_text().split() == ["dpkg-query", *["buildah"] * len(IMAGES)]


def test_the_base_comes_from_this_machines_debian_mirrors_only() -> None:
    listed = (
        "Debian|http://mirror.example/debian/|bookworm\n"
        "Debian|http://mirror.example/debian/|bookworm\n"
        "Debian|http://mirror.example/debian/|stable-updates\n"
        "Debian|http://mirror.example/debian-security/|trixie-security\n"
        "Debian Backports|http://mirror.example/debian/|bookworm-backports\n"
        "Other|https://packages.example/apt/|bookworm\n"
    )
    assert mirror_lines(listed) == [
        "deb http://mirror.example/debian/ bookworm main",
        "deb http://mirror.example/debian/ bookworm-updates main",
        "deb http://mirror.example/debian-security/ bookworm-security main",
    ]


def test_the_base_is_named_by_what_it_is_made_of() -> None:
    assert re.fullmatch(r"localhost/kubetune/base:[0-9a-f]{12}", base_image())


def test_another_date_makes_another_base_with_debians_fixes_since() -> None:
    first, second = date(2026, 11, 30), date(2026, 12, 1)
    assert base_key(first) == base_key(date(2026, 11, 30))
    assert base_key(first) != base_key(second)


def test_the_date_is_the_checkouts_unless_the_environment_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBETUNE_BASE_DATE", raising=False)
    committed = base_image()
    assert committed.endswith(base_key(date.fromisoformat(DATE_FILE.read_text().strip())))
    monkeypatch.setenv("KUBETUNE_BASE_DATE", "2031-01-02")
    assert base_image().endswith(base_key(date(2031, 1, 2)))
    assert base_image() != committed


def test_a_date_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBETUNE_BASE_DATE", "November")
    with pytest.raises(DevError) as refused:
        debian_date()
    assert str(refused.value) == "KUBETUNE_BASE_DATE is 'November': write a date such as 2026-11-30"


def test_a_base_of_ones_own_is_taken_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = f"docker.io/library/python@sha256:{'0' * 64}"
    made = take(OPERATOR, context=tmp_path / "made", base=base_image())
    monkeypatch.setenv("KUBETUNE_BASE_IMAGE", own)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ensure_base() == own  # and nothing is made: there is no program that could
    assert take(OPERATOR, context=tmp_path / "own", base=base_image()) != made


def test_a_base_of_more_than_a_month_is_said_to_be_old() -> None:
    now = date(2026, 11, 30)
    assert overdue(date(2026, 10, 31), now) is None
    assert overdue(date(2026, 10, 30), now) == (
        "The base image has Debian's fixes of 2026-10-30, 31 days ago: run make refresh-base, and commit it."
    )


def _pins(name: str) -> dict[str, str]:
    text = (paths.REPOSITORY / "requirements" / name).read_text()
    # A pin and its hashes, so that the same version from elsewhere would show.
    return dict(re.findall(r"^([\w.-]+==\S+) ((?:\\\n\s+--hash=\S+ ?)+)", text, re.MULTILINE))


@pytest.mark.parametrize("image", [TRAINER, SERVING_CPU], ids=lambda image: image.name)
def test_the_shared_layer_has_the_very_packages_that_each_image_wants(image: Image) -> None:
    shared, own = _pins("torch.txt"), _pins(f"{image.name}.txt")
    assert shared
    assert {pin: own.get(pin, "").strip() for pin in shared} == {
        pin: text.strip() for pin, text in shared.items()
    }


@pytest.mark.parametrize("name", ["operator.txt", "trainer.txt", "uv.txt"])
def test_images_get_the_versions_that_the_tests_ran_with(name: str) -> None:
    assert _pins(name)
    assert set(_pins(name)) <= set(_pins("dev.txt"))
