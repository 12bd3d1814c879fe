"""Grafana's colours, light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PALETTE: Sequence[str] = (
    "#73BF69",
    "#F2CC0C",
    "#5794F2",
    "#FF780A",
    "#F2495C",
    "#B877D9",
    "#8AB8FF",
    "#37872D",
    "#E0B400",
    "#C15C17",
    "#890F02",
    "#705DA0",
    "#6ED0E0",
    "#CA95E5",
)
"""Of series, in their order; after the last it begins anew."""


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours by what has them."""

    name: str
    page: str
    panel: str
    border: str
    text: str
    faint: str
    """Of titles of axes and of what is secondary."""
    grid: str
    unfilled: str
    link: str
    named: Mapping[str, str]
    """Grafana's names of colours, which thresholds have."""

    def color(self, name: str) -> str:
        """Return a colour that a threshold names."""
        return self.named[name]

    def colors(self) -> list[str]:
        """Return all of them, with those of series."""
        own = (self.page, self.panel, self.border, self.text, self.faint, self.grid, self.unfilled, self.link)
        return list(dict.fromkeys((*own, *self.named.values(), *PALETTE)))


DARK = Theme(
    "dark",
    page="#111217",
    panel="#181B1F",
    border="#2A2C33",
    text="#CCCCDC",
    faint="#8E8EA0",
    grid="#2C2F36",
    unfilled="#26292F",
    link="#6E9FFF",
    named={"green": "#73BF69", "orange": "#FF9830", "red": "#F2495C", "blue": "#5794F2"},
)
LIGHT = Theme(
    "light",
    page="#F4F5F5",
    panel="#FFFFFF",
    border="#E0E1E3",
    text="#24292E",
    faint="#6A6D73",
    grid="#E6E7E9",
    unfilled="#EDEEF0",
    link="#1F62E0",
    named={"green": "#299C46", "orange": "#E8710A", "red": "#D10E5C", "blue": "#1F60C4"},
)
THEMES = (LIGHT, DARK)
