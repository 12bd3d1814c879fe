"""Volumes and mounts of a pod: the kinds that a namespace's user may name, and no path of the node."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, StringConstraints

from kubetune.api.base import (
    FileKey,
    ListMap,
    Map,
    ObjectName,
    PositiveQuantity,
    Rule,
    SpecModel,
    Text,
    VolumeName,
)
from kubetune.api.base import cel_list as listed

RESERVED_VOLUMES: Final = "kubetune-"
RESERVED_MOUNTS: Final = (
    "/output",
    "/inputs",
    "/etc/kubetune",
    "/dev/shm",
    "/tmp",
    # NVIDIA's runtime may read from mounts below it which GPUs a container gets
    "/var/run/nvidia-container-devices",
)

_SEGMENT: Final = r"[.]?[A-Za-z0-9_@+,=~-][A-Za-z0-9_.@+,=~-]*"
"""A path segment: not ``.`` or ``..``, nor anything that starts so."""

_Path = Annotated[str, StringConstraints(pattern=f"^{_SEGMENT}(/{_SEGMENT})*$", max_length=512)]
"""A relative path."""

_MountPath = Annotated[str, StringConstraints(pattern=f"^(/{_SEGMENT})+$", max_length=512)]
"""An absolute path without a slash at its end."""


def one_of(*fields: str, message: str) -> Rule:
    """Exactly one of these fields is set."""
    count = " + ".join(f"(has(self.{field}) ? 1 : 0)" for field in fields)
    return Rule(
        cel=f"{count} == 1",
        check=lambda model: sum(field in model.manifest() for field in fields) == 1,
        message=message,
    )


class KeyPath(SpecModel):
    """A key that becomes a file."""

    key: FileKey
    """Key in the object."""
    path: _Path
    """Path of the file in the volume."""
    mode: int | None = Field(default=None, ge=0, le=0o777, strict=True)
    """Permissions of the file."""


_Items = Annotated[tuple[KeyPath, ...], Field(max_length=64)]
_Mode = Annotated[int, Field(ge=0, le=0o777, strict=True)]
_Flag = Annotated[bool, Field(strict=True)]


class EmptyDir(SpecModel):
    """An empty directory that lives as long as the pod."""

    medium: Literal["", "Memory"] | None = None
    """Memory keeps it in memory, which counts to the container."""
    size_limit: PositiveQuantity | None = None
    """Largest size."""


class ClaimVolume(SpecModel):
    """A persistent volume claim."""

    claim_name: ObjectName
    """Claim in the job's namespace."""
    read_only: _Flag | None = None
    """Mounts it read-only."""


class ConfigMapVolume(SpecModel):
    """Files from a ConfigMap."""

    name: ObjectName
    """ConfigMap in the job's namespace."""
    items: _Items | None = None
    """Keys that become files; without it all of them."""
    default_mode: _Mode | None = None
    """Permissions of the files."""
    optional: _Flag | None = None
    """Whether the pod starts without it."""


class SecretVolume(SpecModel):
    """Files from a Secret."""

    secret_name: ObjectName
    """Secret in the job's namespace."""
    items: _Items | None = None
    """Keys that become files; without it all of them."""
    default_mode: _Mode | None = None
    """Permissions of the files."""
    optional: _Flag | None = None
    """Whether the pod starts without it."""


class ConfigMapProjection(SpecModel):
    """Files from a ConfigMap."""

    name: ObjectName
    """ConfigMap in the job's namespace."""
    items: _Items | None = None
    """Keys that become files; without it all of them."""
    optional: _Flag | None = None
    """Whether the pod starts without it."""


class SecretProjection(ConfigMapProjection):
    """Files from a Secret."""

    name: ObjectName
    """Secret in the job's namespace."""


class FieldSelector(SpecModel):
    """A field of the pod."""

    field_path: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    """Path of the field, such as metadata.name."""


class FieldFile(SpecModel):
    """A field of the pod that becomes a file."""

    path: _Path
    """Path of the file in the volume."""
    field_ref: FieldSelector
    """The field."""


class DownwardApiProjection(SpecModel):
    """Files from fields of the pod."""

    items: Annotated[tuple[FieldFile, ...], Field(max_length=16)]
    """Fields that become files."""


