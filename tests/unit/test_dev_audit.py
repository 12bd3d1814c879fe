"""The audit of the locks: what was found, and above all what could not be."""

from __future__ import annotations

from typing import Any

from dev.audit import Audit, Finding, Verdict, locks, sentences, summary, verdict

KNOWN: dict[str, Any] = {"name": "six", "version": "1.17.0", "vulns": []}
SKIPPED: dict[str, Any] = {"name": "uv", "skip_reason": "Dependency not found"}
BAD: dict[str, Any] = {
    "name": "urllib3",
    "version": "1.26.0",
    "vulns": [
        {"id": "PYSEC-2021-59", "fix_versions": ["1.26.4", "2.0.0"], "aliases": ["CVE-2021-28363"]},
        {"id": "GHSA-1", "fix_versions": []},
    ],
}


def audited(*packages: dict[str, Any]) -> Audit:
    return summary([("operator.txt", {"dependencies": list(packages), "fixes": []})])


def said(found: Audit, late: str | None = None) -> tuple[list[str], Verdict]:
    return list(sentences(found, "pypi", late)), verdict(found, late)


def test_every_lock_is_audited() -> None:
    assert [path.name for path in locks()] == [
        "clients-dspy.txt",
        "clients-llama-index.txt",
        "clients-openai-1.txt",
        "dev.txt",
        "gateway.txt",
        "operator.txt",
        "serving-cpu.txt",
        "torch.txt",
        "trainer.txt",
        "uv.txt",
    ]


def test_a_database_that_is_not_reached_has_found_nothing_and_the_audit_does_not_pass() -> None:
    assert said(audited(SKIPPED, SKIPPED)) == (
        [
            "Nothing was audited: pypi knows none of the 2 pins, so it is not reached from here."
            " Run make audit where it is."
        ],
        Verdict.UNKNOWN,
    )


def test_pins_that_were_not_audited_are_counted() -> None:
    assert said(audited(KNOWN, SKIPPED)) == (
        ["1 of 2 pins are not known to pypi, and were not audited."],
        Verdict.UNKNOWN,
    )


def test_what_is_known_and_has_no_vulnerability_passes() -> None:
    assert said(audited(KNOWN)) == (["pypi knows all 1 pins, and no vulnerability of any."], Verdict.CLEAN)


def test_each_vulnerability_is_named_with_its_lock_and_its_fix() -> None:
    found = audited(KNOWN, BAD)
    assert found == Audit(
        findings=(
            Finding(
                lock="operator.txt",
                package="urllib3 1.26.0",
                vulnerability="PYSEC-2021-59 = CVE-2021-28363",
                fixed_in=("1.26.4", "2.0.0"),
            ),
            Finding(lock="operator.txt", package="urllib3 1.26.0", vulnerability="GHSA-1", fixed_in=()),
        ),
        asked=2,
        unanswered=0,
    )
    assert said(found) == (
        [
            "requirements/operator.txt: urllib3 1.26.0 has PYSEC-2021-59 = CVE-2021-28363;"
            " fixed in 1.26.4, 2.0.0.",
            "requirements/operator.txt: urllib3 1.26.0 has GHSA-1; no version fixes it yet.",
        ],
        Verdict.VULNERABLE,
    )


def test_a_base_without_a_month_of_fixes_does_not_pass() -> None:
    lines, judged = said(audited(KNOWN), "The base image is old.")
    assert lines[-1] == "The base image is old."
    assert judged is Verdict.VULNERABLE
