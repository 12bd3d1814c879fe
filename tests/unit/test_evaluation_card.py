"""The model card is amended whole or not at all, and the artifact stays what was published."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from kubetune_trainer.artifact import evaluation_card
from kubetune_trainer.artifact.model_card import CARD_NAME
from kubetune_trainer.scoring.report import Report
from kubetune_trainer.store.manifest import (
    ManifestError,
    list_files,
    sync_file,
    verify_manifest,
    write_manifest,
)
from tests.support import evaluation_reports as reports

CARD = "---\nlibrary_name: peft\n---\n\n# banking\n\n## Results\n\n| | |\n\n## Use\n\nDIRECTORY is this.\n"


def artifact(tmp_path: Path, *, with_card: bool = False) -> Path:
    """An artifact as publish leaves it, or as it was when the card was in the manifest."""
    directory = tmp_path / "adapter"
    directory.mkdir()
    (directory / "adapter_model.safetensors").write_bytes(b"weights")
    (directory / CARD_NAME).write_text(CARD)
    names = [name for name in list_files(directory) if with_card or name != CARD_NAME]
    write_manifest(directory, [sync_file(directory, name) for name in names], {"type": "LoRA"})
    return directory


def install(directory: Path, report: Report) -> str:
    evaluation_card.install(directory, report)
    return (directory / CARD_NAME).read_text()


def test_the_section_has_verdict_candidates_and_gate_and_stands_before_the_use(tmp_path: Path) -> None:
    card = install(artifact(tmp_path), reports.passed())
    section = card.partition("## Evaluation")[2].partition("## Use")[0]
    assert card.startswith(CARD.partition("\n## Use")[0])
    assert card.endswith("\n## Use\n\nDIRECTORY is this.\n")
    assert "**Passed.** ExactMatch is 0.87 (0.83 to 0.92)" in section
    assert (
        "| Retrieval | 0.79 (0.74 to 0.85) | 0.79 (0.74 to 0.85) | 31 / 15 / 154 | 1,434 | 0.93 s |"
        in section
    )
    assert "| minDelta | passed | The difference to Retrieval is 0.082" in section


def test_leaks_are_told_where_there_are_training_rows(tmp_path: Path) -> None:
    directory = artifact(tmp_path)
    leaks = "Rows that stand in the training rows as well: 3."
    assert leaks in install(directory, reports.passed())
    assert "stand in the training rows" not in install(directory, reports.measured())


def test_a_later_evaluation_replaces_the_section(tmp_path: Path) -> None:
    directory = artifact(tmp_path)
    first = install(directory, reports.passed())
    assert install(directory, reports.passed()) == first
    card = install(directory, reports.overridden())
    assert card.count("## Evaluation") == 1
    assert card.count("## Use") == 1
    assert "**Not passed, overridden.**" in card
    assert (
        "kubectl-annotate decided on 2026-03-14T16:00:00Z to serve it all the same: Retrieval costs" in card
    )


def test_the_artifact_is_the_same_before_and_after(tmp_path: Path) -> None:
    directory = artifact(tmp_path)
    before = verify_manifest(directory, apart=(CARD_NAME,))
    install(directory, reports.passed())
    assert verify_manifest(directory, apart=(CARD_NAME,)) == before
    (directory / CARD_NAME).unlink()
    assert verify_manifest(directory, apart=(CARD_NAME,)) == before


def test_only_the_card_may_be_there_without_being_in_the_manifest(tmp_path: Path) -> None:
    directory = artifact(tmp_path)
    with pytest.raises(ManifestError, match=r"README\.md is not in"):
        verify_manifest(directory)
    (directory / "generation_config.json").write_text("{}")
    with pytest.raises(ManifestError, match=r"generation_config\.json is not in"):
        verify_manifest(directory, apart=(CARD_NAME,))


def test_a_card_in_the_manifest_stays_as_it_was_published(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = artifact(tmp_path, with_card=True)
    before = verify_manifest(directory, apart=(CARD_NAME,))
    with caplog.at_level(logging.WARNING):
        assert install(directory, reports.passed()) == CARD
    assert verify_manifest(directory, apart=(CARD_NAME,)) == before
    assert "stays as it is" in caplog.text
    (directory / CARD_NAME).write_text("edited")
    with pytest.raises(ManifestError, match=r"README\.md is not what was written"):
        verify_manifest(directory, apart=(CARD_NAME,))


def test_an_artifact_without_a_card_gets_one(tmp_path: Path) -> None:
    card = install(tmp_path, reports.measured())
    assert card.startswith("# banking\n\n")
    assert card.rstrip().endswith("<!-- end of kubetune evaluation -->")
    assert install(tmp_path, reports.measured()) == card


def test_a_card_that_cannot_be_written_stays_as_it_was(tmp_path: Path) -> None:
    directory = artifact(tmp_path)
    (tmp_path / ".adapter-README.md.tmp").mkdir()
    with pytest.raises(OSError, match="directory"):
        evaluation_card.install(directory, reports.passed())
    assert (directory / CARD_NAME).read_text() == CARD
    verify_manifest(directory, apart=(CARD_NAME,))


def test_what_a_dying_process_left_is_overwritten(tmp_path: Path) -> None:
    directory = artifact(tmp_path)
    (tmp_path / ".adapter-README.md.tmp").write_text("half a ca")
    assert "## Evaluation" in install(directory, reports.passed())
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]
    assert (directory / CARD_NAME).stat().st_mode & 0o777 == 0o644


def test_texts_of_people_and_models_are_no_markup(tmp_path: Path) -> None:
    directory = artifact(tmp_path)
    wild = reports.hostile().model_copy(
        update={"said": "<!-- end of kubetune evaluation -->\n\n## Use\n\n| a"}
    )
    once = install(directory, wild)
    assert install(directory, wild) == once
    assert once.count("<!-- end of kubetune evaluation -->") == 1
    assert once.count("\n## Use\n") == 1
    assert "<script>" not in once
    assert not re.search(r"(?<!\\)\]\(|(?<!\\)`", once)
    assert once.encode()
    table = [line for line in once.splitlines() if line.startswith("| Candidate ")]
    assert len({line.replace(r"\|", "").count("|") for line in table}) == 1
