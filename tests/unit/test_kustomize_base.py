"""kustomize/base is made from the chart as it is, and its texts name neither a namespace nor an image."""

from __future__ import annotations

import re

from dev import kustomize
from tests.support import chart


def test_generated_files_are_up_to_date() -> None:
    assert kustomize.out_of_date() == []


def test_what_an_overlay_changes_is_in_one_place() -> None:
    texts = "".join(text for path, text in kustomize.generated().items() if path.name != "crds.yaml")
    variables = chart.variables()
    counts = {
        image: len(re.findall(f'["= ]{re.escape(image)}["\n]', texts))
        for image in ("kubetune/operator:0.1.0", *(variables[name] for name in kustomize.IMAGES))
    }
    assert counts == dict.fromkeys(counts, 1)
    assert not re.findall(r"^ +namespace: .*", texts, re.MULTILINE)
    assert "helm.sh" not in texts
    assert set(re.findall(r"\$\((\w+)\)", texts)) == {
        "KUBETUNE_NAMESPACE",
        "KUBETUNE_SERVICE_ACCOUNT",
        *kustomize.IMAGES,
    }
