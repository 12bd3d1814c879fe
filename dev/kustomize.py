"""Writes the kustomize base: the chart rendered with its defaults, without a namespace and Helm's labels.

`python -m dev.kustomize` writes it, with `--check` it only says what is out of date. Namespace, service
account and images stand in texts as well, where those of an overlay do not reach: in the expressions of
policies and in the operator's settings. There they are variables, which kustomize fills in last, after all
overlays. It calls them deprecated and has nothing in their place: replacements of a base are done before
its overlays.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from dev import generated_files, paths
from dev.chart import documents

BASE = paths.REPOSITORY / "kustomize" / "base"
IMAGES = ("KUBETUNE_TRAINER_IMAGE", "KUBETUNE_SERVING_IMAGE", "KUBETUNE_SERVING_CPU_IMAGE")
"""Settings that name images."""

_NAMESPACE = "namespace-of-an-overlay"
_NAME = "kubetune"
_SETTINGS = "operator/settings.yaml"
_REFERENCES = BASE / "references.yaml"  # written by people
_NOTICE = "# DO NOT EDIT: made by `make generate` from charts/kubetune.\n"
_OF_HELM = ("helm.sh/chart", "app.kubernetes.io/managed-by")
_DROPPED = re.compile(
    rf"^ +(namespace: {_NAMESPACE}|({'|'.join(map(re.escape, _OF_HELM))}): .*)\n", re.MULTILINE
)
# The settings get a name that follows from what they are, which does the same.
_CHECKSUM = re.compile(r"^ +annotations:\n +# .*\n +checksum/config: \w+\n", re.MULTILINE)
_EMPTY = re.compile(r"^ *\n", re.MULTILINE)
_KUSTOMIZATION = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
# An overlay says the namespace: without one this does not build.
resources: [{resources}]
configMapGenerator:
  - name: {name}-settings
    envs: [settings.env]
    options:
      labels: {labels}
configurations: [references.yaml]
vars:
{variables}"""
_VARIABLE = """\
  - name: {name}
    objref: {{apiVersion: v1, kind: {kind}, name: {of}}}
    fieldref: {{fieldpath: {field}}}
"""


def generated() -> dict[Path, str]:
    """Return every file of the base that is made from the chart."""
    rendered = documents({"crds": {"enabled": False}}, name=_NAME, namespace=_NAMESPACE)
    [config_map] = (yaml.safe_load(text) for text in rendered.pop(_SETTINGS))
    settings: dict[str, str] = config_map["data"]
    parts: dict[str, list[str]] = {
        "crds": [path.read_text() for path in sorted((paths.REPOSITORY / "crds").glob("*.yaml"))]
    }
    for path, texts in rendered.items():
        if texts:
            of_folder = parts.setdefault(path.partition("/")[0], [])
            of_folder += [_anywhere(text, settings) for text in texts]
    files = {f"{part}.yaml": _NOTICE + "---\n".join(texts) for part, texts in parts.items()}
    labels = {key: value for key, value in config_map["metadata"]["labels"].items() if key not in _OF_HELM}
    files["settings.env"] = _NOTICE + _environment(settings)
    files["kustomization.yaml"] = _NOTICE + _kustomization([*parts], labels)
    return {BASE / name: text for name, text in files.items()}


def out_of_date() -> list[Path]:
    """Return the generated files that are missing, differ, or are made no more."""
    return generated_files.out_of_date(generated(), (path for path in BASE.iterdir() if path != _REFERENCES))


def _anywhere(text: str, settings: Mapping[str, str]) -> str:
    """Return an object's text without what an overlay adds, and with variables where it cannot."""
    text = _EMPTY.sub("", _CHECKSUM.sub("", _DROPPED.sub("", text))).strip() + "\n"
    user = f"system:serviceaccount:{_NAMESPACE}:{_NAME}"
    text = text.replace(user, "system:serviceaccount:$(KUBETUNE_NAMESPACE):$(KUBETUNE_SERVICE_ACCOUNT)")
    for name in IMAGES:
        text = text.replace(f'"{settings[name]}"', f'"$({name})"')
    return _in_namespace(text)


def _in_namespace(text: str) -> str:
    return text.replace(_NAMESPACE, "$(KUBETUNE_NAMESPACE)")


def _environment(settings: Mapping[str, str]) -> str:
    return "".join(f"{name}={_in_namespace(value)}\n" for name, value in settings.items())


def _kustomization(parts: list[str], labels: Mapping[str, str]) -> str:
    account = ("ServiceAccount", _NAME)
    variables = [
        ("KUBETUNE_NAMESPACE", *account, "metadata.namespace"),
        ("KUBETUNE_SERVICE_ACCOUNT", *account, "metadata.name"),
        *((name, "ConfigMap", f"{_NAME}-settings", f"data.{name}") for name in IMAGES),
    ]
    return _KUSTOMIZATION.format(
        name=_NAME,
        resources=", ".join(f"{part}.yaml" for part in parts),
        labels=yaml.safe_dump(dict(labels), default_flow_style=True, width=1000).strip(),
        variables="".join(
            _VARIABLE.format(name=name, kind=kind, of=of, field=field) for name, kind, of, field in variables
        ),
    )


def main() -> int:
    """Write, or check; the exit status is 1 when files were out of date and were only checked."""
    return generated_files.write_or_check(generated(), out_of_date())


if __name__ == "__main__":
    sys.exit(main())
