"""What a model can read: token ids that it has embeddings for, and positions where it has a table of them.

Beyond either, training fails with an index error, on a GPU with an assertion that names nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from ..contract.errors import ModelUnavailable
from ..data.findings import Finding, Findings
from .architecture import Architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a model; None where there is none."""

    vocabulary: int | None = None
    """Token ids that have an embedding."""
    positions: int | None = None
    """Tokens of the longest row that the model can be run on."""

    def require(self, input_ids: npt.ArrayLike, tokenizer: Any) -> None:
        """Refuse what the model would fail on.

        Raises:
            ModelUnavailable: the tokenizer does not belong to the model.
            Findings: the row is too long.
        """
        if self.vocabulary is not None and (highest := int(np.max(input_ids, initial=0))) >= self.vocabulary:
            token = tokenizer.convert_ids_to_tokens(highest)
            raise ModelUnavailable(
                f"The model has no embedding for the token {token!r:.40} of its tokenizer: its id is "
                f"{highest:,}, vocab_size in config.json is {self.vocabulary:,}. Use the tokenizer that "
                "belongs to the weights, or resize the embeddings."
            )
        if self.positions is not None and (length := np.size(input_ids)) > self.positions:
            message = (
                f"The row has {length:,} tokens, but the model has only {self.positions:,} "
                f"positions: set dataset.maxLength to at most {self.positions:,}."
            )
            raise Findings([Finding("too_long", message)])


def limits_of(architecture: Architecture) -> Limits:
    """Find a model's limits; positions that are computed (rotary ones, ALiBi) set none."""
    text = architecture.config.get_text_config()
    return Limits(
        vocabulary=getattr(text, "vocab_size", None),
        positions=architecture.context if _has_table(architecture) else None,
    )


def _has_table(architecture: Architecture) -> bool:
    """Whether a tensor has one row for each position, as in GPT-2, OPT (with two more) and GPT-J."""
    import torch
    from transformers import AutoModelForCausalLM

    config, context = architecture.config, architecture.context
    if context is None or getattr(config.get_text_config(), "rope_parameters", None) is not None:
        return False
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return any(
        tensor.dim() == 2 and tensor.shape[0] in (context, context + 2) and ("pos" in name or "wpe" in name)
        for name, tensor in chain(model.named_parameters(), model.named_buffers())
    )
