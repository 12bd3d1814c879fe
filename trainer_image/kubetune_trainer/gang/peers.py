"""The other ranks: how this one joins them, agrees with them, and notices that one is lost.

Decisions travel over a gloo group of their own, beside the gradients' NCCL or gloo: they are a few bytes, and
must not wait for a GPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from ..contract import errors
from ..contract.config import TrainingConfig
from ..contract.errors import PeerLost, TrainerError
from .exchange import Exchange, agreed_token

if TYPE_CHECKING:
    import torch

Number = TypeVar("Number", int, float)

_PATIENCE = timedelta(days=1)
"""How long ranks wait while one of them reads or writes a whole model: hours, where the volume is slow. They
still notice at once when its process ends."""

_LOST_MARKS = (
    "gloo",
    "NCCL",
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "Socket",
)
"""Parts of the plain RuntimeErrors that gloo and NCCL raise when a peer is gone or a collective timed out."""

_NETWORK_MARKS = ("connect", "socket", "closed by", "remote")
"""Parts of what NCCL calls a system error when the other end of a connection is gone."""

_LONGEST, _MOST_LINES = 300, 3
"""Characters of a line, and lines, that go into a sentence: a cause is short, and a stack trace is none."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Peers:
    """All ranks of the attempt, seen from this one."""

    rank: int
    local_rank: int
    world_size: int
    device: torch.device
    exchange: Exchange
    patient_exchange: Exchange

    def broadcast(self, value: Any) -> Any:
        """What rank 0 says, on every rank; it goes through JSON."""
        return self.exchange.broadcast(value)

    def gather(self, value: Any) -> list[Any]:
        """What every rank says, in order of rank, through JSON; it is also a barrier."""
        return self.exchange.gather(value)

    def told_by_first(self, action: Callable[[], Any]) -> Any:
        """Let rank 0 do what may take long, and tell all ranks what it returns, through JSON.

        Raises:
            TrainerError: rank 0 failed. Every rank raises it, or the others would report a success, or hang.
        """
        failure: Exception | None = None
        said: dict[str, Any] = {}
        if self.rank == 0:
            try:
                said = {"value": action()}
            except Exception as error:  # told first: the others wait
                failure, said = error, {"error": errors.as_json(error)}
        said = self.patient_exchange.broadcast(said)
        if failure is not None:
            raise failure
        if "error" in said:
            raise errors.from_json(said["error"])
        return said["value"]

    def sum(self, values: list[Number]) -> list[Number]:
        """Sum numbers over all ranks: whole ones exactly, others in float64."""
        return self._reduce(values, "SUM")

    def any_of(self, flags: list[bool]) -> list[bool]:
        """For each flag whether one rank has it set."""
        return [bool(value) for value in self._reduce([int(flag) for flag in flags], "MAX")]

    def largest(self, value: int) -> int:
        """The largest of what the ranks say."""
        return self._reduce([value], "MAX")[0]

    def _reduce(self, values: list[Number], operation: str) -> list[Number]:
        import torch
        import torch.distributed as dist

        if self.world_size == 1:
            return values
        whole = all(isinstance(value, int) for value in values)
        tensor = torch.tensor(values, dtype=torch.int64 if whole else torch.float64)
        dist.all_reduce(tensor, op=getattr(dist.ReduceOp, operation), group=self.exchange.group)
        summed: list[Number] = tensor.tolist()
        return summed


def join(training: TrainingConfig, tokens: Callable[[], Iterable[bytes]]) -> Peers:
    """Meet the other ranks at the address that the parent has set; ``tokens`` finds the attempt's token.

    It comes before TrainingArguments: they would join with a timeout of their own, which is ignored on
    CPU, and a silent peer would then hang this rank for ever."""
    import torch
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import _set_pg_timeout

    local_rank = int(os.environ["LOCAL_RANK"])
    timeout = timedelta(seconds=training.collective_timeout_seconds)
    if training.gpus_per_node:
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", timeout=timeout, device_id=device)
    else:
        device = torch.device("cpu")
        dist.init_process_group("gloo", timeout=timeout)
    import deepspeed

    # Its collectives in shared memory serve inference alone, and it would compile them here, where there is
    # no compiler. With nothing in this table of what could be compiled, it neither does nor runs probes.
    deepspeed.ops.__compatible_ops__ = {}
    deepspeed.init_distributed(verbose=False)  # adopts the group; ZeRO-3 needs it before the model is loaded
    patient_group = dist.new_group(backend="gloo", timeout=timeout)
    # Not before: a rank that is lost while they meet must not be waited for so long.
    _set_pg_timeout(_PATIENCE, patient_group)
    rank, world_size = dist.get_rank(), dist.get_world_size()
    group = dist.new_group(backend="gloo", timeout=timeout)
    token = agreed_token(tokens, rank=rank, world_size=world_size, group=group)

    def exchange(group: Any, name: bytes) -> Exchange:
        return Exchange(rank=rank, world_size=world_size, group=group, token=token + name)

    return Peers(
        rank=rank,
        local_rank=local_rank,
        world_size=world_size,
        device=device,
        exchange=exchange(group, b""),
        patient_exchange=exchange(patient_group, b" patient"),
    )


def explain(error: BaseException) -> TrainerError | None:
    """Say what an error of the communication means; None for an error of any other kind."""
    import torch.distributed as dist

    backend = isinstance(error, dist.DistStoreError | dist.DistNetworkError | dist.DistBackendError)
    marked = isinstance(error, RuntimeError) and any(mark in str(error) for mark in _LOST_MARKS)
    if not backend and not marked:
        return None
    text = _told(error)
    if "shared memory" in text or "/dev/shm" in text:
        return TrainerError(f"NCCL found no room in /dev/shm ({text}). Raise the platform's setting shmSize.")
    if "unhandled system error" in text and not any(mark in text.lower() for mark in _NETWORK_MARKS):
        return TrainerError(
            f"NCCL failed on this node ({text}). Most often /dev/shm is too small: raise the platform's "
            "setting shmSize."
        )
    return PeerLost(f"Another rank was lost, or did not answer in time: {text}")


def _told(error: BaseException) -> str:
    """The first line, and what NCCL says under "Last error:", which is the cause."""
    first, _, rest = (str(error).strip() or type(error).__name__).partition("\n")
    _, _, cause = rest.partition("Last error:")
    lines = [
        line.strip() for line in cause.partition("Exception raised from")[0].splitlines() if line.strip()
    ]
    return "; ".join([first.strip()[:_LONGEST], *(line[:_LONGEST] for line in lines[:_MOST_LINES])])
