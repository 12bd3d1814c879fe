"""report.html: what an evaluation found, on one page for a person.

The page needs nothing else: no script, no network. Rows pass by once, and only those that are shown are held.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ..contract.evaluation import TUNED, EvaluationConfig, MetricConfig
from ..pages import document
from ..pages.text import escaped
from ..scoring import figures
from ..scoring.report import CandidateReport, Report, ReportRow
from . import page_drawing as drawing
from . import page_tables as tables
from .page_examples import examples
from .page_rows import LISTED, Pair, ShownRows
from .page_styles import STYLES

_STYLE_OF = {"Passed": "good", "Failed": "bad", "Measured": ""}


def page(report: Report, rows: Iterable[ReportRow]) -> Iterator[str]:
    """Parts of the page.

    ``rows`` are all of rows.jsonl, in order; they are read once, before the first part.
    """
    shown = _chosen(report)
    shown.read(rows)
    yield document.head(f"Evaluation of {report.name}", STYLES)
    yield _verdict(report)
    yield from _candidates(report)
    yield from _gate(report)
    yield from _general(report)
    yield from _costs(report)
    yield from _losses(report)
    yield from _leaks(report, shown)
    yield from examples(shown)
    yield from _training(report)
    yield from _lineage(report)
    yield document.foot()


def _chosen(report: Report) -> ShownRows:
    best = figures.best_baseline(report)
    tuned = report.candidates[0].name if report.candidates else TUNED
    general = None
    if report.general_metric is not None and len(report.general) > 1:
        general = Pair(metric=report.general_metric, one=report.general[0].name, other=report.general[1].name)
    return ShownRows(Pair(metric=report.metric, one=tuned, other=best.name if best else None), general)


def _verdict(report: Report) -> str:
    use = f"{report.namespace}/{report.name}" + (f": {report.use_case}" if report.use_case else "")
    override = figures.override_sentence(report)
    warnings = "".join(f"<li>{escaped(warning)}</li>\n" for warning in report.warnings)
    return (
        f'<p class="quiet">{escaped(use)}</p>\n'
        f'<div class="verdict {_STYLE_OF[report.verdict]}"><strong>{figures.verdict_title(report)}</strong>'
        f"<p>{escaped(report.said)}</p>"
        + (f"<p>{escaped(override)}</p>" if override else "")
        + "</div>\n"
        + (f"<h2>Warnings</h2>\n<ul>{warnings}</ul>\n" if warnings else "")
    )


def _candidates(report: Report) -> Iterator[str]:
    yield f"<section><h2>Candidates</h2>\n<p>{figures.whole(report.rows)} questions.</p>\n"
    yield tables.candidates(report)
    yield _scores("scores", report.candidates, report.metric)
    yield _differences(report)
    yield tables.versus(report.candidates[1:], figures.metric_names(report))
    yield tables.served(report.candidates)
    yield "</section>\n"


def _scores(identity: str, candidates: Sequence[CandidateReport], metric: str) -> str:
    lines = [
        drawing.score_line(one.name, one.scores[metric], full=index == 0)
        for index, one in enumerate(candidates)
        if metric in one.scores
    ]
    drawn = drawing.intervals(identity, f"{metric} of each candidate", lines)
    told = f"{metric} of each candidate with its interval; the full mark is the tuned model"
    return _figure(drawn, told)


def _differences(report: Report) -> str:
    lines = [
        drawing.difference_line(f"Tuned less {one.name}", one.versus[report.metric].difference)
        for one in report.candidates[1:]
        if report.metric in one.versus
    ]
    marks = [drawing.Mark(0.0, "0: no difference")]
    gate = report.config.gate
    if gate is not None and gate.min_delta is not None and float(gate.min_delta) != 0:
        marks.append(drawing.Mark(float(gate.min_delta), f"minDelta {gate.min_delta}", dashed=True))
    drawn = drawing.intervals("differences", f"Differences of {report.metric}", lines, marks)
    told = f"Difference of {report.metric} to each baseline; right of 0 the tuned model is better"
    return _figure(drawn, told)


def _figure(drawn: str, told: str) -> str:
    return f"<figure><figcaption>{escaped(told)}</figcaption>\n{drawn}</figure>\n" if drawn else ""


def _gate(report: Report) -> Iterator[str]:
    if report.gate is None:
        return
    yield f"<section><h2>Gate</h2>\n{tables.gate(report.gate)}</section>\n"


def _general(report: Report) -> Iterator[str]:
    if not report.general or report.general_metric is None:
        return
    yield (
        f"<section><h2>General ability</h2>\n<p>{figures.whole(report.general_rows)} questions of "
        "gate.mustNotRegress: what was forgotten shows here.</p>\n"
    )
    yield _scores("general", report.general, report.general_metric)
    yield tables.versus(report.general[1:], [report.general_metric])
    yield "</section>\n"


def _leaks(report: Report, shown: ShownRows) -> Iterator[str]:
    if not report.leaked_rows:
        return
    yield (
        f"<section><h2>Leaked rows</h2>\n<p>{figures.whole(report.leaked_rows)} rows of the evaluation stand "
        "in the training rows as well; they say how well the model remembers, not how well it answers.</p>\n"
    )
    if shown.leaked:
        complete = len(shown.leaked) < LISTED
        more = "All of them" if complete else f"The first {LISTED} of them"
        rows = [[row.file, f"{row.line:,}", row.how] for row in shown.leaked]
        yield tables.table(more, ["File", "Line", "How it stands there"], rows)
    yield "</section>\n"


def _costs(report: Report) -> Iterator[str]:
    told: dict[str, str] = {}
    if (price := report.price) is not None:
        told["Best alternative with examples in its prompt"] = price.alternative
        told["Tokens saved per request"] = figures.whole(price.tokens_saved_per_request)
        saved = price.seconds_saved_per_request
        name = "Server's time saved per request" if saved >= 0 else "Server's time added per request"
        told[name] = figures.seconds(abs(saved))
    if (unstable := report.unstable) is not None:
        told["Asked twice"] = f"{figures.whole(unstable.asked)} questions"
        told["Answers that then differed"] = figures.whole(unstable.differ)
    if told:
        yield f"<section><h2>Cost and stability</h2>\n{tables.facts(told)}</section>\n"


def _losses(report: Report) -> Iterator[str]:
    drawn = drawing.losses("losses", report.losses)
    if drawn:
        told = "Loss by step. Solid: training. Dashed, with rings: validation"
        yield f"<section><h2>Loss</h2>\n{_figure(drawn, told)}</section>\n"


def _training(report: Report) -> Iterator[str]:
    if report.dataset:
        yield f"<section><h2>Training data</h2>\n{tables.facts(tables.flat(report.dataset))}</section>\n"
    if report.training:
        yield f"<section><h2>Training settings</h2>\n{tables.facts(tables.flat(report.training))}</section>\n"


def _lineage(report: Report) -> Iterator[str]:
    yield "<section><h2>Lineage</h2>\n"
    yield tables.facts(
        {
            "Base model": report.base_model,
            "Revision": report.base_revision,
            "Artifact": f"{report.artifact_type}, {report.artifact}",
            **({"Trained elsewhere": report.source} if report.source else {}),
            "What the server proved": report.canary or "nothing was asked of it",
            "Rows of the evaluation": report.data,
            "Evaluated": f"{report.created:%Y-%m-%d %H:%M:%S %Z}".strip(),
        }
    )
    yield f"<h3>Evaluation settings</h3>\n{tables.facts(_settings(report.config))}</section>\n"


def _settings(config: EvaluationConfig) -> dict[str, str]:
    told = {
        "Most rows": figures.whole(config.max_rows),
        "Turns": config.turns,
        "On leaked rows": config.on_leak,
        **{f"Metric {metric.name}": _metric(metric) for metric in config.metrics},
        **{
            f"Baseline {baseline.type}": f"{baseline.examples} examples in the prompt"
            if baseline.examples
            else "no examples in the prompt"
            for baseline in config.baselines
        },
    }
    told |= tables.flat({"generation": config.generation.model_dump()})
    if config.gate is not None:
        told |= tables.flat({"gate": config.gate.model_dump(exclude={"must_not_regress": {"data"}})})
    return told


def _metric(metric: MetricConfig) -> str:
    kept = metric.model_dump(exclude={"name", "type"}, exclude_defaults=True)
    return "; ".join([metric.type, *(f"{name}: {value}" for name, value in tables.flat(kept).items())])