class TokenProjection(SpecModel):
    """A token of the pod's service account for one audience: workload identity."""

    path: _Path
    """Path of the file in the volume."""
    audience: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    """Whom the token is for; required, since without it the token would be the API server's."""
    expiration_seconds: int | None = Field(default=None, ge=600, le=2**32, strict=True)
    """How long a token is valid; it is renewed in time."""


class Projection(SpecModel):
    """One source of a projected volume."""

    rules: ClassVar = (
        one_of(
            "configMap",
            "secret",
            "downwardAPI",
            "serviceAccountToken",
            message="set exactly one of configMap, secret, downwardAPI, serviceAccountToken; keep one",
        ),
    )

    config_map: ConfigMapProjection | None = None
    """Files from a ConfigMap."""
    secret: SecretProjection | None = None
    """Files from a Secret."""
    downward_api: DownwardApiProjection | None = None
    """Files from fields of the pod."""
    service_account_token: TokenProjection | None = None
    """A token of the pod's service account."""


class ProjectedVolume(SpecModel):
    """Several sources in one directory."""

    sources: tuple[Projection, ...] = Field(min_length=1, max_length=8)
    """What is put into it."""
    default_mode: _Mode | None = None
    """Permissions of the files."""


class SecretReference(SpecModel):
    """A Secret."""

    name: ObjectName
    """Secret in the job's namespace."""


class CsiVolume(SpecModel):
    """An inline volume of a CSI driver."""

    driver: ObjectName
    """Name of the driver."""
    read_only: _Flag | None = None
    """Mounts it read-only."""
    fs_type: Annotated[str, StringConstraints(max_length=64)] | None = None
    """File system."""
    volume_attributes: Map[Text] | None = None
    """What the driver wants to know."""
    node_publish_secret_ref: SecretReference | None = None
    """Secret that is handed to the driver."""


class Volume(SpecModel):
    """A volume of the pod."""

    rules: ClassVar = (
        one_of(
            "emptyDir",
            "persistentVolumeClaim",
            "configMap",
            "secret",
            "projected",
            "csi",
            message="a volume is exactly one of emptyDir, persistentVolumeClaim, configMap, secret, "
            "projected, csi; keep one",
        ),
        Rule(
            cel=f"!self.name.startsWith('{RESERVED_VOLUMES}')",
            check=lambda volume: not volume.name.startswith(RESERVED_VOLUMES),
            path=".name",
            message=f"{RESERVED_VOLUMES} is the prefix of KubeTune's own volumes; choose another name",
        ),
    )

    name: VolumeName
    """Name that mounts refer to; does not begin with kubetune-."""
    empty_dir: EmptyDir | None = None
    """An empty directory."""
    persistent_volume_claim: ClaimVolume | None = None
    """A persistent volume claim."""
    config_map: ConfigMapVolume | None = None
    """Files from a ConfigMap."""
    secret: SecretVolume | None = None
    """Files from a Secret."""
    projected: ProjectedVolume | None = None
    """Several sources in one directory."""
    csi: CsiVolume | None = None
    """An inline volume of a CSI driver."""


class VolumeMount(SpecModel):
    """Where a volume is seen in the container."""

    rules: ClassVar = (
        Rule(
            cel=f"!{listed(RESERVED_MOUNTS)}.exists(p, self.mountPath == p "
            "|| self.mountPath.startsWith(p + '/') || p.startsWith(self.mountPath + '/'))",
            check=lambda mount: (
                not any(
                    f"{mount.mount_path}/".startswith(f"{path}/") or path.startswith(f"{mount.mount_path}/")
                    for path in RESERVED_MOUNTS
                )
            ),
            path=".mountPath",
            message=f"lies in, or covers, a reserved path ({', '.join(RESERVED_MOUNTS)}); mount it elsewhere",
        ),
    )

    name: VolumeName
    """A volume of this podTemplate, or of one beneath it."""
    mount_path: _MountPath
    """Absolute path in the container."""
    sub_path: _Path | None = None
    """Path in the volume; without it its root."""
    read_only: _Flag | None = None
    """Mounts it read-only."""


Volumes = Annotated[tuple[Volume, ...], Field(max_length=32), ListMap("name")]
VolumeMounts = Annotated[tuple[VolumeMount, ...], Field(max_length=32), ListMap("mount_path")]
