"""What is learned, over all chat templates that there are at hand: it follows the server's own prompt.

The reference is transformers' renderer, given what vLLM gives it: for each learned turn the messages before it
with the generation prompt, and for what is learned the messages with the turn.
"""

from __future__ import annotations

import importlib.util
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import pytest

from kubetune_trainer.contract.errors import BadRow
from kubetune_trainer.data.chat import Conversation, check_messages, check_tools
from kubetune_trainer.template.source import chat_source
from kubetune_trainer.template.tokens import IGNORED, Tokeniser, TokenRow
from tests.support.chat_templates import CHATML, MISTRAL, stored_template
from tests.support.tiny_model import tiny_tokenizer

pytestmark = pytest.mark.trainer

STORED = sorted(
    path.stem for path in (Path(importlib.util.find_spec("trl").origin).parent / "chat_templates").glob("*.jinja")
)

