"""Every manifest of the golden cases is valid, restricted, and carries no credentials where none belong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest

from kubetune.vocabulary import names
from kubetune.vocabulary.names import LABEL_STAGE
from tests.support.golden import cases, load

VERSIONS = ("1.31", "1.37")
RESTRICTED_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim"} | {
    "projected",
    "secret",
}


def manifests(name: str) -> tuple[dict[str, Any], ...]:
    todo = load(name).plan
    return (*todo.create_once, *todo.apply)


def all_manifests() -> Iterator[Any]:
    for name in cases():
        for manifest in manifests(name):
            identity = f"{name}/{manifest['kind']}/{manifest['metadata']['name']}"
            yield pytest.param(manifest, id=identity)


def all_pods() -> Iterator[Any]:
    for parameter in all_manifests():
        template = parameter.values[0]["spec"].get("template") if "spec" in parameter.values[0] else None
        if template is not None:
            yield pytest.param(template, id=parameter.id)


@pytest.mark.parametrize("manifest", [*all_manifests()])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_manifest_is_valid_for_every_supported_kubernetes(manifest: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_the_rendezvous_service_has_the_address_of_rank_0_alone() -> None:
    """Of a hundred pods, each that starts or ends would rewrite a hundred addresses that nobody asks for."""
    (service,) = (m for m in manifests("minimal-first-visit") if m["kind"] == "Service")
    assert service["spec"]["selector"] == {
        "kubetune.dev/finetunejob": service["metadata"]["labels"][names.LABEL_JOB],
        "kubetune.dev/stage": "train",
        "batch.kubernetes.io/job-completion-index": "0",
    }


@pytest.mark.parametrize("manifest", [*all_manifests()])
def test_a_child_is_labelled_and_ignored_by_argo(manifest: dict[str, Any]) -> None:
    meta = manifest["metadata"]
    assert meta["namespace"] == "team-a"
    assert meta["labels"][names.LABEL_MANAGED_BY] == "kubetune"
    assert meta["labels"][names.LABEL_JOB]
    assert "app.kubernetes.io/instance" not in meta["labels"], "Argo CD's tracking label"
    assert meta["annotations"]["argocd.argoproj.io/compare-options"] == "IgnoreExtraneous"
    if manifest["kind"] == "PersistentVolumeClaim" and "ownerReferences" not in meta:
        return  # whenDeleted: Retain
    (owner,) = meta["ownerReferences"]
    assert owner["controller"]
    assert owner["blockOwnerDeletion"]


@pytest.mark.parametrize("template", [*all_pods()])
def test_a_pod_passes_the_restricted_standard_and_mounts_no_token(template: dict[str, Any]) -> None:
    pod = template["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"].get("runAsUser") != 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    for volume in pod["volumes"]:
        assert len(volume.keys() & RESTRICTED_VOLUMES) == 1, volume
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
        assert all("hostPort" not in port for port in container.get("ports", ()))
        writable = {m["name"] for m in container["volumeMounts"] if m["mountPath"] == "/tmp"}
        assert writable, "the root file system is read-only"


@pytest.mark.parametrize("template", [*all_pods()])
def test_no_volume_of_ours_takes_a_nodes_disk_or_memory_without_a_limit(template: dict[str, Any]) -> None:
    scratch = [volume for volume in template["spec"]["volumes"] if "emptyDir" in volume]
    assert {
        volume["name"]: volume["emptyDir"] for volume in scratch if volume["name"].startswith("kubetune-")
    } == {
        "kubetune-tmp": {"sizeLimit": "20Gi"},
        "kubetune-shm": {"medium": "Memory", "sizeLimit": "1Gi"},
    }


@pytest.mark.parametrize("template", [*all_pods()])
def test_a_container_gets_the_gpus_that_it_requests_and_no_others(template: dict[str, Any]) -> None:
    (container,) = template["spec"]["containers"]
    asks = "nvidia.com/gpu" in container["resources"].get("limits", {})
    said = [each["value"] for each in container["env"] if each["name"] == "NVIDIA_VISIBLE_DEVICES"]
    assert said == ([] if asks else ["void"])


@pytest.mark.parametrize("template", [*all_pods()])
def test_only_prepare_gets_credentials(template: dict[str, Any]) -> None:
    (container,) = template["spec"]["containers"]
    secrets = [e["name"] for e in container["env"] if "secretKeyRef" in e.get("valueFrom", {})]
    of_sources = ("MODEL_", "ARTIFACT_", "TRAIN_", "VALIDATION_", "EVALUATION_", "REGRESSION_")
    allowed = {"prepare": (*of_sources, "JUDGE_"), "evaluate": ("JUDGE_",)}
    prefixes = allowed.get(template["metadata"]["labels"][LABEL_STAGE], ())
    assert all(name.startswith(prefixes) for name in secrets)


def test_a_server_has_a_users_name_that_its_image_need_not_know() -> None:
    (deployment,) = (m for m in manifests("adopted") if m["kind"] == "Deployment")
    env = {e["name"]: e.get("value") for e in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["USER"]


def test_required_keys_keep_the_pod_from_starting() -> None:
    job = next(m for m in manifests("s3-credentials") if m["kind"] == "Job")
    env = {e["name"]: e for e in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    optional = {
        name: entry["valueFrom"]["secretKeyRef"].get("optional", False)
        for name, entry in env.items()
        if name.startswith("MODEL_")
    }
    assert optional == {
        "MODEL_AWS_ACCESS_KEY_ID": False,
        "MODEL_AWS_SECRET_ACCESS_KEY": False,
        "MODEL_AWS_ENDPOINT_URL": True,
        "MODEL_AWS_REGION": True,
    }


def test_a_claim_is_mounted_once_per_pod() -> None:
    job = next(m for m in manifests("claims") if m["kind"] == "Job")
    pod = job["spec"]["template"]["spec"]
    claims = [v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v]
    assert sorted(claims) == ["datasets", "models"]
    mounts = {
        m["mountPath"]: (m["name"], m.get("readOnly", False)) for m in pod["containers"][0]["volumeMounts"]
    }
    assert mounts["/output"] == ("kubetune-output", False)
    assert mounts["/inputs/model"] == ("kubetune-output", True)
    assert mounts["/inputs/train"] == mounts["/inputs/validation"] == ("kubetune-train", True)
