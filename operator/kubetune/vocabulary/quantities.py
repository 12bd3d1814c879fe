"""Kubernetes quantities ("500m", "4Gi") as numbers, and back. Pure."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal, InvalidOperation
from functools import lru_cache
from typing import Final

_MEBI: Final = 2**20
_SUFFIXES: Final = {
    "m": Decimal("0.001"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(_MEBI),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}


@lru_cache(maxsize=1024)  # the same few, asked at every look
def amount_of(quantity: str) -> Decimal:
    """Value of a quantity; 0 when it is none."""
    suffix = next((s for s in sorted(_SUFFIXES, key=len, reverse=True) if quantity.endswith(s)), "")
    try:
        return Decimal(quantity.removesuffix(suffix)) * _SUFFIXES.get(suffix, Decimal(1))
    except InvalidOperation:
        return Decimal(0)


def bytes_of(quantity: str) -> int:
    """Value of a quantity as a whole number."""
    return int(amount_of(quantity))


def mebibytes(size: int) -> str:
    """Bytes as a quantity, rounded up to whole mebibytes."""
    return f"{int((Decimal(size) / _MEBI).to_integral_value(ROUND_CEILING))}Mi"
