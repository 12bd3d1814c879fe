"""Loads torch and what stands on it."""

from __future__ import annotations

import gc


def load() -> None:
    """Import what training needs, with the garbage collector at rest.

    It would walk through the half million objects of these modules again and again and find nothing, which is
    0.8 s of 4 of a rank's start; frozen, they are left out of its later rounds too.
    """
    gc.disable()
    try:
        import deepspeed  # noqa: F401 - loaded, and used elsewhere
        import peft  # noqa: F401

        from ..artifact import publish  # noqa: F401
        from . import trainer  # noqa: F401
    finally:
        gc.freeze()
        gc.enable()
