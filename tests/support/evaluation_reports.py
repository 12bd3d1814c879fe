"""Reports of evaluations, as they look in earnest and at their worst.

To look at them in a browser: ``python -m tests.support.evaluation_reports FOLDER`` writes a page of each.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from kubetune_trainer.contract.evaluation import (
    BaselineConfig,
    EvaluationConfig,
    GateConfig,
    MetricConfig,
    Override,
    RegressionConfig,
)
from kubetune_trainer.scoring.report import (
    CandidateReport,
    Check,
    GateReport,
    Interval,
    Price,
    Report,
    ReportRow,
    RowAnswer,
    Unstable,
    Versus,
)

HOSTILE = (
    "<script>alert(1)</script> & \"quotes\" '</pre></td>' <img src=x onerror=alert(1)> "
    "\u202eright to left\u202c \u05e9\u05dc\u05d5\u05dd \U0001f600 \x00 \ud800 | `code` "
    "[link](javascript:alert(1)) ## Use"
)

_CREATED = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)


def passed() -> Report:
    """A gate that the result passes, against three baselines, with everything else that can be told."""
    candidates = (
        _candidate("Tuned", 0.874, 0.046, tokens=62.4, latency=0.41),
        _candidate("Base", 0.412, 0.068, tokens=62.4, latency=0.55, versus=(0.462, 0.072, 101, 9)),
        _candidate("FewShot", 0.671, 0.064, tokens=611.7, latency=0.78, versus=(0.203, 0.062, 52, 11)),
        _candidate("Retrieval", 0.792, 0.055, tokens=1434.2, latency=0.93, versus=(0.082, 0.05, 31, 15)),
    )
    return Report(
        name="banking",
        namespace="team-support",
        use_case="Sorts questions of customers of a bank into 77 intents.",
        created=_CREATED,
        verdict="Passed",
        said="ExactMatch is 0.87 (0.83 to 0.92), which is 0.08 (0.03 to 0.13) above Retrieval, the best "
        "baseline; minDelta is 0.02.",
        artifact=f"sha256:{'3f' * 32}",
        canary="The server answers as training measured: the largest difference was 0.002 nats.",
        artifact_type="LoRA",
        base_model="hf://Qwen/Qwen3-0.6B",
        base_revision="c1899de289a04d12100db370d81485cdf75e47ca",
        data="hf://acme/banking77?split=test",
        rows=200,
        general_rows=60,
        leaked_rows=3,
        metric="ExactMatch",
        config=_config(),
        candidates=candidates,
        general=(
            _candidate("Tuned", 0.71, 0.1, metrics=("Contains",)),
            _candidate("Base", 0.73, 0.1, metrics=("Contains",), versus=(-0.02, 0.06, 3, 4)),
        ),
        general_metric="Contains",
        gate=GateReport(
            metric="ExactMatch",
            passed=True,
            best_baseline="Retrieval",
            checks=(
                Check(
                    name="minScore",
                    passed=True,
                    sentence="ExactMatch is 0.874 (0.828 to 0.920); 0.80 is asked for.",
                ),
                Check(
                    name="minDelta",
                    passed=True,
                    sentence="The difference to Retrieval is 0.082 (0.032 to 0.132); 0.02 is asked for.",
                ),
                Check(
                    name="mustNotRegress",
                    passed=True,
                    sentence="Contains fell by 0.02 (-0.04 to 0.08) against the base; 0.10 is allowed.",
                ),
            ),
        ),
        price=Price(
            alternative="Retrieval", tokens_saved_per_request=1371.8, seconds_saved_per_request=0.0312
        ),
        unstable=Unstable(asked=20, differ=1),
        training={
            "method": "SFT",
            "adapter": {"type": "LoRA", "rank": 16, "alpha": 32, "target_modules": ["q_proj", "v_proj"]},
            "epochs": 3,
            "max_steps": None,
            "batch_size": 32,
            "learning_rate": "0.0002",
            "select": {"strategy": "Best"},
        },
        dataset={
            "fingerprint": f"sha256:{'ab' * 32}",
            "train_rows": 10003,
            "validation_rows": 400,
            "train_tokens": 1234567,
            "tokens_per_row": {"mean": 123, "p50": 118, "p95": 201, "max": 777},
            "leaked_rows": 3,
        },
        losses=_losses(),
        warnings=("80 rows can show a difference of 0.11 or more; this evaluation has 200.",),
    )


def overridden() -> Report:
    """A gate that the result does not pass, and a person who has it served."""
    report = passed()
    gate = report.gate
    assert gate is not None
    failing = Check(
        name="minDelta",
        passed=False,
        sentence="The difference to Retrieval is 0.012 (-0.031 to 0.055); at least 0.02 is asked for.",
    )
    return report.model_copy(
        update={
            "verdict": "Failed",
            "said": "ExactMatch is only 0.012 (-0.031 to 0.055) above Retrieval; minDelta is 0.02.",
            "gate": gate.model_copy(
                update={"passed": False, "checks": (gate.checks[0], failing, gate.checks[2])}
            ),
            "override": Override(
                by="kubectl-annotate",
                reason="Retrieval costs us too many tokens; the score is good enough for the pilot.",
                time="2026-03-14T16:00:00Z",
            ),
        }
    )


def measured() -> Report:
    """One metric of a model that was trained elsewhere alone, and nothing else."""
    report = passed()
    return report.model_copy(
        update={
            "verdict": "Measured",
            "said": "ExactMatch is 0.874 (0.828 to 0.920). There is no gate.",
            "use_case": None,
            "canary": None,
            "source": f"pvc://models/adapter, sha256:{'5c' * 32}",
            "candidates": report.candidates[:1],
            "general": (),
            "general_metric": None,
            "general_rows": 0,
            "leaked_rows": 0,
            "gate": None,
            "price": None,
            "unstable": None,
            "training": {},
            "dataset": {},
            "losses": (),
            "warnings": (),
            "config": EvaluationConfig(metrics=(MetricConfig(name="ExactMatch", type="ExactMatch"),)),
        }
    )


def hostile() -> Report:
    """Long names and markup wherever text comes from people or models, and numbers that are none."""
    report = passed()
    long = "Candidate with a name that nobody should give to anything at all, number"
    names = ["Tuned", *(f"{long} {index} {HOSTILE}" for index in range(1, 6))]
    rows = [report.candidates[min(index, 3)] for index in range(6)]
    nan = Interval(mean=float("nan"), low=float("nan"), high=float("nan"))
    candidates = [row.model_copy(update={"name": name}) for row, name in zip(rows, names, strict=True)]
    candidates[5] = candidates[5].model_copy(
        update={"scores": {**candidates[5].scores, HOSTILE: nan}, "latency_seconds": float("inf")}
    )
    return report.model_copy(
        update={
            "name": HOSTILE,
            "use_case": HOSTILE * 3,
            "said": HOSTILE,
            "canary": HOSTILE,
            "source": HOSTILE,
            "data": HOSTILE,
            "candidates": tuple(candidates),
            "gate": GateReport(
                metric="ExactMatch",
                passed=False,
                best_baseline=names[1],
                checks=(Check(name="minDelta", passed=False, sentence=HOSTILE),),
            ),
            "verdict": "Failed",
            "override": Override(by=HOSTILE, reason=HOSTILE, time=HOSTILE),
            "training": {HOSTILE: HOSTILE, "long": "x" * 10_000},
            "dataset": {HOSTILE: {HOSTILE: [HOSTILE]}},
            "losses": ((1, float("nan"), None), (2, 1.5, float("inf"))),
            "warnings": (HOSTILE,),
        }
    )


def rows(report: Report, number: int = 60, seed: int = 5) -> Iterator[ReportRow]:
    """Rows for a report, some of them won, some lost; of a hostile one with hostile texts."""
    draw = random.Random(seed)
    wild = report.name == HOSTILE
    for index in range(number):
        asked = f"My card has not arrived yet, what do I do? I ordered it {index + 2} days ago."
        yield row(
            index,
            scores={one.name: float(draw.random() < 0.7) for one in report.candidates},
            prompt=HOSTILE + "\n" + "word " * 2500 if wild else asked,
            answer=HOSTILE + "\n" * 500 + "x" * 10_000 if wild else "card_arrival",
            leak="Exact" if index % 20 == 7 else None,
        )


def row(
    index: int,
    *,
    scores: dict[str, float],
    prompt: str = "Where is my card?",
    answer: str = "card_arrival",
    **more: object,
) -> ReportRow:
    """One row; its answers have the score in them."""
    answers = {
        name: RowAnswer(
            answer=answer if score else f"not {answer}",
            scores={"ExactMatch": score, "Contains": score},
            prompt_tokens=60,
            completion_tokens=4,
            latency_seconds=0.4,
        )
        for name, score in scores.items()
    }
    return ReportRow.model_validate(
        {
            "id": str(index + 1),
            "file": "test.jsonl",
            "line": index + 1,
            "turn": 1,
            "prompt": ({"role": "system", "content": "Sort."}, {"role": "user", "content": prompt}),
            "expected": "card_arrival",
            "candidates": answers,
            **more,
        }
    )


def _candidate(
    name: str,
    mean: float,
    half: float,
    *,
    tokens: float = 60.0,
    latency: float = 0.5,
    metrics: tuple[str, ...] = ("ExactMatch", "Contains"),
    versus: tuple[float, float, int, int] | None = None,
) -> CandidateReport:
    def against() -> dict[str, Versus]:
        if versus is None:
            return {}
        middle, around, wins, losses = versus
        found = Versus(
            difference=Interval(mean=middle, low=middle - around, high=middle + around),
            wins=wins,
            losses=losses,
            ties=200 - wins - losses,
        )
        return dict.fromkeys(metrics, found)

    return CandidateReport(
        name=name,
        model="banking" if name == "Tuned" else "Qwen/Qwen3-0.6B",
        scores=dict.fromkeys(metrics, Interval(mean=mean, low=mean - half, high=mean + half)),
        versus=against(),
        prompt_tokens=tokens,
        completion_tokens=4.2,
        latency_seconds=latency,
        seconds_per_request=latency / 9,
        cut=2,
    )


def _config() -> EvaluationConfig:
    return EvaluationConfig(
        metrics=(
            MetricConfig(name="ExactMatch", type="ExactMatch", ignore=("Case", "Whitespace")),
            MetricConfig(name="Contains", type="Contains"),
        ),
        baselines=(
            BaselineConfig(type="Base"),
            BaselineConfig(type="FewShot", examples=8),
            BaselineConfig(type="Retrieval", examples=20),
        ),
        gate=GateConfig(
            metric="ExactMatch",
            min_score="0.80",
            min_delta="0.02",
            must_not_regress=RegressionConfig(max_drop="0.10"),
        ),
    )


def _losses() -> tuple[tuple[int, float | None, float | None], ...]:
    draw = random.Random(3)
    return tuple(
        (
            step,
            0.4 + 2.3 * 0.985**step + draw.uniform(-0.12, 0.12),
            0.55 + 2.1 * 0.985**step if step % 40 == 0 else None,
        )
        for step in range(1, 321)
    )


SAMPLES: dict[str, Callable[[], Report]] = {
    "passed": passed,
    "overridden": overridden,
    "measured": measured,
    "hostile": hostile,
}


if __name__ == "__main__":
    from kubetune_trainer.evaluate.page import page

    for name, make in SAMPLES.items():
        path = Path(sys.argv[1]) / f"{name}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(page(make(), rows(make()))), encoding="utf-8")
        print(path)
