"""The methods by the name that ``training.method`` has."""

from __future__ import annotations

from .method import Method
from .sft import SFT

METHODS: dict[str, type[Method]] = {"SFT": SFT}
