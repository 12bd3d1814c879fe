"""Generates the CustomResourceDefinition and its reference page; ``python -m kubetune.api.crdgen [--check]``.

make generate writes them, CI checks that they are up to date.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from typing_extensions import override

from kubetune.api.refdoc import reference_page
from kubetune.api.schema import Schema, structural_schema
from kubetune.api.v1alpha1 import FineTuneJob
from kubetune.vocabulary import names
from kubetune.vocabulary.reasons_page import reasons_page

HEADER: Final = "# Generated from operator/kubetune/api. DO NOT EDIT; run make generate.\n"

COLUMNS: Final = (
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0),
    ("Stage", "string", ".status.stage", 0),
    ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', 0),
    ("Progress", "string", ".status.progress.summary", 0),
    ("Loss", "string", ".status.progress.loss", 0),
    ("Attempt", "integer", ".status.attempts[-1:].number", 0),
    ("Checkpoint", "date", ".status.progress.lastCheckpointTime", 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("Validation", "string", ".status.progress.validationLoss", 1),
    ("Verdict", "string", ".status.evaluation.verdict", 1),
    ("Model", "string", ".spec.model.uri", 1),
    ("URL", "string", ".status.serving.url", 1),
)
"""What ``kubectl get ftj`` prints; priority 1 only with ``-o wide``."""


LINE: Final = 300
"""Schemas that fit into so many characters stand on one line."""


class _Dumper(yaml.SafeDumper):
    """Writes a small schema on one line, and indents by one space: nesting is most of a CRD written out."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.best_indent = 1  # the option takes 2 at least

    @override
    def ignore_aliases(self, data: object) -> bool:
        """Write everything out: anchors in a CRD help nobody."""
        return True

    @override
    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        """Tell schemas and rules from the rest, which stays as people write it."""
        is_schema = bool({"type", "rule", "x-kubernetes-int-or-string"} & mapping.keys())
        return super().represent_mapping(tag, mapping, flow_style=is_schema and _fits(mapping))

    @override
    def represent_sequence(
        self, tag: str, sequence: Any, flow_style: bool | None = None
    ) -> yaml.SequenceNode:
        """Write names on one line."""
        names_only = all(isinstance(item, str | int) for item in sequence)
        return super().represent_sequence(tag, sequence, flow_style=names_only and _fits(sequence))


def _fits(value: object) -> bool:
    return len(json.dumps(value, ensure_ascii=False)) <= LINE


def openapi_schema() -> Schema:
    """The schema of the whole object; metadata is the API server's own."""
    schema = structural_schema(FineTuneJob)
    properties = schema["properties"]
    for name in ("apiVersion", "kind"):
        properties[name] = {"description": properties[name]["description"], "type": "string"}
    properties["metadata"] = {"type": "object"}
    return schema | {"required": ["spec"]}


def custom_resource_definition() -> dict[str, Any]:
    """The CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.KIND.lower(),
                "shortNames": ["ftj"],
                "categories": ["kubetune"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": [
                        {"name": name, "type": kind, "jsonPath": path, "priority": priority}
                        for name, kind, path, priority in COLUMNS
                    ],
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": openapi_schema()},
                }
            ],
        },
    }


def generated_files() -> dict[str, str]:
    """Every generated file, by its path in the repository."""
    text = yaml.dump(custom_resource_definition(), Dumper=_Dumper, sort_keys=False, width=2 * LINE)
    return {
        f"crds/{names.GROUP}_{names.PLURAL}.yaml": HEADER + text,
        "docs/reference/finetunejob.md": reference_page(openapi_schema()),
        "docs/reference/reasons.md": reasons_page(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files; with --check only compare, and fail on a difference."""
    parser = argparse.ArgumentParser(prog="python -m kubetune.api.crdgen", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 on a difference")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[3], help="the repository")
    options = parser.parse_args(arguments)
    stale = _stale(options.root, generated_files())
    for path, text in stale.items():
        if options.check:
            print(f"{path} is out of date; run make generate", file=sys.stderr)
        else:
            (options.root / path).parent.mkdir(parents=True, exist_ok=True)
            (options.root / path).write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    return 1 if options.check and stale else 0


def _stale(root: Path, files: Mapping[str, str]) -> dict[str, str]:
    return {
        path: text
        for path, text in files.items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    }


if __name__ == "__main__":
    sys.exit(main())
