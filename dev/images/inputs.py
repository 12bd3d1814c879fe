"""Says what each image is made of, and tags it with a digest of that: an unchanged tree builds nothing."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dev import paths

_DIGEST_LENGTH = 12  # hex digits in a tag
_LETTER = "t"  # in front: `helm --set` takes a tag of digits alone, or with one e among them, for a number


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """One image: a Dockerfile's target of the same name."""

    name: str
    dockerfile: str
    sources: tuple[str, ...]
    """All that the Dockerfile copies on the way to this target: files and folders of the repository."""

    @property
    def repository(self) -> str:
        """Return the image's name in a registry."""
        return f"kubetune/{self.name}"


OPERATOR = Image(
    name="operator",
    dockerfile="operator/Dockerfile",
    sources=(
        "requirements/uv.txt",
        "requirements/operator.txt",
        "operator/kubetune",
        "trainer_image/kubetune_trainer",
        "guard/kubetune_guard",
    ),
)
TRAINER = Image(
    name="trainer",
    dockerfile="trainer_image/Dockerfile",
    sources=(
        "requirements/uv.txt",
        "requirements/torch.txt",
        "requirements/trainer.txt",
        "trainer_image/kubetune_trainer",
    ),
)
SERVING_CPU = Image(
    name="serving-cpu",
    dockerfile="trainer_image/Dockerfile",
    sources=("requirements/uv.txt", "requirements/torch.txt", "requirements/serving-cpu.txt"),
)
GATEWAY = Image(
    name="gateway",
    dockerfile="gateway/Dockerfile",
    sources=(
        "requirements/uv.txt",
        "requirements/gateway.txt",
        "gateway/kubetune_gateway",
        "operator/kubetune",
        "trainer_image/kubetune_trainer/__init__.py",
        "trainer_image/kubetune_trainer/contract",
    ),
)
IMAGES = (OPERATOR, TRAINER, SERVING_CPU, GATEWAY)
NAMES = f"{', '.join(image.name for image in IMAGES[:-1])} and {IMAGES[-1].name}"
"""What the images are called, for people."""


def take(image: Image, *, context: Path, base: str) -> str:
    """Copy what an image is made of to `context`, and return its tag.

    The build reads the copy: a file that is edited meanwhile cannot get into an image under the tag of what
    it was before.
    """
    digest = hashlib.sha256(base.encode())
    for relative in (image.dockerfile, *image.sources):
        for source in _files(paths.REPOSITORY / relative):
            name = source.relative_to(paths.REPOSITORY)
            target = context / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
            digest.update(b"%s\0%d\0" % (str(name).encode(), target.stat().st_size))
            digest.update(target.read_bytes())
    return f"{_LETTER}{digest.hexdigest()[:_DIGEST_LENGTH]}"


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for entry in sorted(path.rglob("*")):
        if entry.is_file() and "__pycache__" not in entry.parts:
            yield entry
