"""The section Evaluation of an artifact's model card: verdict, candidates, gate, and who overrode it.

The section stands between two comments, so that a later evaluation replaces it. What comes from people and
models is escaped: it can neither end the section nor become markup.
"""

from __future__ import annotations

import html
import logging
import re
from pathlib import Path

from ..pages.text import visible
from ..scoring import figures
from ..scoring.report import Report
from ..store.manifest import ManifestError, read_manifest, replace_file
from .model_card import CARD_NAME, USE_HEADING

logger = logging.getLogger(__name__)

_BEGIN = "<!-- kubetune evaluation -->"
_END = "<!-- end of kubetune evaluation -->"
_SECTION = re.compile(rf"{re.escape(_BEGIN)}.*?{re.escape(_END)}\n*", re.DOTALL)
_MARKUP = re.compile(r"([\\`*_\[\]|~#])")


def install(directory: Path, report: Report) -> None:
    """Put the evaluation into the card of an artifact, or replace that of an earlier one.

    An artifact of an earlier version has its card in the manifest. It is left as it is, or the artifact
    would no longer be what was published; the report on the volume says the same.

    Raises:
        OSError: the volume did not let the card be read or written; then it is as it was.
    """
    if _is_in_manifest(directory):
        logger.warning(
            "the model card stays as it is, in the manifest of an artifact of an earlier version; "
            "the evaluation is in the report"
        )
        return
    path = directory / CARD_NAME
    try:
        card = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:  # of an artifact that was made elsewhere
        card = f"# {_plain(report.name)}\n"
    # Beside the artifact: a file that a dying process left in it would be one too many for its manifest.
    temporary = directory.with_name(f".{directory.name}-{CARD_NAME}.tmp")
    temporary.write_bytes(b"")
    temporary.chmod(0o644)  # serving pods have another user
    replace_file(path, amended(card, report), temporary)


def amended(card: str, report: Report) -> str:
    """The card with the section, which is before the use of the artifact, else at the end."""
    without = _SECTION.sub("", card)
    before, heading, after = without.rpartition(f"\n{USE_HEADING}\n")
    if not heading:
        before, after = without, ""
    return f"{before.rstrip()}\n\n{section(report)}{heading}{after}"


def section(report: Report) -> str:
    """The section as Markdown."""
    parts = [
        _BEGIN,
        "## Evaluation",
        f"**{figures.verdict_title(report)}.** {_plain(report.said)}",
    ]
    if (override := figures.override_sentence(report)) is not None:
        parts.append(_plain(override))
    titles, rows = figures.candidate_table(report)
    parts.append(_table(titles, rows))
    leaked = f" Rows that stand in the training rows as well: {figures.whole(report.leaked_rows)}."
    parts.append(
        f"{figures.whole(report.rows)} questions from {_plain(report.data)}, asked on "
        f"{report.created:%Y-%m-%d}; {_plain(report.metric)} comes first. In brackets: the "
        f"{figures.percent(report.config.confidence)} intervals."
        + (leaked if report.dataset else "")  # of a job without training rows it is not known
    )
    if report.gate is not None:
        checks = [
            [check.name, "passed" if check.passed else "not passed", check.sentence]
            for check in report.gate.checks
        ]
        parts.append(_table(["Gate", "", ""], checks))
    parts.append(_END)
    return "\n\n".join(parts) + "\n"


def _is_in_manifest(directory: Path) -> bool:
    try:
        return any(file.name == CARD_NAME for file in read_manifest(directory).files)
    except ManifestError:
        return False


def _table(titles: list[str], rows: list[list[str]]) -> str:
    lines = [[_plain(cell) for cell in line] for line in (titles, *rows)]
    lines.insert(1, ["---"] * len(titles))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    one_line = " ".join(text.split())
    return html.escape(visible(_MARKUP.sub(r"\\\1", one_line)), quote=False)
