"""One replica of several records: the one that holds the Lease."""

from __future__ import annotations

from kubetune.cluster.lease import Elector, Leases, new_identity

from ..telemetry import Telemetry
from .recorder import Recorder


async def lead(
    recorder: Recorder, leases: Leases, telemetry: Telemetry, *, namespace: str, name: str
) -> None:
    """Record whenever this replica holds the Lease of this name, for ever."""
    elector = Elector(leases, namespace=namespace, name=name, identity=new_identity())
    await elector.lead(recorder.run, on_change=telemetry.leading.set)
