"""What makes a server write prompts, and stop, as the artifact was trained."""

from __future__ import annotations

import json

from kubetune_trainer.contract.config import OUTPUT_MOUNT, TrainerConfig
from kubetune_trainer.contract.messages import ArtifactSummary


def chat_arguments(config: TrainerConfig, artifact: ArtifactSummary) -> list[str]:
    """Options of vLLM: chat template, its arguments, form of content, and tokens to stop at.

    Artifacts of earlier trainers have none.
    """
    path = f"{OUTPUT_MOUNT}/{artifact.path}"
    args: list[str] = []
    if artifact.chat_content is not None:
        # Else some models' servers choose a tokenizer with a template of its own.
        args += ["--tokenizer-mode", "hf", "--chat-template", f"{path}/chat_template.jinja"]
        args += ["--chat-template-content-format", artifact.chat_content]
        if kwargs := config.dataset.chat_template_kwargs:
            args += ["--default-chat-template-kwargs", json.dumps(kwargs, sort_keys=True)]
    if artifact.generation_config:
        args += ["--generation-config", path]
    return args
