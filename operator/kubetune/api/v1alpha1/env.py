"""Environment of a container: values, references inside the namespace, and names that are KubeTune's own."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from pydantic import Field, StringConstraints

from kubetune.api.base import FileKey, ListMap, ObjectName, Rule, SpecModel
from kubetune.api.base import cel_list as listed
from kubetune.api.v1alpha1.volumes import FieldSelector, one_of

RESERVED_ENV: Final = (
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "NNODES",
    "NPROC_PER_NODE",
    "JOB_COMPLETION_INDEX",
    "DS_ACCELERATOR",
    "HF_HUB_OFFLINE",
)
"""Set by KubeTune: rendezvous, accelerator, and that nothing is downloaded while training."""

RESERVED_ENV_PREFIXES: Final = ("KUBETUNE_", "MODEL_", "ARTIFACT_", "TRAIN_", "VALIDATION_")
"""Prefixes of settings and credentials."""

SERVER_ENV: Final = ("VLLM_API_KEY", "VLLM_ALLOW_RUNTIME_LORA_UPDATING")
"""Who may ask a server, and for which models: KubeTune has fields for that, and sets these for servers."""

_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)]
_Flag = Annotated[bool, Field(strict=True)]
_RESERVED: Final = "is reserved for KubeTune; choose another name"


def _is_reserved(name: str) -> bool:
    return name in RESERVED_ENV or name.startswith(RESERVED_ENV_PREFIXES)


class KeyReference(SpecModel):
    """A key of a ConfigMap or Secret."""

    name: ObjectName
    """Object in the job's namespace."""
    key: FileKey
    """Key in the object."""
    optional: _Flag | None = None
    """Whether the pod starts without it."""


class EnvSource(SpecModel):
    """Where a value comes from."""

    rules: ClassVar = (
        one_of(
            "secretKeyRef",
            "configMapKeyRef",
            "fieldRef",
            message="a value comes from exactly one of secretKeyRef, configMapKeyRef, fieldRef; keep one",
        ),
    )

    secret_key_ref: KeyReference | None = None
    """A key of a Secret."""
    config_map_key_ref: KeyReference | None = None
    """A key of a ConfigMap."""
    field_ref: FieldSelector | None = None
    """A field of the pod."""


class EnvVar(SpecModel):
    """An environment variable."""

    rules: ClassVar = (
        Rule(
            cel=f"!(self.name in {listed(RESERVED_ENV)}) "
            f"&& !{listed(RESERVED_ENV_PREFIXES)}.exists(p, self.name.startsWith(p))",
            check=lambda variable: not _is_reserved(variable.name),
            path=".name",
            message=_RESERVED,
        ),
        Rule(
            cel=f"!(self.name in {listed(SERVER_ENV)})",
            check=lambda variable: variable.name not in SERVER_ENV,
            path=".name",
            message="is not taken: servers ask for the keys of serving.apiKey, and serve this job's model; "
            "name a Secret there and remove this variable",
        ),
        Rule(
            cel="!(has(self.value) && has(self.valueFrom))",
            check=lambda variable: variable.value is None or variable.value_from is None,
            path=".valueFrom",
            message="value and valueFrom exclude each other; remove one",
        ),
    )

    name: _Name
    """Name of the variable."""
    value: Annotated[str, StringConstraints(max_length=8192)] | None = None
    """Its value."""
    value_from: EnvSource | None = None
    """Where its value comes from."""


class ObjectReference(SpecModel):
    """A ConfigMap or Secret."""

    name: ObjectName
    """Object in the job's namespace."""
    optional: _Flag | None = None
    """Whether the pod starts without it."""


class EnvFrom(SpecModel):
    """Variables from every key of a ConfigMap or Secret. Those that KubeTune sets itself win."""

    rules: ClassVar = (
        one_of(
            "secretRef",
            "configMapRef",
            message="variables come from exactly one of secretRef, configMapRef; keep one",
        ),
        Rule(
            cel=f"!has(self.prefix) || !{listed(RESERVED_ENV_PREFIXES)}.exists(p, self.prefix.startsWith(p))",
            check=lambda source: not (source.prefix or "").startswith(RESERVED_ENV_PREFIXES),
            path=".prefix",
            message=_RESERVED,
        ),
    )

    prefix: _Name | None = None
    """Is put before every key."""
    secret_ref: ObjectReference | None = None
    """A Secret."""
    config_map_ref: ObjectReference | None = None
    """A ConfigMap."""


Env = Annotated[tuple[EnvVar, ...], Field(max_length=64), ListMap("name")]
EnvFroms = Annotated[tuple[EnvFrom, ...], Field(max_length=16)]
