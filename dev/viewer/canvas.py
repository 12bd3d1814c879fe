"""A page that is drawn on in pixels from its top left corner."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch, Rectangle
from PIL import Image

from dev.viewer.theme import Theme

_DPI = 100
_COLORS = 256
"""Of a picture."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of the page, in pixels."""

    x: float
    y: float
    width: float
    height: float

    def inside(self, left: float, top: float, right: float, bottom: float) -> Box:
        """Return what is left within margins."""
        return Box(self.x + left, self.y + top, self.width - left - right, self.height - top - bottom)


class Canvas:
    """The page."""

    def __init__(self, width: int, height: int, theme: Theme) -> None:
        self.theme = theme
        self._width, self._height = width, height
        self._figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=theme.page)
        self._agg = FigureCanvasAgg(self._figure)
        self._page = self._figure.add_axes((0, 0, 1, 1))
        self._page.set_axis_off()
        self._page.set_xlim(0, width)
        self._page.set_ylim(height, 0)

    def rectangle(self, box: Box, color: str, *, border: str | None = None, round_: float = 0) -> None:
        """Fill a rectangle."""
        if round_:
            style = f"round,pad=0,rounding_size={round_}"
            patch: Rectangle | FancyBboxPatch = FancyBboxPatch(
                (box.x, box.y), box.width, box.height, boxstyle=style, linewidth=0.8
            )
        else:
            patch = Rectangle((box.x, box.y), box.width, box.height, linewidth=0.8 if border else 0)
        patch.set_facecolor(color)
        patch.set_edgecolor(border or color)
        self._page.add_patch(patch)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 12,
        color: str | None = None,
        bold: bool = False,
        across: str = "left",
        room: float | None = None,
    ) -> None:
        """Write words whose middle is at height `y`, shortened where they are wider than `room`."""
        if room is not None:
            words = self.shorten(words, room, size=size, bold=bold)
        self._page.text(
            x,
            y,
            words,
            fontsize=size * 72 / _DPI,
            color=color or self.theme.text,
            fontweight="bold" if bold else "normal",
            horizontalalignment=across,
            verticalalignment="center_baseline",
            parse_math=False,
        )

    def width_of(self, words: str, *, size: float, bold: bool = False) -> float:
        """Return how many pixels words take."""
        font = FontProperties(size=size * 72 / _DPI, weight="bold" if bold else "normal")
        renderer = self._agg.get_renderer()  # type: ignore[no-untyped-call]
        width, _, _ = renderer.get_text_width_height_descent(words, font, ismath=False)
        return float(width)

    def shorten(self, words: str, room: float, *, size: float, bold: bool = False) -> str:
        """Return words that fit, with an ellipsis for what is cut."""
        if self.width_of(words, size=size, bold=bold) <= room:
            return words
        while words and self.width_of(f"{words}…", size=size, bold=bold) > room:
            words = words[:-1]
        return f"{words}…" if words else ""

    def size_that_fits(self, words: str, room: float, *, most: float, bold: bool = False) -> float:
        """Return the largest size of letters in which words fit."""
        width = self.width_of(words, size=most, bold=bold)
        return most if width <= room else max(8.0, most * room / width)

    def axes(self, box: Box) -> Axes:
        """Return a graph's axes in a rectangle."""
        return self._figure.add_axes(self.place(box), facecolor=self.theme.panel)

    def place(self, box: Box) -> tuple[float, float, float, float]:
        """Return a rectangle as shares of the page from its lower left corner, as axes have it."""
        return (
            box.x / self._width,
            1 - (box.y + box.height) / self._height,
            box.width / self._width,
            box.height / self._height,
        )

    def save(self, path: Path) -> None:
        """Write a PNG."""
        self._agg.draw()  # type: ignore[no-untyped-call]
        pixels = bytes(self._agg.buffer_rgba())  # type: ignore[no-untyped-call]
        picture = Image.frombytes("RGBA", self._agg.get_width_height(), pixels)
        flat = _with_few_colors(picture.convert("RGB"), self.theme)
        flat.save(path, optimize=True)


def _with_few_colors(picture: Image.Image, theme: Theme) -> Image.Image:
    """Return a picture whose file is a third: the theme's colours as they are, and the most usual others."""
    own = [channel for color in theme.colors() for channel in bytes.fromhex(color[1:])]
    others = picture.quantize(_COLORS - len(own) // 3, dither=Image.Dither.NONE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*own, *others])
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)
