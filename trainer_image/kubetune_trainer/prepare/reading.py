"""What the rows of a job are read and tokenised with: the model's tokenizer and the job's chat template."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base.architecture import Architecture
from ..base.limits import limits_of
from ..contract.config import TrainerConfig
from ..contract.errors import ModelUnavailable, first_line
from ..contract.messages import ModelSummary
from ..data.control_tokens import ControlTokens
from ..template.ends import base_stops
from ..template.source import ChatSource, chat_source
from ..template.tokens import Tokeniser


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What rows are read and tokenised with."""

    tokenizer: Any
    source: ChatSource | None
    """The chat template."""
    tokeniser: Tokeniser
    control: ControlTokens

    @classmethod
    def of(
        cls, config: TrainerConfig, model: ModelSummary, kind: Architecture, *, texts: Path | None = None
    ) -> Reading:
        """That of a job; raises ModelUnavailable where the tokenizer cannot be used.

        ``texts`` has another tokenizer and chat template than the model: an artifact with what it brings.
        """
        from transformers import AutoTokenizer

        path = texts or Path(model.path)
        try:
            tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False, local_files_only=True)
        except Exception as error:  # whatever a wrong tokenizer file makes the library raise
            raise ModelUnavailable(
                f"The tokenizer of {config.model.uri} cannot be loaded: {first_line(error)}"
            ) from error
        rows = config.dataset
        source = chat_source(tokenizer, template=rows.chat_template, arguments=rows.chat_template_kwargs)
        tokeniser = Tokeniser(
            tokenizer,
            source,
            max_length=rows.max_length,
            on_too_long=rows.on_too_long,
            limits=limits_of(kind),
            stops=frozenset(base_stops(path)),
        )
        control = ControlTokens.of(tokenizer)
        return cls(tokenizer=tokenizer, source=source, tokeniser=tokeniser, control=control)
