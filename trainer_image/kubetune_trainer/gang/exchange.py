"""What ranks say to each other beside gradients: JSON through tensors, signed with the attempt's token.

torch's object collectives unpickle what arrives, so that whoever takes a rank's place on the network runs
code in all others. Here a message is a digest and JSON, and the digest is compared before a byte of the JSON
is read. It is an HMAC-SHA256 (RFC 2104) over the number of the exchange, the sender's rank and the JSON, so
that a message cannot be repeated, or stand for another rank's.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..contract.errors import TrainerError

if TYPE_CHECKING:
    import torch

_DIGEST_BYTES = 32
_MOST_BYTES = 256 * 1024 * 1024
"""Of one message: the files of a checkpoint of thousands of ranks take less, and a wrong length no memory."""

_PATIENCE = 120.0
"""Seconds until a rank must see the token: a network file system shows a new name when it likes."""

_POLL = 0.5

_REFUSED = (
    "A rank sent what does not carry the token of this attempt: another process has taken part under its "
    "number, or the pods do not have the same output volume. Let a NetworkPolicy keep other pods from this "
    "job's, and give it a volume that all its nodes share (ReadWriteMany)."
)


@dataclass(slots=True, kw_only=True)
class Exchange:
    """Messages of JSON between all ranks of a gloo group; every rank must take part in the same order."""

    rank: int
    world_size: int
    group: Any
    token: bytes
    """What only the pods of this attempt know."""
    _number: int = field(default=0, init=False)

    def broadcast(self, value: Any) -> Any:
        """What rank 0 says, on every rank.

        Raises:
            TrainerError: what arrived was not sent by this attempt's rank 0.
        """
        import torch.distributed as dist

        self._number += 1
        if self.world_size == 1:
            return json.loads(json.dumps(value))
        own = self._sealed(value) if self.rank == 0 else b""
        length = _numbers([len(own)])
        dist.broadcast(length, src=0, group=self.group)
        message = _bytes(own, _checked(int(length)))
        dist.broadcast(message, src=0, group=self.group)
        return self._opened(message, sender=0)

    def gather(self, value: Any) -> list[Any]:
        """What every rank says, in order of rank; it is also a barrier.

        Raises:
            TrainerError: what arrived was not sent by this attempt's ranks.
        """
        import torch
        import torch.distributed as dist

        self._number += 1
        if self.world_size == 1:
            return [json.loads(json.dumps(value))]
        own = self._sealed(value)
        lengths = [_numbers([0]) for _ in range(self.world_size)]
        dist.all_gather(lengths, _numbers([len(own)]), group=self.group)
        sizes = [_checked(int(length)) for length in lengths]
        width = max(sizes)
        messages = [torch.zeros(width, dtype=torch.uint8) for _ in range(self.world_size)]
        dist.all_gather(messages, _bytes(own, width), group=self.group)
        return [
            self._opened(message[:size], sender=sender)
            for sender, (message, size) in enumerate(zip(messages, sizes, strict=True))
        ]

    def _sealed(self, value: Any) -> bytes:
        text = json.dumps(value).encode()
        return self._digest(text, self.rank) + text

    def _opened(self, message: torch.Tensor, *, sender: int) -> Any:
        told = message.numpy().tobytes()
        digest, text = told[:_DIGEST_BYTES], told[_DIGEST_BYTES:]
        if not hmac.compare_digest(digest, self._digest(text, sender)):
            raise TrainerError(_REFUSED)
        return json.loads(text)

    def _digest(self, text: bytes, sender: int) -> bytes:
        return hmac.digest(self.token, b"%d %d " % (self._number, sender) + text, hashlib.sha256)


def agreed_token(tokens: Callable[[], Iterable[bytes]], *, rank: int, world_size: int, group: Any) -> bytes:
    """The token that rank 0 has, found by every rank where only the attempt's pods can read.

    ``tokens`` tells what this rank finds there now. Rank 0 says a digest, by which the others know it.

    Raises:
        TrainerError: this rank does not find it.
    """
    import torch.distributed as dist

    if rank == 0:
        (token,) = tokens()
        if world_size > 1:
            dist.broadcast(_bytes(_fingerprint(token), _DIGEST_BYTES), src=0, group=group)
        return token
    said = _bytes(b"", _DIGEST_BYTES)
    dist.broadcast(said, src=0, group=group)
    deadline = time.monotonic() + _PATIENCE
    while True:
        for token in tokens():
            if hmac.compare_digest(_fingerprint(token), said.numpy().tobytes()):
                return token
        if time.monotonic() >= deadline:
            raise TrainerError(_REFUSED)
        time.sleep(_POLL)


def _fingerprint(token: bytes) -> bytes:
    return hmac.digest(token, b"the token of the attempt", hashlib.sha256)


def _checked(length: int) -> int:
    if not _DIGEST_BYTES <= length <= _MOST_BYTES:
        raise TrainerError(_REFUSED)
    return length


def _numbers(values: list[int]) -> torch.Tensor:
    import torch

    return torch.tensor(values, dtype=torch.int64)


def _bytes(content: bytes, width: int) -> torch.Tensor:
    """``content``, with zeros up to ``width``; zeros alone where another rank's is received."""
    import torch

    tensor = torch.zeros(width, dtype=torch.uint8)
    if content:
        tensor[: len(content)] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return tensor
