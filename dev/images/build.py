"""Makes the images of this checkout and sees to it that the registry has them; does only what is missing."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from dev import paths, progress
from dev.cluster.debian import IMAGE_PACKAGES
from dev.cluster.packages import ensure_packages
from dev.errors import DevError
from dev.images import buildah
from dev.images.base import age_of_base, base_image, ensure_base, own_base
from dev.images.inputs import IMAGES, NAMES, TRAINER, Image, take

_UV = "localhost/kubetune/uv"
_TORCH = "localhost/kubetune/torch"
_SPACE = 16  # GiB: all layers in buildah's store, and compressed in a registry on the same disk
_KEPT = 3  # of each image: switching between branches rebuilds nothing


class ImageError(DevError):
    """Images that cannot be built on this machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRefs:
    """The images of one state of the checkout, as a cluster pulls them."""

    operator: str
    trainer: str
    serving_cpu: str
    gateway: str

    @property
    def by_name(self) -> dict[str, str]:
        """Return the references by the images' names."""
        return {
            "operator": self.operator,
            "trainer": self.trainer,
            "serving-cpu": self.serving_cpu,
            "gateway": self.gateway,
        }

    def to_json(self) -> str:
        """Return the references as JSON, under the names that the chart's values have."""
        return json.dumps(
            {
                "operator": self.operator,
                "trainer": self.trainer,
                "servingCpu": self.serving_cpu,
                "gateway": self.gateway,
            }
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """One image to make: from a copy of what it is made of, under the tag that says so."""

    image: Image
    context: Path
    tag: str
    reference: str

    @property
    def local(self) -> str:
        """Return the image's name in buildah's store."""
        return f"localhost/{self.image.repository}:{self.tag}"


def ensure_images(only: Collection[str] = (), *, registry: str) -> ImageRefs:
    """Build and push what a registry, with a path perhaps, does not have; return all references.

    With `only`, the images of other names are neither built nor pushed.
    """
    if unknown := set(only) - {image.name for image in IMAGES}:
        raise ImageError(f"No image is called {', '.join(sorted(unknown))}: there are {NAMES}")
    ensure_packages(IMAGE_PACKAGES)  # to ask the registry, too
    with tempfile.TemporaryDirectory(prefix="kubetune-images-") as folder:
        jobs = [_job(image, registry=registry, context=Path(folder) / image.name) for image in IMAGES]
        wanted = [job for job in jobs if not only or job.image.name in only]
        if _missing(wanted):
            with one_at_a_time():
                # Looked at again: another command may have done it meanwhile.
                if missing := _missing(wanted):
                    _make_all(missing)
        operator, trainer, serving_cpu, gateway = (job.reference for job in jobs)
    return ImageRefs(operator=operator, trainer=trainer, serving_cpu=serving_cpu, gateway=gateway)


def _job(image: Image, *, registry: str, context: Path) -> _Job:
    tag = take(image, context=context, base=base_image())
    return _Job(image=image, context=context, tag=tag, reference=f"{registry}/{image.repository}:{tag}")


def _missing(jobs: list[_Job]) -> list[_Job]:
    return [job for job in jobs if not buildah.is_pushed(job.reference)]


def _make_all(jobs: list[_Job]) -> None:
    _check_machine()
    buildah.remove_abandoned()
    if late := age_of_base():
        progress.note(late)
    if not (own_base() or buildah.exists(base_image())):
        with progress.step("Make the base image from Debian packages (a minute, once)"):
            ensure_base()
    buildah.say_if_logged_out(jobs[0].reference)
    names = ", ".join(job.image.name for job in jobs)
    with progress.step(f"Build and push {names}"):
        # Other stages mount it, and buildah mounts no stage that it has in its cache, but any image.
        _build_stage(jobs[0], stage="uv", image=_UV)
        torch = Lock()
        # At once: one waits for the network while another copies files or compiles.
        with ThreadPoolExecutor(max_workers=len(jobs)) as pool:
            results = [pool.submit(_make, job, torch=torch) for job in jobs]
        for result in results:
            result.result()
    buildah.forget_old("localhost/kubetune/base", current=base_image(), count=_KEPT)
    for job in jobs:
        buildah.forget_old(f"localhost/{job.image.repository}", current=job.local, count=_KEPT)
    buildah.remove_unused()


def _make(job: _Job, *, torch: Lock) -> None:
    start = time.monotonic()
    if job.image.dockerfile == TRAINER.dockerfile:
        with torch:  # the layers that two images share are built by the first that comes
            _build_stage(job, stage="torch", image=_TORCH)
    _build_stage(job, stage=job.image.name, image=job.local)
    built = time.monotonic()
    buildah.push(job.local, reference=job.reference)
    progress.note(
        f"   {job.image.name}: {buildah.size(job.local)}, built in {built - start:.1f} s, "
        f"pushed in {time.monotonic() - built:.1f} s"
    )


def _build_stage(job: _Job, *, stage: str, image: str) -> None:
    options = ["--build-arg", f"BASE_IMAGE={base_image()}"]
    if backend := os.environ.get("UV_TORCH_BACKEND"):  # uv's own name: `make lock` obeys it too
        options += ["--build-arg", f"TORCH_BACKEND={backend}"]
    if stage != "uv":
        options += ["--build-context", f"uv=container-image://{_UV}"]
    buildah.build(image, dockerfile=job.image.dockerfile, context=job.context, target=stage, options=options)


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise ImageError(
            "Images are built by root: layers are mounted, and files of the images belong to root"
        )
    folder = paths.cache()
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free / 2**30
    if free < _SPACE and not buildah.exists(_TORCH):
        raise ImageError(f"{folder} has {free:.0f} GiB free, and the images need {_SPACE}")


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Have buildah's store alone in the block: a build removes what another one has left mounted."""
    path = paths.cache() / "images.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.note("Another command is building images: waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
