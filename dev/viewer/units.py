"""Values as Grafana writes them, for the units that the dashboards have."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from dev.errors import DevError

_SECONDS = (
    (1e-6, 1e9, " ns"),
    (1e-3, 1e6, " µs"),
    (1, 1e3, " ms"),
    (60, 1, " s"),
    (3600, 1 / 60, " mins"),
    (86400, 1 / 3600, " hours"),
    (604800, 1 / 86400, " days"),
    (31536000, 1 / 604800, " weeks"),
    (math.inf, 1 / 31536000, " years"),
)
"""Below which value, by what it is multiplied, and what it is then called."""
_THOUSANDS = ("", " K", " Mil", " Bil", " Tri")
_SI = ("", "K", "M", "G", "T")
_BINARY = (" B", " KiB", " MiB", " GiB", " TiB", " PiB")

UNITS = ("short", "none", "percentunit", "s", "bytes", "binBps", "reqps", "sci", "dateTimeAsIso")
"""Units that are known."""


def show(value: float, unit: str, decimals: int | None = None) -> str:
    """Return a value with its unit. Raises DevError for a unit that is not known."""
    if unit not in UNITS:
        raise DevError(f"The viewer does not know the unit {unit}, but {', '.join(UNITS)}.")
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞"
    match unit:
        case "percentunit":
            return f"{_number(value * 100, decimals)}%"
        case "s":
            return _seconds(value, decimals)
        case "bytes":
            return _scaled(value, 1024, _BINARY, decimals)
        case "binBps":
            return f"{_scaled(value, 1024, _BINARY, decimals)}/s"
        case "reqps":
            number = _scaled(value, 1000, _SI, decimals)
            return f"{number} req/s"
        case "sci":
            return "0" if value == 0 else _exponent(f"{value:.{2 if decimals is None else decimals}e}")
        case "dateTimeAsIso":
            return datetime.fromtimestamp(value / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        case "none":
            return _number(value, decimals)
        case _:
            return _scaled(value, 1000, _THOUSANDS, decimals)


def scale_of(value: float, unit: str) -> float:
    """Return what a value is divided by before it is written: round numbers of it are round in the text."""
    match unit:
        case "s" if value:
            return 1 / next(row[1] for row in _SECONDS if abs(value) < row[0])
        case "bytes" | "binBps" if value:
            return float(1024 ** max(0, math.floor(math.log(abs(value), 1024))))
        case _:
            return 1.0


def _seconds(value: float, decimals: int | None) -> str:
    if value == 0:
        return "0 s"
    below = next(row for row in _SECONDS if abs(value) < row[0])
    return f"{_number(value * below[1], decimals)}{below[2]}"


def _scaled(value: float, base: int, names: tuple[str, ...], decimals: int | None) -> str:
    place = 0
    while abs(value) >= base and place < len(names) - 1:
        value, place = value / base, place + 1
    return f"{_number(value, decimals)}{names[place]}"


def _number(value: float, decimals: int | None) -> str:
    return f"{value:.{_decimals(value) if decimals is None else decimals}f}"


def _decimals(value: float) -> int:
    """Return how many decimals Grafana chooses: those of three significant digits, none for whole numbers."""
    if value == 0 or value % 1 == 0:
        return 0
    return min(max(0, 2 - math.floor(math.log10(abs(value)))), 10)


def _exponent(text: str) -> str:
    """Return 1.0e-4 for Python's 1.0e-04."""
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent):+d}"
