"""spec.artifact: an adapter or a model that was trained elsewhere, in the place of training."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from pydantic import StringConstraints

from kubetune.api.base import ATOMIC, SpecModel
from kubetune.api.v1alpha1.model import (
    CLAIM,
    CREDENTIALS_RULE,
    OBJECT,
    PATH,
    REPOSITORY,
    Credentials,
    Uri,
    uri_rules,
)

_FOLDER: Final = REPOSITORY + rf"(@[A-Za-z0-9][A-Za-z0-9._-]{{0,95}})?(/{PATH})?"
_Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]


class Artifact(SpecModel):
    """An adapter or a full model that exists already: it is verified and served instead of trained."""

    model_config = ATOMIC

    rules: ClassVar = (
        *uri_rules(
            _FOLDER,
            OBJECT,
            CLAIM,
            message="not an artifact URI; write hf://org/name[@revision][/path], s3://bucket/prefix or "
            "pvc://claim/path, without a slash at the end",
        ),
        CREDENTIALS_RULE,
    )

    uri: Uri
    """The folder: hf://org/name[@revision][/path], s3://bucket/prefix, or pvc://claim/path for a claim in
    the job's namespace. A LoRA adapter as PEFT writes it (adapter_config.json, adapter_model.safetensors),
    trained on spec.model, or the safetensors weights of a full fine-tune of it."""
    digest: _Digest | None = None
    """What the folder must hold: status.artifact.digest of the job that made it, or what
    status.artifact.sourceDigest of an earlier job said of it. Without it whatever lies there is taken, and
    its digest recorded."""
    credentials: Credentials | None = None
    """Secret for a private folder."""
