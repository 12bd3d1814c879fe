"""The chart's values that name our images: said once for what is installed, pushed and released."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

PLACES: Final[Mapping[str, str]] = {
    "operator": "image",
    "trainer": "settings.trainerImage",
    "serving-cpu": "settings.servingCpuImage",
    "gateway": "gateway.image",
}
"""The path of an image's values by the image's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """A reference of an image of ours in a registry."""

    registry: str
    """With a path perhaps: the chart's `imageRegistry`."""
    repository: str
    """How the chart names it below that: `kubetune/operator`."""
    tag: str

    @classmethod
    def parse(cls, reference: str) -> Self:
        """Read `registry/path/kubetune/operator:tag`."""
        path, _, tag = reference.rpartition(":")
        *registry, family, name = path.split("/")
        return cls(registry="/".join(registry), repository=f"{family}/{name}", tag=tag)


def image_values(images: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return the values that give each image, by its name, such as `{"repository": ..., "tag": ...}`."""
    values: dict[str, Any] = {}
    for name, image in images.items():
        place(values, PLACES[name], image)
    return values


def place(values: dict[str, Any], path: str, value: object) -> None:
    """Set a value by its dotted path."""
    *parents, name = path.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
    values[name] = dict(value) if isinstance(value, Mapping) else value
