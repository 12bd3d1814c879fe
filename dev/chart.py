"""Writes the generated files of the chart: its copy of the CRDs, the closed schema of its values, its README.

`python -m dev.chart` writes them, with `--check` it only says which are out of date. crds/ is made elsewhere.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import helm_python
import yaml

from dev import generated_files, paths
from dev.values_schema import closed_text

CHART = paths.REPOSITORY / "charts" / "kubetune"
_CRDS = paths.REPOSITORY / "crds"
CLOSED_SCHEMA = CHART / "files" / "values.closed.schema.json"
_HOOK = "helm.sh/hook"
_SEPARATOR = re.compile(r"^---\s*$", re.MULTILINE)
_README_HEAD = CHART / "files" / "README.head.md"


@dataclass(frozen=True, slots=True)
class Value:
    """One value of the chart: its dotted path, its default and what its comment says."""

    path: str
    default: object
    description: str


def generated() -> dict[Path, str]:
    """Return every generated file of the chart with its content."""
    files = {CHART / "templates" / "crds" / crd.name: _crd_template(crd.read_text()) for crd in _crds()}
    files[CLOSED_SCHEMA] = closed_text((CHART / "values.schema.json").read_text())
    files[CHART / "README.md"] = _readme()
    return files


def out_of_date() -> list[Path]:
    """Return the generated files that are missing or differ, and copies of CRDs that are gone."""
    return generated_files.out_of_date(generated(), (CHART / "templates" / "crds").glob("*.yaml"))


def documents(chosen: Mapping[str, Any], *, name: str, namespace: str) -> dict[str, list[str]]:
    """Return the texts of all objects of a release by their template's path, `operator/service.yaml`.

    What helm would only run at times, such as its tests, is left out.
    """
    with helm_python.Chart.load(CHART) as chart:
        rendered = chart.render(dict(chosen), name=name, namespace=namespace)
    prefix = f"{CHART.name}/templates/"
    return {
        path.removeprefix(prefix): [each for each in _SEPARATOR.split(text) if _is_object(each)]
        for path, text in sorted(rendered.items())
        if path.endswith(".yaml")
    }


def values() -> Iterator[Value]:
    """Yield the chart's values in the order of values.yaml.

    Raises ValueError for a value without a comment that starts with `# --`.
    """
    text = (CHART / "values.yaml").read_text()
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    yield from _walk(root, text.splitlines(), "")


def _is_object(document: str) -> bool:
    parsed = yaml.safe_load(document)
    return bool(parsed) and _HOOK not in (parsed["metadata"].get("annotations") or {})


def _walk(mapping: yaml.MappingNode, lines: list[str], prefix: str) -> Iterator[Value]:
    for key, node in mapping.value:
        path = f"{prefix}{key.value}"
        description = _comment_above(lines, key.start_mark.line)
        if description is not None:
            yield Value(path, yaml.safe_load(yaml.serialize(node)), description)
        elif isinstance(node, yaml.MappingNode) and node.value:
            yield from _walk(node, lines, f"{path}.")
        else:
            raise ValueError(f"values.yaml: {path} has no comment that starts with '# --'")


def _comment_above(lines: list[str], line: int) -> str | None:
    found: list[str] = []
    while line > 0 and lines[line - 1].strip().startswith("#"):
        line -= 1
        text = lines[line].strip().removeprefix("#").strip()
        if text.startswith("--"):
            return " ".join([text.removeprefix("--").strip(), *reversed(found)])
        found.append(text)
    return None


def _readme() -> str:
    rows = [
        f"| `{value.path}` | `{_flow(value.default)}` | {value.description.replace('|', chr(92) + '|')} |"
        for value in values()
    ]
    table = "\n".join(["| value | default | what it is |", "|---|---|---|", *rows])
    notice = "<!-- DO NOT EDIT: made by `make generate` from files/README.head.md and values.yaml. -->"
    return f"{notice}\n\n{_README_HEAD.read_text()}\n## Values\n\n{table}\n"


def _flow(default: object) -> str:
    text = yaml.safe_dump(default, default_flow_style=True, width=1000, sort_keys=False)
    return text.removesuffix("...\n").strip()


def _crds() -> list[Path]:
    return sorted(_CRDS.glob("*.yaml"))


def _crd_template(crd: str) -> str:
    """Return a CRD as a template: behind `crds.enabled`, and kept by an uninstall with `crds.keep`."""
    body = crd.replace("{{", '{{ "{{" }}')
    # Only what belongs to metadata is indented below it.
    found = re.search(
        r"^metadata:\n(?=(?P<indent> +))(?P<annotated>(?: .*\n)*?(?P=indent)annotations:\n)?",
        body,
        re.MULTILINE,
    )
    assert found is not None
    indent = found["indent"]
    labels = f"{{{{- with .Values.commonLabels }}}}\n{indent}labels:{_yaml(indent * 2)}{{{{- end }}}}\n"
    head = "" if found["annotated"] else f"{indent}annotations:"
    keep = '{{- $keep := ternary (dict "helm.sh/resource-policy" "keep") dict .Values.crds.keep }}\n'
    values = "(merge $keep (.Values.commonAnnotations | default dict))"
    annotations = f"{keep}{{{{- with {values} }}}}\n{head}{_yaml(indent * 2)}{{{{- end }}}}\n"
    start = len("metadata:\n") + found.start()
    before, own, after = body[:start], body[start : found.end()], body[found.end() :]
    notice = (
        "{{- /* DO NOT EDIT: made by `make generate` from crds/. */ -}}\n{{- if .Values.crds.enabled }}\n"
    )
    return f"{notice}{before}{labels}{own}{annotations}{after.rstrip()}\n{{{{- end }}}}\n"


def _yaml(indent: str) -> str:
    return f"\n{indent}{{{{- toYaml . | nindent {len(indent)} }}}}\n"


def main() -> int:
    """Write, or check; the exit status is 1 when files were out of date and were only checked."""
    return generated_files.write_or_check(generated(), out_of_date())


if __name__ == "__main__":
    sys.exit(main())
