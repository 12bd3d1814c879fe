"""The platform's prices, and what pods cost by them. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from ..api.base import DecimalString, SpecModel

_HOUR: Final = 3600
_PLACES: Final = Decimal("0.0001")
_Price = Annotated[DecimalString, Field(le=1_000_000)]


class Prices(SpecModel):
    """What an hour costs: decimals in quotes, as elsewhere in the API."""

    gpu_hour: _Price = Decimal(0)
    """Of one GPU."""
    pod_hour: _Price = Decimal(0)
    """Of one pod, without its GPUs."""
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    """Code of ISO 4217, such as USD."""


def cost_of(prices: Prices, *, gpu_seconds: int, pod_seconds: int) -> str:
    """Return the cost in the prices' currency, to four places: a small job costs less than a cent."""
    cost = (prices.gpu_hour * gpu_seconds + prices.pod_hour * pod_seconds) / _HOUR
    return f"{cost.quantize(_PLACES):f}"
