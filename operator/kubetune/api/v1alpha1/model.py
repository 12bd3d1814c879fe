"""spec.model: the base model, and the URI grammar that model and dataset share."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Final

from pydantic import StringConstraints

from kubetune.api.base import ATOMIC, DNS_NAME, ObjectName, Rule, SpecModel

_SEGMENT: Final = r"[^/\x00-\x20?#]+"
PATH: Final = f"{_SEGMENT}(/{_SEGMENT})*"
REPOSITORY: Final = r"hf://[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
BUCKET: Final = r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
OBJECT: Final = f"{BUCKET}/{PATH}"
CLAIM: Final = f"pvc://{DNS_NAME}/{PATH}"

_DOTS: Final = r"/[.][.]?(/|$)"

Uri = Annotated[str, StringConstraints(min_length=1, max_length=512)]


def uri_rules(*forms: str, message: str) -> tuple[Rule, Rule]:
    """Rules of a ``uri`` field that takes one of these forms."""
    pattern = re.compile("|".join(forms))
    return (
        Rule(
            cel=f"self.uri.matches(r'^({pattern.pattern})$')",
            check=lambda source: pattern.fullmatch(source.uri) is not None,
            path=".uri",
            message=message,
        ),
        Rule(
            cel=f"!self.uri.matches(r'{_DOTS}')",
            check=lambda source: re.search(_DOTS, source.uri) is None,
            path=".uri",
            message="a path segment is . or ..; write the path without them",
        ),
    )


CREDENTIALS_RULE: Final = Rule(
    cel="!has(self.credentials) || self.uri.startsWith('hf://') || self.uri.startsWith('s3://')",
    check=lambda source: source.credentials is None or source.uri.startswith(("hf://", "s3://")),
    path=".credentials",
    message="only hf:// and s3:// sources take credentials; remove credentials",
)


class Credentials(SpecModel):
    """A Secret with the keys that the URI's scheme needs."""

    secret_name: ObjectName
    """Secret in the job's namespace. hf:// reads HF_TOKEN; s3:// reads AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY and, optionally, AWS_ENDPOINT_URL and AWS_REGION. Only the prepare pod gets them."""


class Model(SpecModel):
    """The base model that is fine-tuned."""

    model_config = ATOMIC

    rules: ClassVar = (
        *uri_rules(
            REPOSITORY,
            OBJECT,
            CLAIM,
            message="not a model URI; write hf://org/name, s3://bucket/prefix or pvc://claim/path, "
            "without a slash at the end",
        ),
        Rule(
            cel="!has(self.revision) || self.uri.startsWith('hf://')",
            check=lambda model: model.revision is None or model.uri.startswith("hf://"),
            path=".revision",
            message="only hf:// models have revisions; remove revision",
        ),
        CREDENTIALS_RULE,
    )

    uri: Uri
    """Where the model is: hf://org/name, s3://bucket/prefix, or pvc://claim/path for a claim in the job's
    namespace. A directory with safetensors weights, configuration and tokenizer."""
    revision: (
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=200)] | None
    ) = None
    """Branch, tag or commit of an hf:// model. It is resolved to a commit, recorded in status.model.revision.
    Default: the repository's default branch."""
    credentials: Credentials | None = None
    """Secret for a private model."""
