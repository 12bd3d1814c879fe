"""Writes a release: images are made and pushed where they are missing, and all files of `dist/` from them."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from dev import paths, progress, shell
from dev.cluster.debian import RELEASE_PACKAGES
from dev.cluster.packages import ensure_packages
from dev.deploy import NAMESPACE
from dev.errors import DevError
from dev.images import buildah
from dev.images.base import age_of_base, own_base
from dev.images.build import ensure_images, one_at_a_time
from dev.images.inputs import IMAGES, NAMES
from dev.release import manifests, sbom
from dev.release.archive import write_archive
from dev.release.contents import debian_packages, locked_hashes, python_packages
from dev.release.published import Published, digest_elsewhere, look_up

SUMS = "SHA256SUMS"
_SPACE = 12  # GiB: archives of trainer and serving-cpu, 3 each, and the copy that the second is made from
_SMALL = {"operator", "gateway"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a person wants of a release."""

    out: Path
    """The folder, made anew."""

    pushed_to: str
    """The registry, with a path perhaps, that the images are pushed to."""

    registry: str
    """The registry that clusters pull from; empty where it is this machine's, which no cluster reaches."""

    archives: Collection[str]
    """The images to write archives of."""


def release(options: Options) -> None:
    """Write a release; raises DevError where `make_room` does, and where the disk is too small."""
    if unknown := set(options.archives) - {image.name for image in IMAGES}:
        raise DevError(f"No image is called {', '.join(sorted(unknown))}: there are {NAMES}")
    _check_disk(options)
    ensure_packages(RELEASE_PACKAGES)
    refs = ensure_images(registry=options.pushed_to)
    make_room(options.out)
    source = _source()
    images = [look_up(reference, registry=options.registry) for reference in refs.by_name.values()]
    outside = _outside()
    _write_manifests(options.out, images, outside, source)
    _write_bills(options.out / "sbom", images, outside, source)
    _write_archives(options.out / "images", images, options.archives, epoch=source.epoch)
    (options.out / "INSTALL.md").write_text(install_guide(images, outside, source, options.archives))
    with progress.step(SUMS):
        write_sums(options.out)


def install_guide(
    images: Sequence[Published], outside: sbom.Outside, source: sbom.Source, archives: Collection[str]
) -> str:
    """Return INSTALL.md: the steps with the names of these very images."""
    here = [image for image in images if image.name in archives]
    left_out = ", ".join(image.name for image in images if image.name not in archives)
    copies = [
        f"skopeo copy --preserve-digests \\\n"
        f"  oci-archive:images/{image.name}.tar:{image.full_name}:{image.tag} \\\n"
        f"  docker://$registry/{image.repository}:{image.tag}"
        for image in here
    ]
    imports = [f"ctr --namespace k8s.io images import images/{image.name}.tar" for image in here]
    return Template((Path(__file__).parent / "INSTALL.md").read_text()).safe_substitute(
        version=source.version,
        commit=source.commit,
        serving=f"{outside.repository}:{outside.tag}",
        copies="\n".join(copies),
        imports="\n".join(imports),
        names=f"\nThis release was written without archives of {left_out}.\n" if left_out else "",
        namespace=NAMESPACE,
    )


def write_sums(folder: Path) -> None:
    """Write the file that `sha256sum --check` reads, over all files of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    lines = [f"{_sha256(path)}  {path.relative_to(folder)}\n" for path in files]
    (folder / SUMS).write_text("".join(lines))


def make_room(folder: Path) -> None:
    """Make the folder of a release anew; raises DevError where it holds what no release wrote."""
    if folder.is_dir() and any(folder.iterdir()):
        if not ((folder / SUMS).is_file() and (folder / "sbom").is_dir()):
            raise DevError(
                f"{folder} has files and is no release: move them away, or name another folder with --out"
            )
        shutil.rmtree(folder)
    for name in ("sbom", "images"):
        (folder / name).mkdir(parents=True)
    # First, so that a release that broke off is replaced by the next one.
    (folder / SUMS).touch()


def _check_disk(options: Options) -> None:
    options.out.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(options.out.parent).free / 2**30
    if set(options.archives) - _SMALL and free < _SPACE:
        raise DevError(
            f"{options.out.parent} has {free:.0f} GiB free, and image archives need {_SPACE}: make room, name"
            " another folder with --out, or leave archives out (make release ARCHIVES=operator)"
        )


def _source() -> sbom.Source:
    git = ("git", "-C", paths.REPOSITORY)
    commit = shell.output([*git, "rev-parse", "HEAD"]).strip()
    if shell.output([*git, "status", "--porcelain", "--untracked-files=no"]).strip():
        commit += "-dirty"
        progress.note("The checkout has changes that no commit has: the release says so.")
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or shell.output([*git, "log", "-1", "--format=%ct"])
    return sbom.Source(version=manifests.chart_version(), commit=commit, epoch=int(epoch))


def _outside() -> sbom.Outside:
    named = manifests.default_serving_image()
    repository, tag = named["repository"], named["tag"]
    digest = digest_elsewhere(f"{repository}:{tag}")
    if digest is None:
        progress.note(f"{repository}:{tag} cannot be looked up from here: values.yaml says how to pin it.")
    return sbom.Outside(repository=repository, tag=tag, digest=digest or "")


def _write_manifests(
    folder: Path, images: Sequence[Published], outside: sbom.Outside, source: sbom.Source
) -> None:
    with progress.step("Chart, values.yaml, install.yaml"):
        manifests.package_chart(folder, epoch=source.epoch)
        text = manifests.values_text(images, outside, version=source.version)
        (folder / "values.yaml").write_text(text)
        (folder / "install.yaml").write_text(manifests.install_manifest(manifests.values(images, outside)))


def _write_bills(
    folder: Path, images: Sequence[Published], outside: sbom.Outside, source: sbom.Source
) -> None:
    if late := age_of_base():
        progress.note(late)
    if (own := own_base()) and "@sha256:" not in own:
        progress.note(f"KUBETUNE_BASE_IMAGE is {own}, which has no digest: another image may have this name.")
    (folder / "chart.cdx.json").write_text(sbom.of_chart(images, [outside], source))
    for image in images:
        with progress.step(f"Bill of materials of {image.name}"), one_at_a_time():
            local = f"localhost/{image.repository}:{image.tag}"
            with buildah.mounted(local, reference=image.source) as root:
                debian, python = debian_packages(root), python_packages(root, _locked(image.name))
        (folder / f"{image.name}.cdx.json").write_text(sbom.of_image(image, debian, python, source))
        unlocked = ", ".join(package.name for package in python if not package.hashes)
        progress.note(
            f"   {len(debian)} of Debian, {len(python)} of Python"
            + (f", of which the lock does not have {unlocked}" if unlocked else ", all as locked")
        )


def _locked(name: str) -> dict[tuple[str, str], tuple[str, ...]]:
    [image] = [image for image in IMAGES if image.name == name]
    locks = [source for source in image.sources if source.startswith("requirements/")]
    return dict(pin for lock in locks for pin in locked_hashes((paths.REPOSITORY / lock).read_text()))


def _write_archives(
    folder: Path, images: Sequence[Published], wanted: Collection[str], *, epoch: int
) -> None:
    for image in images:
        if image.name in wanted:
            with progress.step(f"images/{image.name}.tar"):
                write_archive(image, folder / f"{image.name}.tar", epoch=epoch)


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
