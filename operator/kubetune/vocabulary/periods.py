"""The operator's own times: how often it looks, asks and writes."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

LOOK_AFTER: Final = timedelta(seconds=10)
"""A child that is not where it should be this long has its pods and Events looked at, again and again."""

TELL_AFTER: Final = timedelta(seconds=15)
"""A request that keeps failing this long is told in the conditions: shorter ones nobody needs to know of."""

PROGRESS_PERIOD: Final = timedelta(seconds=30)
"""Progress is written to the status at most this often; curves go to Prometheus."""

RELIST_PERIOD: Final = timedelta(seconds=60)
"""How often the index is compared with a metadata-only list: bounds how long a missed deletion lives."""
