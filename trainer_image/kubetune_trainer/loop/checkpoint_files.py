"""How DeepSpeed writes the files of a checkpoint: as torch does, and hashed meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from deepspeed.runtime.checkpoint_engine.torch_checkpoint_engine import TorchCheckpointEngine
from typing_extensions import override

from ..store.hashing import hashing


class HashedFiles(TorchCheckpointEngine):
    """Takes the place of the engine that DeepSpeed has by default, which gives ``torch.save`` a path."""

    def __init__(self) -> None:
        super().__init__()
        self.written: dict[Path, str] = {}
        """SHA-256 by file."""

    @override
    def save(self, state_dict: Any, path: str) -> None:
        with hashing(Path(path)) as file:
            torch.save(state_dict, file)  # type: ignore[arg-type]
        self.written[Path(path)] = file.sha256
